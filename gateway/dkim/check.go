package dkim

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"postern/gateway/header"
)

// ErrUncovered says that no signature covers the one-click fields.
var ErrUncovered = errors.New("no DKIM signature covers List-Unsubscribe and List-Unsubscribe-Post (RFC 8058 section 4)")

// ErrNotPublished says that the DNS record of a key is missing or another one.
var ErrNotPublished = errors.New("the DKIM key is not in DNS as it should be")

// CoversUnsubscribe tells whether at least one signature in a header names
// both one-click fields in h=, as RFC 8058 section 4 wants, and without l=.
// It reads what others signed too, so it checks a smarthost's work as well.
// The error is ErrUncovered.
func CoversUnsubscribe(hdr []byte) error {
	h := header.Parse(hdr)
	for _, s := range h.Spans() {
		if !h.Is(s, "DKIM-Signature") {
			continue
		}
		tags := Tags(h.Value(s))
		_, partial := tags["l"]
		if !partial && lists(tags["h"], "List-Unsubscribe") && lists(tags["h"], "List-Unsubscribe-Post") {
			return nil
		}
	}
	return ErrUncovered
}

// Tags reads a tag list (RFC 6376 section 3.2); of a doubled tag the first counts.
func Tags(v string) map[string]string {
	out := map[string]string{}
	for _, part := range strings.Split(v, ";") {
		k, val, ok := strings.Cut(part, "=")
		k = strings.TrimSpace(k)
		if _, dup := out[k]; ok && !dup {
			out[k] = strings.TrimSpace(val)
		}
	}
	return out
}

// lists tells whether an h= list names a field.
func lists(names, field string) bool {
	for _, n := range strings.Split(names, ":") {
		if strings.EqualFold(strings.TrimSpace(n), field) {
			return true
		}
	}
	return false
}

// CheckDNS compares the published record with the key. lookup is
// net.Resolver.LookupTXT or the like. Errors wrap ErrNotPublished, or are the
// look-up's own.
func CheckDNS(ctx context.Context, k Key, lookup func(ctx context.Context, name string) ([]string, error)) error {
	name, want, err := DNS(k)
	if err != nil {
		return err
	}
	records, err := lookup(ctx, name)
	if err != nil {
		return fmt.Errorf("look up %s: %w", name, err)
	}
	if len(records) != 1 {
		return fmt.Errorf("%s has %d TXT records, one is needed: %w", name, len(records), ErrNotPublished)
	}
	got, wanted := Tags(records[0]), Tags(want)
	if kind := got["k"]; kind != wanted["k"] && (kind != "" || k.Algorithm() != RSA) {
		return fmt.Errorf("%s says k=%s, %s is needed: %w", name, kind, k.Algorithm(), ErrNotPublished)
	}
	if strings.Join(strings.Fields(got["p"]), "") != wanted["p"] {
		return fmt.Errorf("%s holds another public key: %w", name, ErrNotPublished)
	}
	return nil
}
