package consent

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// at makes an event n hours after day0.
func at(n int, a Action, change ...func(*entry)) entry {
	e := entry{action: a, at: day0.Add(time.Duration(n) * time.Hour).UnixMilli(), basis: Express}
	for _, f := range change {
		f(&e)
	}
	e.id = hashID(string(a), e.time().String(), string(e.encode()))
	return e
}

func pendingE(e *entry)  { e.pending, e.person = true, true }
func personE(e *entry)   { e.person = true }
func importE(e *entry)   { e.imported = true }
func unprovenE(e *entry) { e.imported, e.unproven = true, true }
func impliedE(e *entry)  { e.basis = Implied }
func untilE(n int) func(*entry) {
	return func(e *entry) { e.expires = day0.Add(time.Duration(n) * time.Hour).Unix() }
}

func TestCON_5_StateIsTheFoldOfEvents(t *testing.T) {
	week := 7 * 24
	for _, c := range []struct {
		name   string
		events []entry
		now    int
		want   Status
	}{
		{"nothing", nil, 9, StatusNone},
		{"given", []entry{at(0, Given)}, 9, StatusActive},
		{"CON-3 withdrawn", []entry{at(0, Given), at(1, Withdrawn)}, 9, StatusWithdrawn},
		{"given again later", []entry{at(0, Given), at(1, Withdrawn), at(2, Given)}, 9, StatusActive},
		{"given and withdrawn at once", []entry{at(1, Given), at(1, Withdrawn)}, 9, StatusWithdrawn},
		{"confirmed and withdrawn at once", []entry{at(0, Given, pendingE), at(1, Confirmed, personE), at(1, Withdrawn)}, 9, StatusWithdrawn},
		{"withdrawn before it was given", []entry{at(2, Given), at(1, Withdrawn)}, 9, StatusActive},
		{"CON-9 objected, given later", []entry{at(0, Given), at(1, Objected), at(2, Given)}, 9, StatusObjected},
		{"objected, then withdrawn", []entry{at(1, Objected), at(2, Withdrawn), at(3, Given)}, 9, StatusObjected},
		{"objected, confirmed by a tool", []entry{at(1, Objected), at(2, Confirmed)}, 9, StatusObjected},
		{"objected, then a double opt-in", []entry{at(1, Objected), at(2, Given, pendingE), at(3, Confirmed, personE)}, 9, StatusActive},
		{"that stays when the sign-up is old", []entry{at(1, Objected), at(2, Given, pendingE), at(3, Confirmed, personE)}, 9 * week, StatusActive},
		{"objected within a double opt-in", []entry{at(0, Given, pendingE), at(1, Objected), at(2, Confirmed, personE)}, 9, StatusObjected},
		{"withdrawn within a double opt-in", []entry{at(0, Given, pendingE), at(1, Withdrawn), at(2, Confirmed, personE)}, 9, StatusWithdrawn},
		{"objected, sign-up waits, withdrawn", []entry{at(0, Objected), at(1, Given, pendingE), at(2, Withdrawn), at(3, Given)}, 9, StatusObjected},
		{"CON-12 waits", []entry{at(0, Given, pendingE)}, 9, StatusPending},
		{"confirmed", []entry{at(0, Given, pendingE), at(1, Confirmed, personE)}, 9, StatusActive},
		{"vanished", []entry{at(0, Given, pendingE)}, week, StatusNone},
		{"confirmed too late finds nothing waiting", []entry{at(0, Withdrawn), at(1, Given, pendingE), at(1+week, Confirmed, personE)}, 2 * week, StatusWithdrawn},
		{"vanished over a withdrawal", []entry{at(0, Given), at(1, Withdrawn), at(2, Given, pendingE)}, 2 * week, StatusWithdrawn},
		{"sign-up beside a consent", []entry{at(0, Given), at(1, Given, pendingE)}, 2, StatusActive},
		{"CON-15 implied", []entry{at(0, Given, impliedE, untilE(5))}, 4, StatusActive},
		{"implied ended", []entry{at(0, Given, impliedE, untilE(5))}, 5, StatusExpired},
		{"implied without an end", []entry{at(0, Given, impliedE)}, 0, StatusExpired},
		{"ended, given again", []entry{at(0, Given, untilE(5)), at(6, Given)}, 9, StatusActive},
		{"refreshed in time", []entry{at(0, Given, untilE(5)), at(4, Refreshed, untilE(20))}, 9, StatusActive},
		{"refreshed after its end", []entry{at(0, Given, untilE(5)), at(6, Refreshed, untilE(20))}, 9, StatusActive},
		{"refreshed after a withdrawal", []entry{at(0, Given), at(1, Withdrawn), at(2, Refreshed)}, 9, StatusWithdrawn},
		{"refreshed out of nothing", []entry{at(2, Refreshed)}, 9, StatusNone},
		{"refreshed while it waits", []entry{at(0, Given, pendingE), at(2, Refreshed)}, 9, StatusPending},
		{"said to have expired", []entry{at(0, Given), at(3, Expired)}, 9, StatusExpired},
		{"CON-17 unproven", []entry{at(0, Given, unprovenE)}, 9, StatusUnproven},
		{"unproven beside proven", []entry{at(0, Given), at(1, Given, unprovenE)}, 9, StatusActive},
		{"unproven, then proven", []entry{at(0, Given, unprovenE), at(1, Given)}, 9, StatusActive},
		{"imported after a withdrawal", []entry{at(0, Withdrawn), at(1, Given, importE)}, 9, StatusWithdrawn},
		{"imported as confirmed after one", []entry{at(0, Withdrawn), at(1, Confirmed, importE)}, 9, StatusWithdrawn},
		{"imported after an objection", []entry{at(0, Objected), at(1, Confirmed, importE)}, 9, StatusObjected},
		{"imported while a sign-up waits over a withdrawal", []entry{at(0, Withdrawn), at(1, Given, pendingE), at(2, Given, importE)}, 9, StatusPending},
		{"imported after the person came back", []entry{at(0, Withdrawn), at(1, Given), at(2, Given, importE)}, 9, StatusActive},
	} {
		t.Run(c.name, func(t *testing.T) {
			now := day0.Add(time.Duration(c.now) * time.Hour)
			require.Equal(t, c.want, fold(append([]entry(nil), c.events...), now).status)
			var back []entry // order and repetition change nothing
			for i := len(c.events) - 1; i >= 0; i-- {
				back = append(back, c.events[i], c.events[i])
			}
			require.Equal(t, c.want, fold(back, now).status)
		})
	}
}

// events draws histories.
func events() *rapid.Generator[[]entry] {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) entry {
		return at(rapid.IntRange(0, 400).Draw(t, "hour"), rapid.SampledFrom(actionCodes[1:]).Draw(t, "action"), func(e *entry) {
			e.basis = rapid.SampledFrom(basisCodes[1:]).Draw(t, "basis")
			e.imported, e.unproven = rapid.Bool().Draw(t, "import"), rapid.Bool().Draw(t, "unproven")
			e.person = rapid.Bool().Draw(t, "person")
			e.pending = e.action == Given && rapid.Bool().Draw(t, "pending")
			if rapid.Bool().Draw(t, "ends") {
				untilE(rapid.IntRange(0, 500).Draw(t, "end"))(e)
			}
		})
	}), 0, 8)
}

func TestCON_5_FoldProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		list := events().Draw(t, "events")
		now := day0.Add(time.Duration(rapid.IntRange(400, 600).Draw(t, "now")) * time.Hour)
		st := fold(append([]entry(nil), list...), now)

		shuffled := rapid.Permutation(append(append([]entry(nil), list...), list...)).Draw(t, "shuffled")
		require.Equal(t, st.status, fold(shuffled, now).status, "union of logs in any order")

		// An opt-out now ends it, whatever was before; an import never undoes that.
		for _, out := range []entry{at(600, Withdrawn), at(600, Objected)} {
			end := now.Add(200 * time.Hour)
			ended := append(append([]entry(nil), list...), out)
			require.NotEqual(t, StatusActive, fold(ended, end).status)
			for _, again := range []entry{at(601, Given, importE), at(601, Confirmed, importE), at(601, Refreshed, importE), at(601, Confirmed, importE, personE)} {
				require.NotEqual(t, StatusActive, fold(append(append([]entry(nil), ended...), again), end).status)
			}
		}
		if st.status == StatusActive {
			require.False(t, st.by.over(now))
			require.False(t, st.by.unproven)
			require.False(t, st.by.pending)
			require.NotContains(t, []Action{Withdrawn, Objected, Expired}, st.by.action)
		}
	})
}

func TestEntriesRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		list := events().Draw(t, "events")
		var log []byte
		for i := range list {
			list[i].extras = rapid.StringN(0, 300, 2000).Draw(t, "extras")
			copy(list[i].terms[:], rapid.SliceOfN(rapid.Byte(), 12, 12).Draw(t, "terms"))
			log = appendFrame(log, list[i].encode())
		}
		back, err := decodeEntries(string(log), nil)
		require.NoError(t, err)
		require.Equal(t, len(list), len(back))
		for i := range list {
			require.Equal(t, list[i], back[i])
		}
	})
}

func TestSuppressionEntriesRoundTrip(t *testing.T) {
	for _, e := range []suppEntry{
		{op: opSet, at: 1, reason: Unsubscribed, scope: ScopeStream, stream: 65535, source: "one-click", actor: "link"},
		{op: opSet, at: 1, reason: Held, scope: ScopeAll, source: "privacy-mail", caseNo: "PC-1", actor: "rule", target: eventID{9}},
		{op: opRelease, at: 5, target: eventID{1, 2}, actor: "operator:desk", why: "it was a misread complaint"},
		{op: opUndo, at: 5, target: eventID{1, 2}, actor: "link"},
		{op: opLift, at: 5, purpose: "news", exact: [8]byte{1}},
		{op: opBounce, at: 5},
	} {
		e.id = eventID{7, 7}
		back, err := decodeSuppEntry(string(e.encode()))
		require.NoError(t, err)
		require.Equal(t, e, back)
		for cut := range len(e.encode()) {
			got, err := decodeSuppEntry(string(e.encode()[:cut]))
			if err != nil {
				require.ErrorIs(t, err, ErrDamaged)
			} else {
				require.Equal(t, e.id, got.id)
			}
		}
	}
}

func FuzzLogs(f *testing.F) {
	f.Add(string(appendFrame(nil, at(0, Given).encode())))
	f.Add(string(appendFrame(nil, suppEntry{op: opSet, reason: Held, scope: ScopeAll}.encode())))
	f.Add("\x80")
	f.Fuzz(func(t *testing.T, log string) {
		if list, err := decodeEntries(log, nil); err == nil {
			fold(list, day0)
		} else {
			require.ErrorIs(t, err, ErrDamaged)
		}
		if list, err := decodeSuppEntries(log, nil); err == nil {
			binding(list, asked{purpose: "news", stream: 1})
		} else {
			require.ErrorIs(t, err, ErrDamaged)
		}
		if c, err := decodeChange(log); err == nil {
			require.Equal(t, log, string(c.encode()))
		}
	})
}
