package main

import (
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"postern/testmail/smarthost"
	"postern/testmail/subjects"
)

// benchImport imports a large file by the command line into a running server,
// and then checks the ledger that this filled, whole and damaged.
func benchImport(ctx context.Context, h *host, args []string) error {
	fs := flag.NewFlagSet("import", flag.ExitOnError)
	rows := fs.Int("rows", 1_000_000, "rows of the file")
	if err := fs.Parse(args); err != nil {
		return err
	}
	sink, err := smarthost.New(smarthost.Options{Discard: true})
	if err != nil {
		return err
	}
	h.Cleanup(func() { _ = sink.Close() })
	i := install(h, build(h), sink.Addr(), nil)
	file := filepath.Join(i.Dir, "people.csv")
	if err := writeFile(file, subjects.CSV(0, *rows, 100, time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC))); err != nil {
		return err
	}
	fmt.Printf("%d rows, every hundredth unusable; consent recorded with its ledger records\n\n", *rows)
	fmt.Println("| | time | rows/s | peak memory of the verb | of the server |")
	fmt.Println("|---|---|---|---|---|")
	for _, c := range []struct {
		name string
		args []string
	}{
		{"dry run with a line per refused row", []string{"--dry-run", "--report", filepath.Join(i.Dir, "refused.csv")}},
		{"import", nil},
		{"the same again", nil},
	} {
		took, peak, out, err := i.timed(ctx, append([]string{"consent", "import", file, "--purpose", "newsletter"}, c.args...)...)
		if err != nil {
			return err
		}
		fmt.Printf("| %s | %s | %.0f | %d MB | %d MB |\n", c.name, took.Round(100*time.Millisecond), float64(*rows)/took.Seconds(), peak>>20, peakMemory(i.proc.Pid())>>20)
		lines := strings.Split(strings.TrimSpace(out), "\n")
		fmt.Fprintln(os.Stderr, lines[len(lines)-1])
	}
	return i.verifyDamaged(ctx)
}

func writeFile(path string, from io.Reader) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if _, err := io.Copy(f, from); err != nil {
		return err
	}
	return f.Close()
}

// timed runs a verb that may fail and gives its time, peak memory and output.
func (i *installation) timed(ctx context.Context, args ...string) (took time.Duration, peak int64, out string, err error) {
	cmd := exec.CommandContext(ctx, i.binary, append([]string{"--config", i.config}, args...)...)
	cmd.Env = append(os.Environ(), "BENCH_IMAP_PASSWORD=geheim")
	start := time.Now()
	b, err := cmd.CombinedOutput()
	took = time.Since(start)
	if u, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		peak = u.Maxrss << 10
	}
	if err != nil {
		err = fmt.Errorf("postern %s: %w: %s", args[0], err, b)
	}
	return took, peak, string(b), err
}

// verifyDamaged verifies an export, then again with one bit flipped, one
// record cut out of the middle, and the tail cut off.
func (i *installation) verifyDamaged(ctx context.Context) error {
	dir := filepath.Join(i.Dir, "ledger-export")
	took, peak, _, err := i.timed(ctx, "ledger", "export", dir)
	if err != nil {
		return err
	}
	fmt.Printf("\n| ledger | time | peak memory | found |\n|---|---|---|---|\n| export | %s | %d MB | |\n", took.Round(100*time.Millisecond), peak>>20)
	bundles, err := entryBundles(dir)
	if err != nil {
		return err
	}
	middle, last := bundles[len(bundles)/2], bundles[len(bundles)-1]
	for _, c := range []struct {
		name   string
		file   string
		damage func([]byte) []byte
	}{
		{"whole", "", nil},
		{"one bit flipped", middle, func(b []byte) []byte { b[len(b)/2] ^= 1; return b }},
		{"one record cut from the middle", middle, func(b []byte) []byte {
			n := 2 + int(binary.BigEndian.Uint16(b))
			return slices.Delete(b, 0, n)
		}},
		{"tail cut off", last, func([]byte) []byte { return nil }},
	} {
		var kept []byte
		if c.file != "" {
			if kept, err = os.ReadFile(c.file); err != nil {
				return err
			}
			damaged := c.damage(slices.Clone(kept))
			if damaged == nil {
				err = os.Remove(c.file)
			} else {
				err = os.WriteFile(c.file, damaged, 0o600)
			}
			if err != nil {
				return err
			}
		}
		took, peak, out, err := i.timed(ctx, "ledger", "verify", "--key", filepath.Join(dir, "key.txt"), dir)
		if (err != nil) != (c.file != "") {
			return fmt.Errorf("verify of %s: %w\n%s", c.name, err, out)
		}
		first, _, _ := strings.Cut(strings.TrimSpace(out), "\n")
		fmt.Printf("| verify: %s | %s | %d MB | %s |\n", c.name, took.Round(10*time.Millisecond), peak>>20, first)
		if c.file != "" {
			if err := os.WriteFile(c.file, kept, 0o600); err != nil {
				return err
			}
		}
	}
	return nil
}

// entryBundles are the files of an export that hold records, in their order.
func entryBundles(dir string) (out []string, err error) {
	err = filepath.WalkDir(filepath.Join(dir, "tile", "entries"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			out = append(out, path)
		}
		return err
	})
	slices.Sort(out)
	if len(out) < 4 {
		return nil, fmt.Errorf("the export has %d bundles only: %w", len(out), err)
	}
	return out, err
}
