package delivery

import (
	"context"
	"fmt"
)

// Probe connects to the smarthost as a delivery would, up to where MAIL could
// be sent: greeting, EHLO, TLS as configured, AUTH. secure tells whether TLS
// is in use. Of opts Helo is used. Errors name the smarthost.
func Probe(ctx context.Context, s Smarthost, opts Options) (secure bool, err error) {
	opts.Smarthosts, opts.Metrics = []Smarthost{s}, nil
	opts = opts.withDefaults()
	h, err := newHost(opts.Smarthosts[0], opts)
	if err != nil {
		return false, err
	}
	c, err := h.dial(ctx)
	if err != nil {
		return false, fmt.Errorf("smarthost %q: %w", s.Name, err)
	}
	c.quit()
	return c.secure, nil
}
