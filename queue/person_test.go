package queue

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"postern/classifier"
	"postern/gateway/address"
)

func TestPersonsPage(t *testing.T) {
	w := newWorld(t)
	no := w.open(classifier.Access)
	letters := func() []Letter {
		out, _, err := w.q.Letters(ctx, no)
		require.NoError(t, err)
		return out
	}
	for _, typed := range []string{"mallory@example.net", "shop@shop.example.org"} {
		require.NoError(t, w.q.SendStatusLink(ctx, no, address.MustParse(typed)), "no word of whether it is known")
	}
	require.NoError(t, w.q.SendStatusLink(ctx, "PC-1111-1111", address.MustParse("alice@example.com")))
	require.Empty(t, letters())
	require.NoError(t, w.q.SendStatusLink(ctx, no, address.MustParse("alice@example.com")))
	require.NoError(t, w.q.SendStatusLink(ctx, no, address.MustParse("alice@example.com")), "but not twice at once")
	w.drain()
	require.Len(t, letters(), 1)
	token := linkPattern.FindStringSubmatch(letters()[0].Text)[1]
	s, err := w.q.Status(ctx, token)
	require.NoError(t, err)
	require.Equal(t, "received", s.Step)
	require.Equal(t, no, s.Number)
	_, err = w.q.Challenged(ctx, token)
	require.ErrorIs(t, err, ErrUnknown, "a link opens one door only")
	require.ErrorIs(t, w.q.Confirm(ctx, token, true), ErrUnknown)

	require.NoError(t, w.q.AddMessage(ctx, token, "Some more secret words"))
	require.NoError(t, w.q.AddMessage(ctx, token, "Some more secret words"), "sent twice by a double click")
	require.Error(t, w.q.AddMessage(ctx, token, " "))
	c := w.show(no)
	require.Len(t, c.Mails, 2)
	require.NotContains(t, c.Flags, FlagOtherSender)
	requireSealed(t, w.rdb)

	require.NoError(t, w.q.Withdraw(ctx, token))
	require.NoError(t, w.q.Withdraw(ctx, token))
	s, err = w.q.Status(ctx, token)
	require.NoError(t, err)
	require.True(t, s.Withdrawn)
	w.clock.Set(w.clock.Now().Add(8 * 24 * time.Hour))
	_, err = w.q.Status(ctx, token)
	require.ErrorIs(t, err, ErrUnknown)
}
