package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
)

// redisClient opens a client for one server, a Cluster (several hosts by
// ?addr=) or a Sentinel set (?master_name=); Valkey speaks the same.
func redisClient(rawURL, password string) (redis.UniversalClient, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, errors.New("redis.url is not a URL")
	}
	switch q := u.Query(); {
	case q.Has("master_name"):
		o, err := redis.ParseFailoverURL(rawURL)
		if err != nil {
			return nil, fmt.Errorf("redis.url: %w", err)
		}
		o.Password, o.ContextTimeoutEnabled = password, true
		return redis.NewFailoverClient(o), nil
	case q.Has("addr"):
		o, err := redis.ParseClusterURL(rawURL)
		if err != nil {
			return nil, fmt.Errorf("redis.url: %w", err)
		}
		o.Password, o.ContextTimeoutEnabled = password, true
		return redis.NewClusterClient(o), nil
	}
	o, err := redis.ParseURL(rawURL)
	if err != nil {
		return nil, fmt.Errorf("redis.url: %w", err)
	}
	o.Password, o.ContextTimeoutEnabled = password, true
	return redis.NewClient(o), nil
}

// redisLog takes what the client library itself says: one dial after another
// failing is told once by the room that notices.
type redisLog struct{ log *slog.Logger }

// Printf logs at debug.
func (l redisLog) Printf(ctx context.Context, format string, args ...any) {
	l.log.DebugContext(ctx, "redis client", "text", fmt.Sprintf(format, args...))
}

// redisChild is a redis-server that Postern runs for itself (design D11).
type redisChild struct {
	cmd  *exec.Cmd
	url  string
	done chan struct{}
	out  bytes.Buffer
}

// startRedis starts the installed redis-server on a unix socket in dir, set up
// as a system of record, and waits until it answers.
func startRedis(ctx context.Context, dir string) (*redisChild, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("redis folder: %w", err)
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("redis folder: %w", err)
	}
	socket := filepath.Join(dir, "redis.sock")
	c := &redisChild{url: "unix://" + socket, done: make(chan struct{})}
	c.cmd = exec.Command("redis-server", "--port", "0", "--unixsocket", socket, "--unixsocketperm", "700",
		"--dir", dir, "--daemonize", "no", "--appendonly", "yes", "--appendfsync", "always",
		"--maxmemory-policy", "noeviction", "--save", "")
	c.cmd.Stdout, c.cmd.Stderr = &c.out, &c.out
	// A signal to our process group is ours: Redis is stopped last. Should we be
	// killed it goes too (Pdeathsig, tied to the thread that starts it), or the
	// next start would open the same files beside it.
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := c.cmd.Start()
		started <- err
		if err == nil {
			_ = c.cmd.Wait()
			close(c.done)
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("redis.managed: start redis-server: %w (install the package redis-server)", err)
	}
	rdb := redis.NewClient(&redis.Options{Network: "unix", Addr: socket, MaxRetries: -1})
	defer rdb.Close()
	for {
		if rdb.Ping(ctx).Err() == nil {
			return c, nil
		}
		select {
		case <-c.done:
			return nil, fmt.Errorf("redis.managed: redis-server ended: %s", bytes.TrimSpace(c.out.Bytes()))
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), c.stop())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// stop ends the child and waits until it has written everything.
func (c *redisChild) stop() error {
	_ = c.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-c.done:
		return nil
	case <-time.After(30 * time.Second):
		_ = c.cmd.Process.Kill()
		<-c.done
		return errors.New("redis-server did not end within 30 s and was killed")
	}
}
