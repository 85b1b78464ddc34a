package intake

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/stretchr/testify/require"

	"postern/testmail/mailbox"
)

// Tests named for the lines of the requirements on a mailbox's client, of what
// it leaves alone and where it does not log in.

// TestIM2_TheLastMailIsNotReadAgain: a server answers "UID 8:*" with the last
// mail, though it has number 7 and was read long ago.
func TestIM2_TheLastMailIsNotReadAgain(t *testing.T) {
	r := newRig(t, mailbox.Options{Caps: imap.CapSet{imap.CapIMAP4rev1: {}}})
	r.box.Done, r.box.Keyword, r.box.PollEvery = "", "", 10*time.Millisecond
	require.NoError(t, r.imap.Deliver("INBOX", letterFrom("1", "x", "Please erase my data."), time.Now()))
	p, _ := r.start()
	eventually(t, "stored", func() bool { n, _, _ := r.store.counts(); return n == 1 })
	polls, last := 0, time.Time{}
	eventually(t, "the folder was read again and again", func() bool {
		if at := p.Health()[0].LastSuccess; !at.Equal(last) {
			polls, last = polls+1, at
		}
		return polls > 5
	})
	require.Equal(t, 1, r.store.opened())
}

// TestIM3_ReadingLeavesSeenAlone: people see by it what they read.
func TestIM3_ReadingLeavesSeenAlone(t *testing.T) {
	r := newRig(t, mailbox.Options{})
	r.box.Done = ""
	require.NoError(t, r.imap.Deliver("INBOX", letterFrom("1", "x", "Please erase my data."), time.Now()))
	r.start()
	eventually(t, "the mail is marked as stored", func() bool {
		flags, err := r.imap.Flags("INBOX")
		return err == nil && len(flags) == 1 && len(flags[0]) == 1
	})
	flags, err := r.imap.Flags("INBOX")
	require.NoError(t, err)
	require.Equal(t, []imap.Flag{"$posternstored"}, flags[0])
}

// TestIM6_OthersDeletedMailsStay: a mail that came and was marked as deleted by
// another program while ours was being stored is not expunged along, whichever
// way mails can be moved: it is read, too.
func TestIM6_OthersDeletedMailsStay(t *testing.T) {
	for name, caps := range map[string]imap.CapSet{
		"MOVE":    nil,
		"UIDPLUS": {imap.CapIMAP4rev1: {}, imap.CapUIDPlus: {}},
		"neither": {imap.CapIMAP4rev1: {}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, mailbox.Options{Caps: caps})
			r.box.PollEvery = 20 * time.Millisecond
			c, err := imapclient.DialInsecure(r.imap.Addr(), nil)
			require.NoError(t, err)
			defer c.Close()
			require.NoError(t, c.Login("privacy@example.org", "secret").Wait())
			_, err = c.Select("INBOX", nil).Wait()
			require.NoError(t, err)
			var once sync.Once
			var marked error
			r.store.onOpen = func() {
				once.Do(func() {
					marked = errors.Join(r.imap.Deliver("INBOX", letterFrom("2", "x", "A copy of my data please."), time.Now()),
						c.Noop().Wait(),
						c.Store(imap.SeqSetNum(2), &imap.StoreFlags{Op: imap.StoreFlagsAdd, Flags: []imap.Flag{imap.FlagDeleted}}, nil).Close())
				})
			}
			require.NoError(t, r.imap.Deliver("INBOX", letterFrom("1", "x", "Please erase my data."), time.Now()))
			r.start()
			eventually(t, "both are cases", func() bool { n, _, _ := r.store.counts(); return n == 2 })
			require.NoError(t, marked)
		})
	}
}

// listener is a server that greets and notes what it is told.
func listener(t *testing.T, conf *tls.Config, greeting string) (addr string, told func() string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	lines := make(chan string, 100)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer close(lines)
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		if conf != nil {
			c = tls.Server(c, conf)
		}
		if _, err := c.Write([]byte(greeting + "\r\n")); err != nil {
			return
		}
		in := bufio.NewScanner(c)
		for in.Scan() {
			lines <- in.Text()
			tag, _, _ := strings.Cut(in.Text(), " ")
			_, _ = c.Write([]byte("* CAPABILITY IMAP4rev1 LOGINDISABLED\r\n" + tag + " OK done\r\n"))
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	return l.Addr().String(), func() string {
		_ = l.Close()
		<-done
		var all []string
		for line := range lines {
			all = append(all, line)
		}
		return strings.Join(all, "\n")
	}
}

// TestIM10_NoPasswordWhereItIsForbiddenOrUnsafe: LOGINDISABLED is obeyed
// (RFC 9051 section 6.2.3), and a certificate that nobody vouches for gets
// nothing (RFC 8314 section 4.4).
func TestIM10_NoPasswordWhereItIsForbiddenOrUnsafe(t *testing.T) {
	for name, mode := range map[string]string{"LOGINDISABLED": TLSNone, "unknown certificate": TLSImplicit} {
		t.Run(name, func(t *testing.T) {
			var conf *tls.Config
			if mode == TLSImplicit {
				conf = unknownCertificate(t)
			}
			addr, told := listener(t, conf, "* OK [CAPABILITY IMAP4rev1 LOGINDISABLED] hello")
			r := newRig(t, mailbox.Options{})
			r.box.Address, r.box.TLS = addr, mode
			p, err := New([]Mailbox{r.box}, Deps{Cases: r.store, Aside: r.store, Optouts: r.store, Classifier: r.cls, State: NewRedisState(r.rdb)}, r.opts)
			require.NoError(t, err)
			c, err := p.boxes[0].connect(t.Context())
			require.Error(t, err)
			require.Nil(t, c)
			said := told()
			require.NotContains(t, said, "secret")
			require.NotContains(t, said, "LOGIN ")
		})
	}
}

func unknownCertificate(t *testing.T) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	require.NoError(t, err)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}
