// Command bench measures Postern between real servers: `bench relay` beside
// Postfix, `bench loop` from a letter in Dovecot to the first refusal, `bench
// consent` with millions of subjects in the registry, `bench import` a file of
// a million rows and the ledger it fills, `bench intake` from a full mailbox to
// stored cases. Each figure stands beside a peer or a floor of the same run.
package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	benches := map[string]func(context.Context, *host, []string) error{
		"relay": benchRelay, "loop": benchLoop, "consent": benchConsent, "import": benchImport, "intake": benchIntake,
	}
	if len(os.Args) < 2 || benches[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: bench relay|loop|consent|import|intake [flags]")
		os.Exit(2)
	}
	if err := measure(ctx, benches[os.Args[1]], os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// measure runs one bench and takes its servers down, however it ends.
func measure(ctx context.Context, bench func(context.Context, *host, []string) error, args []string) (err error) {
	h := &host{}
	defer h.close()
	defer func() {
		if p := recover(); p != nil {
			failed, ok := p.(benchFailed)
			if !ok {
				panic(p)
			}
			err = failed
		}
	}()
	return bench(ctx, h, args)
}

// host stands in for a test where testmail/env starts servers.
type host struct {
	cleanups []func()
}

type benchFailed struct{ error }

// Helper is for env.TB.
func (h *host) Helper() {}

// Fatalf ends the bench.
func (h *host) Fatalf(format string, args ...any) { panic(benchFailed{fmt.Errorf(format, args...)}) }

// Logf writes to standard error.
func (h *host) Logf(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

// Cleanup runs f at the end, last first.
func (h *host) Cleanup(f func()) { h.cleanups = append(h.cleanups, f) }

// TempDir makes a folder that goes at the end.
func (h *host) TempDir() string {
	dir, err := os.MkdirTemp("", "postern-bench-")
	if err != nil {
		h.Fatalf("temporary folder: %v", err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		h.Fatalf("temporary folder: %v", err)
	}
	h.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func (h *host) close() {
	for i := len(h.cleanups) - 1; i >= 0; i-- {
		h.cleanups[i]()
	}
}

// build builds the postern that is measured.
func build(h *host) string {
	binary := filepath.Join(h.TempDir(), "postern")
	cmd := exec.Command("go", "build", "-trimpath", "-o", binary, "postern")
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		h.Fatalf("build postern: %v", err)
	}
	return binary
}
