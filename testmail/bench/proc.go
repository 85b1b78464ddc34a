package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// ticksPerSecond is the kernel's USER_HZ.
const ticksPerSecond = 100

// usage is what a group of processes has used so far.
type usage struct {
	cpu    time.Duration // user and system, children that ended included
	memory int64         // resident octets now
}

// groupUsage sums up the process group of pid.
func groupUsage(pid int) (u usage) {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		b, err := os.ReadFile(path)
		if err != nil {
			continue // it ended meanwhile
		}
		_, rest, ok := strings.Cut(string(b), ") ")
		f := strings.Fields(rest)
		if !ok || len(f) < 22 || f[2] != strconv.Itoa(pid) {
			continue
		}
		for _, i := range []int{11, 12, 13, 14} { // utime stime cutime cstime
			n, _ := strconv.ParseInt(f[i], 10, 64)
			u.cpu += time.Duration(n) * time.Second / ticksPerSecond
		}
		pages, _ := strconv.ParseInt(f[21], 10, 64)
		u.memory += pages * int64(os.Getpagesize())
	}
	return u
}

// peakMemory is the most that one process ever held, in octets.
func peakMemory(pid int) int64 {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for _, line := range strings.Split(string(b), "\n") {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return kib << 10
		}
	}
	return 0
}
