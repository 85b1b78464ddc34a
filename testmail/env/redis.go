package env

import (
	"fmt"
	"path/filepath"
)

// RedisServer is a real redis-server with AOF, fsync at every write and no
// eviction, as a system of record wants it.
type RedisServer struct {
	Addr string // "127.0.0.1:port"
	Dir  string // where its AOF lives
	t    TB
	proc *Process
	args []string
}

// Redis starts a redis-server for the test. Extra arguments are passed on, as
// in "--maxmemory", "64mb".
func Redis(t TB, extra ...string) *RedisServer {
	t.Helper()
	r := &RedisServer{Dir: t.TempDir(), t: t}
	port := FreePort(t)
	r.Addr = fmt.Sprintf("127.0.0.1:%d", port)
	conf := filepath.Join(r.Dir, "redis.conf")
	writeFile(t, conf, fmt.Sprintf(`bind 127.0.0.1
port %d
dir %s
daemonize no
appendonly yes
appendfsync always
maxmemory-policy noeviction
save ""
logfile ""
`, port, r.Dir), 0o600)
	r.args = append([]string{conf}, extra...)
	r.Start()
	return r
}

// Start starts the server again after Kill, on the same port and files.
func (r *RedisServer) Start() {
	r.t.Helper()
	r.proc = Start(r.t, "redis-server", r.args...)
	WaitPort(r.t, r.proc, r.Addr)
}

// Kill ends the server by SIGKILL.
func (r *RedisServer) Kill() { r.proc.Kill() }

// URL is the server as a Redis URL.
func (r *RedisServer) URL() string { return "redis://" + r.Addr + "/0" }

// Pid is the running server's process id.
func (r *RedisServer) Pid() int { return r.proc.Pid() }
