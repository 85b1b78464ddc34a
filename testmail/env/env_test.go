package env_test

import (
	"context"
	"net/smtp"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"postern/testmail/env"
)

func TestRedisForgetsNothingWhenKilled(t *testing.T) {
	r := env.Redis(t)
	c := redis.NewClient(&redis.Options{Addr: r.Addr})
	defer c.Close()
	ctx := context.Background()
	require.NoError(t, c.Set(ctx, "k", "v", 0).Err())
	r.Kill()
	r.Start()
	got, err := c.Get(ctx, "k").Result()
	require.NoError(t, err)
	require.Equal(t, "v", got)
}

func TestDovecotTakesMail(t *testing.T) {
	d := env.Dovecot(t)
	d.Deliver([]byte("From: a@example.org\r\nSubject: hello\r\n\r\nbody\r\n"))
	d.Kill()
	d.Start()
	c, err := imapclient.DialInsecure(d.Addr, nil)
	require.NoError(t, err)
	defer c.Close()
	require.NoError(t, c.Login(d.User, d.Password).Wait(), d.Output())
	sel, err := c.Select("INBOX", nil).Wait()
	require.NoError(t, err)
	require.EqualValues(t, 1, sel.NumMessages)
}

func TestPostfixTakesMail(t *testing.T) {
	p := env.Postfix(t, env.PostfixOptions{Main: map[string]string{"default_transport": "discard:"}})
	err := smtp.SendMail(p.Addr, nil, "a@example.org", []string{"b@example.net"}, []byte("Subject: x\r\n\r\nbody\r\n"))
	require.NoError(t, err)
	env.Eventually(t, 10*time.Second, "the message to be discarded", func() bool {
		return strings.Contains(p.LogText(), "status=sent")
	})
}
