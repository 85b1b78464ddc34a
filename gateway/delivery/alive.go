package delivery

import (
	"net"

	"golang.org/x/sys/unix"
)

// readable tells whether octets or an end of file wait in the kernel, without
// reading them.
func readable(c net.Conn) bool {
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return false
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return true
	}
	pending := false
	err = raw.Control(func(fd uintptr) {
		var b [1]byte
		n, _, err := unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		pending = n > 0 || err == nil || (err != unix.EAGAIN && err != unix.EWOULDBLOCK && err != unix.EINTR)
	})
	return err != nil || pending
}
