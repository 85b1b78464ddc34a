package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"postern/testmail/env"
)

// mailsARound arrive between two kills: 5,000 in the 200 rounds of make crash.
const mailsARound = 25

// TestChaosOfIntake kills Dovecot, Redis and postern at random moments while
// letters and bounces arrive. Every mail has one outcome in the end: each
// letter a case of its own, each bounce set aside once, all of them moved.
func TestChaosOfIntake(t *testing.T) {
	t.Parallel()
	rounds := fromEnv(t, "CRASH_ROUNDS", 10)
	seed := uint64(fromEnv(t, "CRASH_SEED", int(time.Now().UnixNano()&0xffffff)))
	random := rand.New(rand.NewPCG(seed, 1))
	t.Logf("seed %d (CRASH_SEED)", seed)

	dovecot := env.Dovecot(t, "mail_max_userip_connections = 0") // killed often, it counts connections that are gone
	s := newSite(t, func(c *siteConfig) { c.Dovecot = dovecot })
	m := &mailDrop{t: t, dir: filepath.Join(dovecot.Dir, "mail"), letters: map[string]bool{}}
	env.Eventually(t, time.Minute, "the maildir to be made", func() bool {
		_, err := os.Stat(filepath.Join(m.dir, "tmp"))
		return err == nil
	})
	killed := map[string]int{}
	for range rounds {
		early := random.IntN(mailsARound)
		m.arrive(early)
		<-time.After(time.Duration(random.IntN(600)) * time.Millisecond) // the kill falls anywhere
		switch random.IntN(3) {
		case 0:
			killed["dovecot"]++
			dovecot.Kill()
			m.arrive(mailsARound - early)
			dovecot.Start()
		case 1:
			killed["redis"]++
			s.Redis.Kill()
			m.arrive(mailsARound - early)
			s.Redis.Start()
		default:
			killed["postern"]++
			s.proc.Kill()
			m.arrive(mailsARound - early)
			s.launch()
		}
		s.keep()
	}
	rdb := redis.NewClient(&redis.Options{Addr: s.Redis.Addr})
	t.Cleanup(func() { _ = rdb.Close() })
	count := func(key string) int {
		n, err := rdb.ZCard(t.Context(), "pq:{queue}:"+key).Result()
		require.NoError(t, err)
		return int(n)
	}
	env.Eventually(t, 5*time.Minute, "every mail to have its outcome and to be moved", func() bool {
		s.keep()
		return count("all")+count("aside") >= m.sent && m.in(".Done") >= m.sent && m.in("") == 0
	})
	cases, aside := count("all"), count("aside")
	t.Logf("killed %v, %d mails: %d cases, %d set aside, %d moved", killed, m.sent, cases, aside, m.in(".Done"))
	require.Equal(t, len(m.letters), cases, "a case for every letter")
	require.Equal(t, m.sent-len(m.letters), aside, "every bounce is set aside once")
	require.GreaterOrEqual(t, m.in(".Done"), m.sent, "a Dovecot that dies while it moves leaves a second copy")
	seen, err := rdb.HGetAll(t.Context(), "pq:{queue}:seen").Result()
	require.NoError(t, err)
	numbers := map[string]bool{}
	for content := range m.letters {
		no := seen["b:example/"+content]
		require.NotEmpty(t, no, "a letter without a case")
		require.False(t, numbers[no], "two letters in one case")
		numbers[no] = true
		mails, err := rdb.LLen(t.Context(), "pq:{queue}:mails:"+no).Result()
		require.NoError(t, err)
		require.EqualValues(t, 1, mails, "a letter is in its case once")
	}
}

// mailDrop delivers into a maildir, as delivery agents do.
type mailDrop struct {
	t       *testing.T
	dir     string
	sent    int
	letters map[string]bool // hash of the bytes of each letter; the rest are bounces
}

func (m *mailDrop) arrive(n int) {
	m.t.Helper()
	for range n {
		m.sent++
		raw := letter(fmt.Sprintf("chaos%d@example.net", m.sent), "My data", fmt.Sprintf("Please erase my data, number %d.", m.sent))
		if m.sent%5 == 0 {
			raw = fmt.Appendf(nil, "Return-Path: <>\r\nFrom: Mail Delivery System <mailer-daemon@mx.example.net>\r\nTo: privacy@example.org\r\nSubject: Undelivered Mail Returned to Sender\r\nMessage-ID: <bounce%d@mx.example.net>\r\n\r\nYour message could not be delivered.\r\n\r\n<gone%d@example.net>: host mx.example.net said: 550 5.1.1 User unknown\r\n", m.sent, m.sent)
		} else {
			sum := sha256.Sum256(raw)
			m.letters[hex.EncodeToString(sum[:])] = true
		}
		name := fmt.Sprintf("%d.M%dP1.host", 1795000000+m.sent, m.sent)
		tmp := filepath.Join(m.dir, "tmp", name)
		require.NoError(m.t, os.WriteFile(tmp, raw, 0o644))
		require.NoError(m.t, os.Rename(tmp, filepath.Join(m.dir, "new", name)))
	}
}

// in counts the mails of a folder of the maildir, "" for INBOX.
func (m *mailDrop) in(folder string) (n int) {
	for _, sub := range []string{"cur", "new"} {
		files, err := filepath.Glob(filepath.Join(m.dir, folder, sub, "*"))
		require.NoError(m.t, err)
		n += len(files)
	}
	return n
}

// keep launches postern again where it ended by itself, as systemd does: it
// refuses to start while Redis is away. That it breaks is no such end.
func (s *site) keep() {
	s.t.Helper()
	select {
	case <-s.proc.Done():
		require.NotContains(s.t, s.proc.Output(), "panic: ")
		s.launch()
	default:
	}
}
