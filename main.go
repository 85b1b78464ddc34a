// Postern is a privacy e-mail gateway: an SMTP relay that lets marketing mail
// out only with consent, a reader of privacy@ that opens cases, and the loop
// between both.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	go func() {
		<-ctx.Done()
		stop() // a second signal ends the process at once
	}()
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run is the whole program: arguments in, exit code out. 0 is success, 1 a
// refusal or failure whose reason stands on stderr, 2 a wrong call.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	cmd := rootCommand(stdin, stdout, stderr)
	cmd.SetArgs(args)
	return exitCode(cmd.ExecuteContext(ctx), stderr)
}
