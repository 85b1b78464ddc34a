package gateway

import (
	"errors"
	"fmt"
)

// access is who may do what: the part of the options that can change while
// the server runs. A connection takes it over with its next message.
type access struct {
	passwords *passwords
	listeners map[string]*Listener
}

func newAccess(o *ServerOptions) (*access, error) {
	p, err := newPasswords(o)
	if err != nil {
		return nil, err
	}
	a := &access{passwords: p, listeners: map[string]*Listener{}}
	for i := range o.Listeners {
		a.listeners[o.Listeners[i].Name] = &o.Listeners[i]
	}
	return a, nil
}

// Reload takes accounts, client networks, rights, trusted peers and TLS of
// the listeners from opts, and begins the counts of messages and recipients
// per minute anew. Open connections have the new rights with their next
// message. Which listeners there are, and where, stays: an error says that
// opts differ there or are faulty, and then nothing changes.
func (s *Server) Reload(opts ServerOptions) error {
	opts = opts.withDefaults()
	opts.AuthParallel, opts.AuthRemember, opts.Now = s.opts.AuthParallel, s.opts.AuthRemember, s.opts.Now
	a, err := newAccess(&opts)
	if err = errors.Join(err, opts.validate(), s.sameSockets(opts)); err != nil {
		return fmt.Errorf("reload mail listeners: %w", err)
	}
	s.access.Store(a)
	s.limits.anew(opts.MessagesPerMinute, opts.RecipientsPerMinute)
	s.opts.Log.Info("mail listeners reloaded", "accounts", len(opts.Accounts))
	return nil
}

// sameSockets reports what a reload can't change.
func (s *Server) sameSockets(opts ServerOptions) error {
	var errs []error
	if len(opts.Listeners) != len(s.opts.Listeners) {
		errs = append(errs, errors.New("another number of listeners needs a restart"))
	}
	now := map[string]Listener{}
	for _, l := range s.opts.Listeners {
		now[l.Name] = l
	}
	for _, l := range opts.Listeners {
		was, ok := now[l.Name]
		if !ok || l.Network != was.Network || l.Address != was.Address || l.Protocol != was.Protocol {
			errs = append(errs, fmt.Errorf("listener %q: a new name, address or protocol needs a restart", l.Name))
		}
	}
	return errors.Join(errs...)
}
