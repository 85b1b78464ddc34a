package env

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// Ports are taken below the range that the kernel gives to outgoing
// connections, each held by a locked file until this process ends: no test
// running beside is given the same one.
const (
	firstPort = 20000
	lastPort  = 32000
)

// FreePort gives a loopback TCP port that nobody else is given while this
// process lives.
func FreePort(t TB) int {
	t.Helper()
	dir := filepath.Join(os.TempDir(), "postern-test-ports-"+strconv.Itoa(os.Getuid()))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatalf("port locks: %v", err)
	}
	for range 1000 {
		port := firstPort + rand.IntN(lastPort-firstPort)
		if lockPort(filepath.Join(dir, strconv.Itoa(port))) && bindable(port) {
			return port
		}
	}
	t.Fatalf("no free port between %d and %d", firstPort, lastPort)
	return 0
}

// lockPort takes the lock; the file stays open, and so locked, for good.
func lockPort(path string) bool {
	fd, err := syscall.Open(path, syscall.O_CREAT|syscall.O_RDWR|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return false
	}
	if syscall.Flock(fd, syscall.LOCK_EX|syscall.LOCK_NB) != nil {
		_ = syscall.Close(fd)
		return false
	}
	return true
}

func bindable(port int) bool {
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return false
	}
	return l.Close() == nil
}

// FreeAddr is FreePort as "127.0.0.1:port".
func FreeAddr(t TB) string {
	t.Helper()
	return fmt.Sprintf("127.0.0.1:%d", FreePort(t))
}
