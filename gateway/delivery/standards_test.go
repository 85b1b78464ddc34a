package delivery

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"postern/testmail/smarthost"
)

// Tests named for the lines of the requirements on a sending server that no
// exchange with a hop shows.

// TestSMTP_9_HopsGetTheirTime: no hop is given up before the time that RFC 5321
// section 4.5.3.2 leaves it.
func TestSMTP_9_HopsGetTheirTime(t *testing.T) {
	got := Options{Smarthosts: []Smarthost{{Address: "192.0.2.1:25"}}}.withDefaults().Smarthosts[0].Timeouts
	for name, c := range map[string]struct{ is, least time.Duration }{
		"greeting":  {got.Greeting, 5 * time.Minute},
		"MAIL":      {got.Mail, 5 * time.Minute},
		"RCPT":      {got.Rcpt, 5 * time.Minute},
		"DATA":      {got.Data, 2 * time.Minute},
		"a block":   {got.Block, 3 * time.Minute},
		"final dot": {got.Final, 10 * time.Minute},
	} {
		require.GreaterOrEqual(t, c.is, c.least, name)
	}
}

// TestSMTP_10_GapsBetweenAttempts: two tries in the first hour, then every two
// to three hours (RFC 5321 section 4.5.4.1), each a little off, so that not all
// that failed at once comes back at once.
func TestSMTP_10_GapsBetweenAttempts(t *testing.T) {
	s := Options{}.withDefaults().Schedule
	require.GreaterOrEqual(t, s.First, 30*time.Minute)
	require.GreaterOrEqual(t, s.Later, 2*time.Hour)
	exact := s
	exact.Jitter = -1
	var gaps []time.Duration
	for n := range 6 {
		gaps = append(gaps, exact.gap(n))
	}
	require.Equal(t, []time.Duration{s.First, s.First, s.Second, s.Later, s.Later, s.Later}, gaps)
	seen := map[time.Duration]bool{}
	for range 1000 {
		g := s.gap(3)
		require.InDelta(t, float64(s.Later), float64(g), s.Jitter*float64(s.Later))
		seen[g] = true
	}
	require.Greater(t, len(seen), 900)
}

// TestTLS_2_WordsBehindTheSTARTTLSReplyAreNotHeeded: who sits between us and
// the hop can't speak for it by adding to what it said before the handshake
// (RFC 3207 section 6), and what it offered then is void.
func TestTLS_2_WordsBehindTheSTARTTLSReplyAreNotHeeded(t *testing.T) {
	cert, ca := certificate(t)
	s := hop(t, smarthost.Options{TLS: cert, Script: func(e smarthost.Event) (a smarthost.Answer) {
		if e.Verb == "STARTTLS" {
			a.Reply = "220 go on\r\n250-hop.example\r\n250 AUTH PLAIN"
		}
		return a
	}})
	for _, mode := range []TLSMode{TLSRequired, TLSOpportunistic} {
		o := Options{Smarthosts: []Smarthost{{Address: s.Addr(), TLS: mode, CAFile: ca}}}.withDefaults()
		h, err := newHost(o.Smarthosts[0], o)
		require.NoError(t, err)
		_, err = h.dial(t.Context())
		require.ErrorIs(t, err, errRubbish)
	}

	var hellos atomic.Int32
	s = hop(t, smarthost.Options{TLS: cert, Script: func(e smarthost.Event) (a smarthost.Answer) {
		if e.Verb == "EHLO" {
			a.Reply = "250-hop.example\r\n250 PIPELINING"
			if hellos.Add(1) == 1 {
				a.Reply = "250-hop.example\r\n250-STARTTLS\r\n250-SMTPUTF8\r\n250 REQUIRETLS"
			}
		}
		return a
	}})
	o := Options{Smarthosts: []Smarthost{{Address: s.Addr(), TLS: TLSRequired, CAFile: ca}}}.withDefaults()
	h, err := newHost(o.Smarthosts[0], o)
	require.NoError(t, err)
	c, err := h.dial(t.Context())
	require.NoError(t, err)
	defer c.quit()
	require.True(t, c.secure)
	require.True(t, c.has("PIPELINING"))
	for _, void := range []string{"STARTTLS", "SMTPUTF8", "REQUIRETLS"} {
		require.False(t, c.has(void), void)
	}
}
