package fulfil

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"time"
)

// Command asks a system by running a program: the Request as JSON on its
// standard input, the Outcome as JSON on its standard output.
type Command struct {
	name    string
	argv    []string
	timeout time.Duration
	limit   int
}

// NewCommand takes a program and its arguments; no shell is between. timeout
// defaults to 40 s, an answer is at most 32 MiB.
func NewCommand(name string, argv []string, timeout time.Duration) (*Command, error) {
	if len(argv) == 0 || argv[0] == "" {
		return nil, fmt.Errorf("connector %q: a program is needed", name)
	}
	if timeout <= 0 {
		timeout = 40 * time.Second
	}
	return &Command{name: name, argv: argv, timeout: timeout, limit: 32 << 20}, nil
}

// Name is the system's name.
func (c *Command) Name() string { return c.name }

// Do runs the program. Exit status 0 ends it with what was printed, 75
// (EX_TEMPFAIL) and a timeout are worth another try, all else is permanent.
func (c *Command) Do(ctx context.Context, r Request) (Outcome, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	in, err := json.Marshal(r)
	if err != nil {
		return Outcome{}, fmt.Errorf("connector %s: encode request %s: %w", c.name, r.Key, err)
	}
	cmd := exec.CommandContext(ctx, c.argv[0], c.argv[1:]...)
	cmd.Stdin = bytes.NewReader(in)
	out := &bounded{limit: c.limit}
	cmd.Stdout = out
	cmd.WaitDelay = time.Second
	err = cmd.Run()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return Outcome{}, fmt.Errorf("connector %s: request %s: %w", c.name, r.Key, ctx.Err())
	case errors.As(err, &exit) && exit.ExitCode() == 75:
		return Outcome{}, fmt.Errorf("connector %s: request %s is to be tried again", c.name, r.Key)
	case errors.As(err, &exit):
		return Outcome{}, permanent{fmt.Errorf("connector %s: request %s ended with status %d", c.name, r.Key, exit.ExitCode())}
	case err != nil:
		return Outcome{}, fmt.Errorf("connector %s: request %s: %w", c.name, r.Key, err)
	case out.over:
		return Outcome{}, permanent{fmt.Errorf("connector %s: answer to %s: %w: too long", c.name, r.Key, ErrAnswer)}
	}
	o, err := readOutcome(out.buf.Bytes())
	if err != nil {
		return o, permanent{fmt.Errorf("connector %s: answer to %s: %w", c.name, r.Key, err)}
	}
	return o, nil
}

// bounded keeps what a program prints up to a limit and swallows the rest.
type bounded struct {
	buf   bytes.Buffer
	limit int
	over  bool
}

// Write never fails, so that the program is not killed by a full pipe.
func (b *bounded) Write(p []byte) (int, error) {
	if b.buf.Len()+len(p) > b.limit {
		b.over = true
		return len(p), nil
	}
	return b.buf.Write(p)
}

// Task asks a person: its outcome is entered by an operator.
type Task struct{ Who string }

// Name is who has to do it.
func (t Task) Name() string { return t.Who }

// Do accepts; the result comes later.
func (t Task) Do(context.Context, Request) (Outcome, error) { return Outcome{Status: Accepted}, nil }

var (
	_ Connector = (*Webhook)(nil)
	_ Connector = (*Command)(nil)
	_ Connector = Task{}
)
