package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"postern/testmail/env"
	"postern/testmail/load"
	"postern/testmail/smarthost"
)

// metric adds up all lines of /metrics with this name; one with labels means
// that line alone.
func (s *site) metric(name string) (sum float64) {
	s.t.Helper()
	resp, err := http.Get("http://" + s.Operator + "/metrics")
	require.NoError(s.t, err)
	defer resp.Body.Close()
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		rest, ok := strings.CutPrefix(lines.Text(), name)
		if !ok || rest == "" || rest[0] != ' ' && rest[0] != '{' {
			continue
		}
		v, err := strconv.ParseFloat(rest[strings.LastIndexByte(rest, ' ')+1:], 64)
		require.NoError(s.t, err)
		sum += v
	}
	return sum
}

// spooled lists the waiting messages by `postern spool list --json`.
func (s *site) spooled() (rows []struct {
	ID     string
	States map[string]int
}) {
	s.t.Helper()
	require.NoError(s.t, json.Unmarshal([]byte(s.run("spool", "list", "--json")), &rows))
	return rows
}

// TestFullSpoolAndItsVerbs: with the smarthost away the relay takes what fits
// and answers 452 to the rest; hold, drop and release do what they say; with
// the smarthost back it drains while it takes more.
func TestFullSpoolAndItsVerbs(t *testing.T) {
	t.Parallel()
	const room = 40
	var away atomic.Bool
	away.Store(true)
	sink, err := smarthost.New(smarthost.Options{Script: func(smarthost.Event) smarthost.Answer { return smarthost.Answer{Drop: away.Load()} }})
	require.NoError(t, err)
	t.Cleanup(func() { _ = sink.Close() })
	s := newSite(t, func(c *siteConfig) {
		c.Smarthost, c.SMTPStreams, c.SMTPDefault = sink.Addr(), `"orders"`, "orders"
		c.Extra = "[spool]\nmax_messages = " + strconv.Itoa(room) + "\n"
	})
	s.Sink = sink
	send := func(first, n int) (load.Result, *tally) {
		took := &tally{}
		res, err := load.Source{Addr: s.SMTP, Messages: n, Sessions: 4, Size: 2048, Recipients: 1, From: "orders@example.org",
			First: first, Accepted: took.addID, Recipient: func(n, _ int) string { return "u" + strconv.Itoa(n) + "@example.net" }}.Run(t.Context())
		require.NoError(t, err)
		return res, took
	}
	res, first := send(0, room+20)
	require.InDelta(t, room, res.Accepted, 4, "sessions that ask at once may each pass the limit")
	require.EqualValues(t, room+20, res.Accepted+res.Refused)
	out, _ := swaks(t, s.SMTP, "--from", "orders@example.org", "--to", "late@example.net")
	require.Contains(t, out, "<** 452 4.3.1 ")
	require.EqualValues(t, 1, s.metric("postern_spool_full"))

	rows := s.spooled()
	require.Len(t, rows, int(res.Accepted))
	held, dropped := rows[0].ID, rows[1].ID
	to := func(id string) string {
		_, rest, ok := strings.Cut(s.run("spool", "show", id), "\nu")
		require.True(t, ok)
		who, _, _ := strings.Cut(rest, " ")
		return "u" + who
	}
	toHeld, toDropped := to(held), to(dropped)
	s.run("spool", "hold", held)
	require.Contains(t, s.run("spool", "retry", held), "retry: 0 messages: what is held takes postern spool release first")
	require.Contains(t, s.run("spool", "drop", dropped), "drop: 1 message\n")
	require.Equal(t, map[string]int{"held": 1}, s.spooled()[0].States)
	require.Len(t, s.spooled(), int(res.Accepted)-1)

	away.Store(false)
	s.run("spool", "retry", "--all")
	env.Eventually(t, 30*time.Second, "the smarthost to be asked again", func() bool { return len(sink.Messages()) > 0 })
	res, second := send(1000, 200) // it drains while it accepts
	require.Positive(t, res.Accepted)
	env.Eventually(t, 30*time.Second, "all but the held one to leave", func() bool { return len(s.spooled()) == 1 })
	require.Zero(t, s.to(toHeld))
	s.run("spool", "release", held)
	env.Eventually(t, 30*time.Second, "the spool to be empty", func() bool { return len(s.spooled()) == 0 })
	require.Equal(t, 1, s.to(toHeld))
	require.Zero(t, s.to(toDropped))
	require.Len(t, sink.Messages(), first.len()+second.len()-1)
	require.Zero(t, s.metric("postern_spool_full"))
}

// TestDamagedTail: of a log that was damaged on disk the sound part is read,
// the loss is told, and what was read leaves.
func TestDamagedTail(t *testing.T) {
	t.Parallel()
	var away atomic.Bool
	away.Store(true)
	sink, err := smarthost.New(smarthost.Options{Script: func(smarthost.Event) smarthost.Answer { return smarthost.Answer{Drop: away.Load()} }})
	require.NoError(t, err)
	t.Cleanup(func() { _ = sink.Close() })
	s := newSite(t, func(c *siteConfig) {
		c.Smarthost, c.SMTPStreams, c.SMTPDefault = sink.Addr(), `"orders"`, "orders"
	})
	s.Sink = sink
	took := &tally{}
	_, err = load.Source{Addr: s.SMTP, Messages: 60, Sessions: 1, Size: 8192, Recipients: 1, From: "orders@example.org", Accepted: took.addID}.Run(t.Context())
	require.NoError(t, err)
	require.Equal(t, 60, took.len())
	s.proc.Kill()
	logs, err := filepath.Glob(filepath.Join(s.Dir, "data", "state", "*.log"))
	require.NoError(t, err)
	require.NotEmpty(t, logs)
	b, err := os.ReadFile(logs[len(logs)-1])
	require.NoError(t, err)
	b = bytes.TrimRight(b, "\x00")
	copy(b[len(b)*3/4:], bytes.Repeat([]byte{0xAA}, 64))
	require.NoError(t, os.WriteFile(logs[len(logs)-1], b, 0o600))

	s.start()
	require.Contains(t, s.proc.Output(), "log was damaged")
	require.Positive(t, s.metric("postern_spool_damaged_records"))
	left := len(s.spooled())
	require.Greater(t, left, 20)
	require.Less(t, left, 60)
	away.Store(false)
	s.run("spool", "retry", "--all")
	env.Eventually(t, 30*time.Second, "the rest to leave", func() bool { return len(s.spooled()) == 0 })
	require.Len(t, sink.Messages(), left)
	t.Logf("%d of 60 messages read behind the damage", left)
}

// TestAdoptByAnotherNode: what waited on a node that was killed leaves through
// another one, once.
func TestAdoptByAnotherNode(t *testing.T) {
	t.Parallel()
	gone := env.FreeAddr(t) // nobody listens there
	dead := newSite(t, func(c *siteConfig) { c.Smarthost, c.SMTPStreams, c.SMTPDefault = gone, `"orders"`, "orders" })
	took := &tally{}
	_, err := load.Source{Addr: dead.SMTP, Messages: 50, Sessions: 5, Size: 4096, Recipients: 1, From: "orders@example.org", Accepted: took.addID}.Run(t.Context())
	require.NoError(t, err)
	require.Equal(t, 50, took.len())
	s := newSite(t, nil)
	data := filepath.Join(dead.Dir, "data")
	out, err := s.command("spool", "adopt", data).CombinedOutput()
	require.Error(t, err, "a node that runs keeps its mail")
	require.Contains(t, string(out), "in use")
	dead.proc.Kill()
	require.Contains(t, s.run("spool", "adopt", data), "50 messages taken over")
	arrived := func() *tally {
		got := &tally{}
		for _, m := range s.Sink.Messages() {
			got.add(&m)
		}
		return got
	}
	env.Eventually(t, 30*time.Second, "all of it at the sink", func() bool { return len(took.without(arrived())) == 0 })
	require.Zero(t, arrived().twice())
	require.Contains(t, s.run("spool", "adopt", data), "0 messages taken over")
}

// TestPostfixByUnixSocket: a real Postfix hands its mail over through a unix
// socket, with an answer for each recipient.
func TestPostfixByUnixSocket(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "postern-lmtp-") // a socket's path is short
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	require.NoError(t, os.Chmod(dir, 0o755))
	socket := filepath.Join(dir, "lmtp")
	s := newSite(t, func(c *siteConfig) { c.LMTP = socket })
	s.LMTP = socket
	require.NoError(t, os.Chmod(socket, 0o666)) // Postfix's user is in no group of ours
	p := env.Postfix(t, env.PostfixOptions{Main: map[string]string{"default_transport": "lmtp:unix:" + socket}})
	s.grant("anna@example.net")
	c := &company{site: s, lmtp: p}
	c.news(p, "by socket", "anna@example.net", "carla@example.net")
	s.wait("anna@example.net", 1)
	logged(t, p, "carla@example.net", "550 5.7.1 NO-CONSENT", "status=bounced")
}
