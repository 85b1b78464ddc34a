package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// progress is a reader that shows how far a file has been read, as a bar on a
// terminal and as a line every tenth elsewhere.
type progress struct {
	in    io.Reader
	out   io.Writer
	size  int64 // 0: not known
	bar   bool  // out is a terminal
	start time.Time

	read, rows int64
	shown      time.Time
	tenth      int64
	any        bool
}

func newProgress(in io.Reader, size int64, out io.Writer) *progress {
	p := &progress{in: in, out: out, size: size, start: time.Now()}
	if f, ok := out.(*os.File); ok {
		info, err := f.Stat()
		p.bar = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	return p
}

// quietBelow is the size of a file that needs no bar.
const quietBelow = 1 << 20

// Read is io.Reader.
func (p *progress) Read(b []byte) (int, error) {
	n, err := p.in.Read(b)
	p.read += int64(n)
	p.rows += int64(bytes.Count(b[:n], []byte{'\n'}))
	now := time.Now()
	switch {
	case p.size < quietBelow && !p.any && p.read < quietBelow:
	case p.bar && now.Sub(p.shown) >= 100*time.Millisecond:
		p.show(now)
	case !p.bar && p.size > 0 && p.read*10/p.size > p.tenth:
		p.tenth = p.read * 10 / p.size
		p.show(now)
	}
	return n, err
}

func (p *progress) show(now time.Time) {
	p.shown, p.any = now, true
	took := now.Sub(p.start)
	rate := float64(p.rows) / max(took.Seconds(), 0.001)
	text := fmt.Sprintf("%d rows, %.0f/s", p.rows, rate)
	if p.size > 0 {
		part := min(float64(p.read)/float64(p.size), 1)
		left := time.Duration(float64(took) * (1 - part) / max(part, 0.001)).Round(time.Second)
		const width = 30
		full := int(part * width)
		text = fmt.Sprintf("[%s%s] %3.0f %%  %s, %s left", strings.Repeat("=", full), strings.Repeat(" ", width-full), part*100, text, left)
	}
	if p.bar {
		fmt.Fprintf(p.out, "\r%-78s", text)
		return
	}
	fmt.Fprintln(p.out, text)
}

// end leaves the bar.
func (p *progress) end() {
	if p.bar && p.any {
		p.show(time.Now())
		fmt.Fprintln(p.out)
	}
}
