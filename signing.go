package main

import (
	"errors"
	"sync/atomic"

	"postern/gateway/dkim"
)

// liveSigner signs with the DKIM keys of the configuration in force: a new
// selector takes over at SIGHUP.
type liveSigner struct {
	keys atomic.Pointer[dkim.Signer] // nil: none is configured
}

// Signs implements gateway.Signer.
func (l *liveSigner) Signs(domain string) bool {
	s := l.keys.Load()
	return s != nil && s.Signs(domain)
}

// Sign implements gateway.Signer.
func (l *liveSigner) Sign(hdr []byte, body dkim.BodyHash, domain string) ([]byte, error) {
	s := l.keys.Load()
	if s == nil {
		return nil, errors.New("no DKIM key is configured")
	}
	return s.Sign(hdr, body, domain)
}

// signer loads the DKIM keys; nil where none is configured.
func (c *Config) signer() (*dkim.Signer, error) {
	var list []dkim.Key
	for _, d := range c.DKIM {
		k, err := dkim.Load(d.Key, d.Domain, d.Selector)
		if err != nil {
			return nil, err
		}
		list = append(list, k)
	}
	if len(list) == 0 {
		return nil, nil
	}
	return dkim.New(list, dkim.Options{})
}
