package fulfil

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"syscall"
	"time"
)

// ErrReach says that a receiver stands where none may be told.
var ErrReach = errors.New("the receiver's address is not reached from here")

// inner are the networks that are no part of the public Internet, beside those
// netip knows: IANA's special-purpose registries (RFC 6890), and those that
// carry an IPv4 address inside.
var inner = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),
	netip.MustParsePrefix("100.64.0.0/10"),   // shared by carriers
	netip.MustParsePrefix("192.0.0.0/24"),    // protocol assignments
	netip.MustParsePrefix("192.0.2.0/24"),    // documentation
	netip.MustParsePrefix("198.18.0.0/15"),   // benchmarks
	netip.MustParsePrefix("198.51.100.0/24"), // documentation
	netip.MustParsePrefix("203.0.113.0/24"),  // documentation
	netip.MustParsePrefix("240.0.0.0/4"),     // reserved, broadcast
	netip.MustParsePrefix("64:ff9b::/96"),    // NAT64
	netip.MustParsePrefix("64:ff9b:1::/48"),
	netip.MustParsePrefix("100::/64"), // discard
	netip.MustParsePrefix("2001::/23"),
	netip.MustParsePrefix("2001:db8::/32"), // documentation
	netip.MustParsePrefix("2002::/16"),     // 6to4
	netip.MustParsePrefix("fec0::/10"),     // site-local
}

// Reach says which addresses may be connected to: the public Internet, and the
// networks it names.
type Reach []netip.Prefix

// Allows tells whether an address may be connected to.
func (r Reach) Allows(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	within := func(p netip.Prefix) bool { return p.Contains(a) }
	if slices.ContainsFunc(r, within) {
		return true
	}
	return a.IsGlobalUnicast() && !a.IsPrivate() && !slices.ContainsFunc(inner, within)
}

// Client is for URLs that somebody else chose: it looks at the address it
// connects to, after names were resolved, so that no name and no redirect leads
// into the house. It follows none, and asks no proxy, which would connect in its
// place. Errors wrap ErrReach.
func (r Reach) Client(timeout time.Duration) *http.Client {
	dialer := &net.Dialer{Timeout: timeout, Control: func(_, at string, _ syscall.RawConn) error {
		where, err := netip.ParseAddrPort(at)
		if err != nil || !r.Allows(where.Addr()) {
			return fmt.Errorf("%w: operator.webhook_networks does not name it", ErrReach)
		}
		return nil
	}}
	return &http.Client{
		Timeout:       timeout,
		Transport:     &http.Transport{DialContext: dialer.DialContext, ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 2, IdleConnTimeout: 90 * time.Second, TLSHandshakeTimeout: 10 * time.Second},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}
