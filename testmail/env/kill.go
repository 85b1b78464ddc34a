package env

import (
	"strconv"
	"syscall"
)

// killGroup ends the process group led by pid, given as text.
func killGroup(pid string) {
	n, err := strconv.Atoi(pid)
	if err != nil || n <= 1 {
		return
	}
	_ = syscall.Kill(-n, syscall.SIGKILL)
}
