// Package env starts the real servers that tests and benchmarks talk to:
// Redis, Dovecot, Postfix, Chromium, each on free loopback ports, in a
// temporary directory, ended by the process id that was started. install.sh
// beside it installs them.
package env

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// TB is what a server needs of the test or tool that starts it; *testing.T
// and *testing.B fit.
type TB interface {
	Helper()
	Fatalf(format string, args ...any)
	Logf(format string, args ...any)
	Cleanup(func())
	TempDir() string
}

// startTimeout bounds how long a server may take to answer for the first time.
const startTimeout = 30 * time.Second

// Process is a server process this package started.
type Process struct {
	cmd  *exec.Cmd
	done chan struct{}
	out  *output
}

// output keeps the last 64 KiB that a process printed.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Write keeps p, dropping the oldest half when the buffer is full.
func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.buf.Len() > 64<<10 {
		keep := append([]byte(nil), o.buf.Bytes()[o.buf.Len()/2:]...)
		o.buf.Reset()
		o.buf.Write(keep)
	}
	return o.buf.Write(p)
}

// String is what was kept.
func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// Start runs a command as a child that dies with this process and is killed at
// the end of the test.
func Start(t TB, name string, args ...string) *Process {
	t.Helper()
	return StartEnv(t, nil, name, args...)
}

// StartEnv is Start with further environment variables, "KEY=value".
func StartEnv(t TB, environ []string, name string, args ...string) *Process {
	t.Helper()
	p := &Process{cmd: exec.Command(name, args...), done: make(chan struct{}), out: &output{}}
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.out
	p.cmd.Env = append(os.Environ(), environ...)
	// Pdeathsig is tied to the thread that starts the child: one that stays
	// with it keeps a panicking test from leaving servers behind.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := p.cmd.Start()
		started <- err
		if err == nil {
			_ = p.cmd.Wait()
			close(p.done)
		}
	}()
	if err := <-started; err != nil {
		t.Fatalf("start %s: %v (testmail/env/install.sh installs the servers)", name, err)
	}
	t.Cleanup(p.Kill)
	return p
}

// Pid is the process id.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// ExitCode is the process's exit code after Done, -1 if a signal ended it.
func (p *Process) ExitCode() int { return p.cmd.ProcessState.ExitCode() }

// Output is the last of what the process printed.
func (p *Process) Output() string { return p.out.String() }

// Signal sends sig to the process alone.
func (p *Process) Signal(sig os.Signal) { _ = p.cmd.Process.Signal(sig) }

// Stop ends the process by SIGTERM and waits; after 20 s it kills it.
func (p *Process) Stop() {
	p.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(20 * time.Second):
		p.Kill()
	}
}

// Kill ends the process and the group it leads by SIGKILL and waits.
func (p *Process) Kill() {
	select {
	case <-p.done:
		return
	default:
	}
	_ = syscall.Kill(-p.Pid(), syscall.SIGKILL)
	<-p.done
}

// Eventually waits until ok says true, asking every 10 ms, or fails the test
// after within with what was waited for.
func Eventually(t TB, within time.Duration, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(within)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("waited %s for: %s", within, what)
		}
		<-tick.C
	}
}

// WaitPort waits until something accepts TCP connections at addr, or fails
// with what the process printed.
func WaitPort(t TB, p *Process, addr string) {
	t.Helper()
	deadline := time.Now().Add(startTimeout)
	for {
		c, err := net.DialTimeout("tcp", addr, time.Second)
		if err == nil {
			_ = c.Close()
			return
		}
		select {
		case <-p.done:
			t.Fatalf("%s ended at start:\n%s", p.cmd.Path, p.Output())
		case <-time.After(10 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s does not answer at %s:\n%s", p.cmd.Path, addr, p.Output())
		}
	}
}

// Run executes a short command to its end and gives what it printed.
func Run(t TB, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// writeFile writes a server's configuration.
func writeFile(t TB, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatalf("write %s: %v", path, err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatalf("chmod %s: %v", path, err)
	}
}
