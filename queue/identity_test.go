package queue

import (
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"postern/classifier"
	"postern/gateway/address"
)

var linkPattern = regexp.MustCompile(`https://mail\.shop\.example\.org/case/([a-z2-7]+)`)

// challenge sends one and gives the token of its link.
func (w *world) challenge(no string) string {
	w.t.Helper()
	return w.challengeTo(no, "alice@example.com")
}

// challengeTo asks the owner of an address and gives the link they got.
func (w *world) challengeTo(no, to string) string {
	w.t.Helper()
	require.NoError(w.t, w.q.Challenge(ctx, no, address.MustParse(to), "operator:eve"))
	w.drain()
	letters, status, err := w.q.Letters(ctx, no)
	require.NoError(w.t, err)
	last := len(letters) - 1
	require.Equal(w.t, "sent", status[last])
	require.Equal(w.t, to, letters[last].To.Plain())
	m := linkPattern.FindStringSubmatch(letters[last].Text)
	require.NotNil(w.t, m)
	return m[1]
}

func TestChallengeConfirmed(t *testing.T) {
	w := newWorld(t)
	no := w.open(classifier.Access, classifier.Erasure)
	token := w.challenge(no)
	require.Equal(t, Identity, w.show(no).State)
	question, err := w.q.Challenged(ctx, token)
	require.NoError(t, err)
	require.Equal(t, "shop", question.Controller)
	require.False(t, question.Answered)
	due := w.show(no).Due
	w.clock.Set(w.clock.Now().AddDate(0, 0, 4))
	require.NoError(t, w.q.Confirm(ctx, token, true))
	require.NoError(t, w.q.Confirm(ctx, token, true), "twice is once")
	require.NoError(t, w.q.Confirm(ctx, token, false), "the first answer counts")
	c := w.show(no)
	require.Equal(t, Opened, c.State)
	require.Contains(t, c.Flags, FlagIdentified)
	require.NotContains(t, c.Flags, FlagNotMe)
	require.Equal(t, due, c.Due, "the clock does not stand still by default")
	question, err = w.q.Challenged(ctx, token)
	require.NoError(t, err)
	require.True(t, question.Answered)
	requireSealed(t, w.rdb)
	for _, key := range w.rdb.Keys(ctx, "*").Val() {
		if key == keyLinks {
			for f := range w.rdb.HGetAll(ctx, key).Val() {
				require.NotContains(t, f, token, "the link's token is not stored")
			}
		}
	}
}

func TestChallengeDenied(t *testing.T) {
	w := newWorld(t)
	no := w.open(classifier.Access)
	require.NoError(t, w.q.Confirm(ctx, w.challenge(no), false))
	c := w.show(no)
	require.Equal(t, Identity, c.State)
	require.Contains(t, c.Flags, FlagNotMe)
	require.Equal(t, "not-me", w.notices[len(w.notices)-1].Reason)
}

func TestChallengeIsNoOracle(t *testing.T) {
	w := newWorld(t)
	no := w.open(classifier.Access)
	first := w.challenge(no)
	require.NoError(t, w.q.Confirm(ctx, first, true))
	_, err := w.q.Challenged(ctx, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")
	require.ErrorIs(t, err, ErrUnknown)
	unknown := err.Error()
	second := w.challenge(no)
	_, err = w.q.Challenged(ctx, first)
	require.EqualError(t, err, unknown, "a replaced link reads as an unknown one")
	question, err := w.q.Challenged(ctx, second)
	require.NoError(t, err)
	require.False(t, question.Answered, "a new challenge is open again")
	w.clock.Set(w.clock.Now().AddDate(0, 2, 0))
	_, err = w.q.Challenged(ctx, second)
	require.EqualError(t, err, unknown, "so does an expired one")
	require.EqualError(t, w.q.Confirm(ctx, second, true), unknown)
}

func TestPauseForIdentity(t *testing.T) {
	w := newWorld(t)
	w.q.o.PauseIdentity = map[string]bool{"shop": true}
	no := w.open(classifier.Access)
	token := w.challenge(no)
	w.clock.Set(w.clock.Now().AddDate(0, 0, 6))
	require.NoError(t, w.q.Confirm(ctx, token, true))
	c, events, err := w.q.Show(ctx, no)
	require.NoError(t, err)
	require.Equal(t, "2026-12-30", c.Due.Format(time.DateOnly), "six days later")
	require.Contains(t, actions(events), ActPaused)

	late := w.open(classifier.Access) // the mail lay for days before it was asked
	w.clock.Set(w.clock.Now().AddDate(0, 0, 6))
	due := w.show(late).Due
	require.NoError(t, w.q.Confirm(ctx, w.challenge(late), true))
	require.Equal(t, due, w.show(late).Due, "our own delay does not stop the clock")
}

func TestUnprovenIsRefusedInTime(t *testing.T) {
	w := newWorld(t)
	w.q.o.AutoRefuse = true
	no := w.open(classifier.Access)
	w.challenge(no)
	w.clock.Set(w.show(no).Due.Add(-time.Hour))
	w.drain()
	w.drain()
	c := w.show(no)
	require.Equal(t, Denied, c.State)
	letters, _, err := w.q.Letters(ctx, no)
	require.NoError(t, err)
	text := letters[len(letters)-1].Text
	require.Contains(t, unfolded(text), "the data protection authority")
	require.Contains(t, text, "court")

	w2 := newWorld(t)
	no = w2.open(classifier.Access)
	w2.challenge(no)
	w2.clock.Set(w2.show(no).Due.Add(-time.Hour))
	w2.drain()
	require.Equal(t, Identity, w2.show(no).State, "by default a person refuses")
	var kinds []string
	for _, n := range w2.notices {
		kinds = append(kinds, n.Kind)
	}
	require.Contains(t, kinds, RemindProof)
}
