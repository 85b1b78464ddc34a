package intake

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"postern/classifier"
	"postern/queue"
	"postern/testmail/env"
)

// realBox is a mailbox on a real Dovecot.
func realBox(d *env.DovecotServer) Mailbox {
	return Mailbox{Name: "privacy", Controller: "acme", Address: d.Addr, TLS: TLSNone, User: d.User,
		Password: func() (string, error) { return d.Password, nil }, Folders: []string{"INBOX", "Junk"}, Done: "Done",
		Keyword: "$PosternStored", Addresses: []string{"privacy@example.org"}, PollEvery: 2 * time.Second}
}

// runPoller runs p until the test or the returned function ends it.
func runPoller(t testing.TB, p *Poller) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			select {
			case err := <-done:
				require.NoError(t, err)
			case <-time.After(30 * time.Second):
				t.Fatal("the poller does not stop")
			}
		})
	}
	t.Cleanup(stop)
	return stop
}

// memoryState keeps poller state in an in-process Redis.
func memoryState(t testing.TB) State {
	mr, err := miniredis.Run()
	require.NoError(t, err)
	t.Cleanup(mr.Close)
	rdb := redis.NewClient(&redis.Options{Addr: mr.Addr(), MaxRetries: -1})
	t.Cleanup(func() { _ = rdb.Close() })
	return NewRedisState(rdb)
}

func TestDovecotMailBecomesCase(t *testing.T) {
	d := env.Dovecot(t)
	s := newStore()
	p, err := New([]Mailbox{realBox(d)}, Deps{Cases: s, Aside: s, Optouts: s, Bounces: s, Classifier: words{}, State: memoryState(t)}, Options{BackoffMax: 100 * time.Millisecond})
	require.NoError(t, err)
	runPoller(t, p)
	eventually(t, "read once", func() bool { return !p.Health()[0].LastSuccess.IsZero() })
	d.Deliver(letterFrom("1", "Please", "Please erase my data."))
	eventually(t, "stored", func() bool { n, _, _ := s.counts(); return n == 1 })
	c := dovecotClient(t, d)
	eventually(t, "moved and marked", func() bool { return len(dovecotFlags(t, c, "Done")) == 1 })
	require.Contains(t, dovecotFlags(t, c, "Done")[0], imap.Flag("$PosternStored"))
	require.Empty(t, dovecotFlags(t, c, "INBOX"))

	d.Kill()
	eventually(t, "the failure is told", func() bool { return p.Health()[0].Failing != "" })
	d.Start()
	d.Deliver(letterFrom("2", "Please", "Erase me, too."))
	eventually(t, "stored after the restart", func() bool { n, _, _ := s.counts(); return n == 2 })
}

func dovecotClient(t testing.TB, d *env.DovecotServer) *imapclient.Client {
	c, err := imapclient.DialInsecure(d.Addr, nil)
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	require.NoError(t, c.Login(d.User, d.Password).Wait())
	return c
}

func dovecotFlags(t testing.TB, c *imapclient.Client, folder string) [][]imap.Flag {
	sel, err := c.Select(folder, &imap.SelectOptions{ReadOnly: true}).Wait()
	require.NoError(t, err)
	if sel.NumMessages == 0 {
		return nil
	}
	msgs, err := c.Fetch(imap.SeqSet{{Start: 1}}, &imap.FetchOptions{Flags: true}).Collect()
	require.NoError(t, err)
	var out [][]imap.Flag
	for _, m := range msgs {
		out = append(out, m.Flags)
	}
	return out
}

// fill writes n mails of the corpus, each with its own id, into the maildir.
func fill(t testing.TB, d *env.DovecotServer, n int) (bytes int) {
	c := dovecotClient(t, d)
	_, err := c.Select("INBOX", nil).Wait() // makes the maildir
	require.NoError(t, err)
	var kinds [][]byte
	for _, dir := range []string{"", "machine"} {
		for _, f := range corpusFiles(t, dir) {
			raw, err := os.ReadFile(f)
			require.NoError(t, err)
			kinds = append(kinds, raw)
		}
	}
	filler := "X-Filler: " + strings.Repeat("0123456789 abcdefgh ", 3) + "\r\n"
	for i := range n {
		raw := fmt.Appendf(nil, "X-Number: %d\r\nMessage-ID: <n%d@example.net>\r\n%s", i, i, strings.Repeat(filler, i%40))
		raw = append(raw, kinds[i%len(kinds)]...)
		bytes += len(raw)
		require.NoError(t, os.WriteFile(filepath.Join(d.Dir, "mail", "new", fmt.Sprintf("%d.M%dP1.host", 1795000000+i/100, i)), raw, 0o644))
	}
	return bytes
}

func BenchmarkDovecotToStored(b *testing.B) {
	cls, err := classifier.New()
	require.NoError(b, err)
	n := 5000
	for b.Loop() {
		d := env.Dovecot(b)
		bytes := fill(b, d, n)
		began := time.Now()
		floor(b, d, n)
		fetched := time.Since(began)
		s := newStore()
		box := realBox(d)
		box.Keyword = "" // moving says enough
		p, err := New([]Mailbox{box}, Deps{Cases: s, Aside: s, Optouts: s, Bounces: s, Classifier: cls, State: memoryState(b)}, Options{})
		require.NoError(b, err)
		began = time.Now()
		stop := runPoller(b, p)
		done := func() bool { c, a, o := s.counts(); return c+a+o >= n }
		env.Eventually(b, 2*time.Minute, "all stored", done)
		took := time.Since(began)
		stop()
		b.ReportMetric(float64(n)/took.Seconds(), "mails/s")
		b.ReportMetric(float64(n)/fetched.Seconds(), "floor-mails/s")
		b.ReportMetric(float64(bytes)/float64(n), "B/mail")
	}
}

// counted passes on to the real queue and counts what it stored.
type counted struct {
	*queue.Queue
	n atomic.Int64
}

func (c *counted) count(n int, err error) error {
	if err == nil {
		c.n.Add(int64(n))
	}
	return err
}

func (c *counted) OpenAll(ctx context.Context, mails []queue.Incoming) ([]queue.Ref, error) {
	refs, err := c.Queue.OpenAll(ctx, mails)
	return refs, c.count(len(mails), err)
}

func (c *counted) SetAside(ctx context.Context, list ...queue.Aside) error {
	return c.count(len(list), c.Queue.SetAside(ctx, list...))
}

func (c *counted) OptOut(ctx context.Context, token string, in queue.Incoming) error {
	return c.count(1, c.Queue.OptOut(ctx, token, in))
}

// BenchmarkDovecotToCases stores in the real queue on a Redis that syncs every
// write to disk.
func BenchmarkDovecotToCases(b *testing.B) {
	cls, err := classifier.New()
	require.NoError(b, err)
	n := 5000
	for b.Loop() {
		d, rs := env.Dovecot(b), env.Redis(b)
		fill(b, d, n)
		rdb := redis.NewClient(&redis.Options{Addr: rs.Addr})
		c := &counted{Queue: realQueue(b, rdb)}
		box := realBox(d)
		box.Keyword = ""
		p, err := New([]Mailbox{box}, Deps{Cases: c, Aside: c, Optouts: c, Classifier: cls, State: NewRedisState(rdb)}, Options{})
		require.NoError(b, err)
		began := time.Now()
		stop := runPoller(b, p)
		env.Eventually(b, 2*time.Minute, "all stored", func() bool { return c.n.Load() >= int64(n) })
		b.ReportMetric(float64(n)/time.Since(began).Seconds(), "mails/s")
		stop()
		_ = rdb.Close()
	}
}

// floor fetches all bodies and does nothing else.
func floor(b testing.TB, d *env.DovecotServer, n int) {
	c := dovecotClient(b, d)
	_, err := c.Select("INBOX", &imap.SelectOptions{ReadOnly: true}).Wait()
	require.NoError(b, err)
	section := &imap.FetchItemBodySection{Peek: true}
	cmd := c.Fetch(imap.SeqSet{{Start: 1}}, &imap.FetchOptions{UID: true, InternalDate: true, BodySection: []*imap.FetchItemBodySection{section}})
	got := 0
	for m := cmd.Next(); m != nil; m = cmd.Next() {
		_, err := m.Collect()
		require.NoError(b, err)
		got++
	}
	require.NoError(b, cmd.Close())
	require.Equal(b, n, got)
}
