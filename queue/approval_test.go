package queue

import (
	"testing"

	"github.com/stretchr/testify/require"

	"postern/classifier"
	"postern/gateway/address"
	"postern/queue/reply"
)

// A wish for approval is sealed, shown to who asks, and taken off again.
func TestApproval(t *testing.T) {
	w := newWorld(t)
	no := w.open(classifier.Erasure)
	d := &Draft{Step: reply.Denied, Effect: ActDeny, Reason: "legal-obligation", Actor: "operator:eve", Values: reply.Values{"reason": "secret reason"}}
	require.ErrorIs(t, w.q.AskApproval(ctx, no, Approval{What: "lunch", By: "operator:eve"}), ErrMove)
	require.ErrorIs(t, w.q.AskApproval(ctx, no, Approval{What: EyesDeny, By: "rule"}), ErrMove)
	require.NoError(t, w.q.AskApproval(ctx, no, Approval{What: EyesDeny, By: "operator:eve", Note: "secret note", Draft: d}))
	requireSealed(t, w.rdb)
	require.Contains(t, w.show(no).Flags, FlagApproval)
	a, ok, err := w.q.ApprovalOf(ctx, no)
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, "secret reason", a.Draft.Values["reason"])
	require.Equal(t, "secret note", a.Note)
	require.Equal(t, Received, w.show(no).State, "nothing happened yet")

	require.ErrorIs(t, w.q.EndApproval(ctx, no, "operator:max", "because", ""), ErrMove)
	require.NoError(t, w.q.EndApproval(ctx, no, "operator:max", "approval-refused", "no"))
	_, ok, err = w.q.ApprovalOf(ctx, no)
	require.NoError(t, err)
	require.False(t, ok)
	require.ErrorIs(t, w.q.EndApproval(ctx, no, "operator:max", "approval-given", ""), ErrMove)
}

// The cases of an address are found with every controller, and of no other.
func TestOfAddress(t *testing.T) {
	w := newWorld(t)
	no := w.open(classifier.Access)
	person := w.q.Person(ptr(w.show(no)))
	got, err := w.q.OfAddress(ctx, person)
	require.NoError(t, err)
	require.Equal(t, []string{no}, got)
	got, err = w.q.OfAddress(ctx, address.MustParse("nobody@example.net"))
	require.NoError(t, err)
	require.Empty(t, got)
}

func ptr[T any](v T) *T { return &v }
