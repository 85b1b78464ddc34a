package ledger

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"postern/gateway/address"
	"postern/gateway/node"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var testKeys = Keys{
	Origin: "relay1.example.com/postern",
	Signer: []byte(strings.Repeat("s", 32)), Master: []byte(strings.Repeat("m", 32)),
}

func memStore(t testing.TB) *pebble.DB {
	t.Helper()
	o := node.Options()
	o.FS = vfs.NewMem()
	db, err := pebble.Open("state", o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db
}

func open(t testing.TB, db *pebble.DB, dir string, opts Options) *Ledger {
	t.Helper()
	l, err := Open(db, dir, testKeys, opts)
	require.NoError(t, err)
	return l
}

func subject(n int) (s address.SubjectID) {
	s[0], s[1], s[15] = byte(n), byte(n>>8), 7
	return s
}

func verdict(n int) Record {
	return Record{
		Time: time.Date(2026, 11, 24, 12, 0, n%60, n, time.UTC), Kind: KindVerdict, Controller: "shop", Subject: subject(n % 50),
		Actor: "relay", Action: "allow", Stream: 1, Ref: fmt.Sprintf("spool-%d", n), Message: fmt.Sprintf("%064d", n/10),
	}
}

func all(t testing.TB, l *Ledger, f Filter) (out []Entry) {
	t.Helper()
	require.NoError(t, l.Query(t.Context(), f, func(e Entry) error { out = append(out, e); return nil }))
	return out
}

func TestStagedAndSequencedAreFound(t *testing.T) {
	l := open(t, memStore(t), t.TempDir(), Options{})
	for n := range 20 {
		require.NoError(t, l.Append(t.Context(), verdict(n)))
	}
	require.NoError(t, l.Flush(t.Context()))
	config := Record{Kind: KindConfig, Controller: "shop", Actor: "operator:one", Action: "mode", Data: map[string]string{"to": "enforce"}}
	require.NoError(t, l.Append(t.Context(), config, verdict(20)))

	for _, flushed := range []bool{false, true} {
		if flushed {
			require.NoError(t, l.Flush(t.Context()))
		}
		require.Len(t, all(t, l, Filter{}), 22)
		require.Len(t, all(t, l, Filter{Message: verdict(11).Message}), 10)
		require.Len(t, all(t, l, Filter{Kind: KindConfig}), 1)
		require.Len(t, all(t, l, Filter{Controller: "other"}), 0)
		require.Len(t, all(t, l, Filter{Since: verdict(20).Time, Until: verdict(21).Time}), 1)
		got := all(t, l, Filter{Subject: subject(20), Ref: "spool-20"})
		require.Len(t, got, 1)
		require.Equal(t, flushed, got[0].Index == 21)
		require.Equal(t, "allow", got[0].Action)
		require.NotEmpty(t, got[0].ID)
	}
	n := 0
	require.NoError(t, l.Query(t.Context(), Filter{}, func(Entry) error { n++; return ErrStop }))
	require.Equal(t, 1, n)
	fault := errors.New("fault")
	require.ErrorIs(t, l.Query(t.Context(), Filter{}, func(Entry) error { return fault }), fault)
}

// A query begins above what was moved a while ago, finds all the same what is
// staged, and what was staged early and became durable late once it is moved.
func TestQueryBeginsAboveWhatWasMoved(t *testing.T) {
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	db := memStore(t)
	l := open(t, db, t.TempDir(), Options{Now: func() time.Time { return now }})
	late := db.NewBatch()
	defer late.Close()
	require.NoError(t, l.Stage(late, verdict(0)))
	for n := 1; n <= 8; n++ {
		require.NoError(t, l.Append(t.Context(), verdict(n)))
		require.Len(t, all(t, l, Filter{}), n)
		require.NoError(t, l.pass(t.Context(), false))
		require.Len(t, all(t, l, Filter{}), n)
		if n%2 == 0 { // two looks a second
			now = now.Add(time.Second)
		}
	}
	require.EqualValues(t, 3, l.floor.Load(), "what was moved two seconds ago")
	require.NoError(t, late.Commit(pebble.NoSync))
	now = now.Add(time.Second)
	require.NoError(t, l.pass(t.Context(), false))
	require.Len(t, all(t, l, Filter{}), 9)
	require.Len(t, all(t, l, Filter{Ref: "spool-0"}), 1)
}

// A record that comes again by its id is one record, staged or sequenced.
func TestIdempotentByID(t *testing.T) {
	l := open(t, memStore(t), t.TempDir(), Options{})
	r := verdict(1)
	r.ID = "suppress:1"
	for range 3 {
		require.NoError(t, l.Append(t.Context(), r, r))
		require.Len(t, all(t, l, Filter{}), 1)
		require.NoError(t, l.Flush(t.Context()))
		require.Len(t, all(t, l, Filter{}), 1)
	}
	require.EqualValues(t, 1, l.Checkpoint().Size)
}

// Any records by any number of writers come out once each, also over restarts,
// while Run and Flush work beside each other.
func TestConcurrentStage(t *testing.T) {
	db, dir := memStore(t), t.TempDir()
	l := open(t, db, dir, Options{Batch: 64, Gather: time.Millisecond, Publish: 5 * time.Millisecond})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- l.Run(ctx) }()
	var writers sync.WaitGroup
	failed := make(chan error, 8)
	for w := range 8 {
		writers.Go(func() {
			for n := range 250 {
				b := db.NewBatch()
				err := l.Stage(b, verdict(w*1000+n), verdict(w*1000+500+n))
				if err == nil {
					err = b.Commit(pebble.NoSync)
				}
				if err != nil {
					failed <- err
				}
				l.Notify()
			}
		})
	}
	writers.Wait()
	cancel()
	require.NoError(t, <-ended)
	require.Empty(t, failed)
	require.EqualValues(t, 4000, l.Checkpoint().Size, "Run drains before it returns")

	again := open(t, db, dir, Options{})
	require.NoError(t, again.Append(t.Context(), verdict(9999)))
	require.NoError(t, again.Flush(t.Context()))
	require.Len(t, all(t, again, Filter{}), 4001)
	out := filepath.Join(t.TempDir(), "x")
	require.NoError(t, again.Export(t.Context(), out))
	rep, err := Verify(t.Context(), out, l.PublicKey(), VerifyOptions{})
	require.NoError(t, err)
	require.True(t, rep.OK(), rep.Faults)
}

// What a batch staged is durable with it and lost with it: killed stores keep
// every committed record.
func TestCrashLosesNothing(t *testing.T) {
	fs := vfs.NewCrashableMem()
	o := node.Options()
	o.FS = fs
	db, err := pebble.Open("state", o)
	require.NoError(t, err)
	l := open(t, db, t.TempDir(), Options{})
	for n := range 300 {
		require.NoError(t, l.Append(t.Context(), verdict(n)))
		if n == 150 {
			require.NoError(t, l.Flush(t.Context()))
		}
		if n == 250 {
			_, err := l.move() // moved, not synced
			require.NoError(t, err)
		}
	}
	crashed := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 0})
	before := l.Checkpoint()
	require.NoError(t, db.Close())

	o = node.Options()
	o.FS = crashed
	db, err = pebble.Open("state", o)
	require.NoError(t, err)
	defer db.Close()
	l = open(t, db, t.TempDir(), Options{})
	require.Equal(t, before, l.Checkpoint())
	require.NoError(t, l.Flush(t.Context()))
	seen := map[string]int{}
	for _, e := range all(t, l, Filter{}) {
		seen[e.Ref]++
	}
	require.Len(t, seen, 300)
	for ref, n := range seen {
		require.Equal(t, 1, n, ref)
	}
}

func TestOpenRefuses(t *testing.T) {
	db := memStore(t)
	for name, k := range map[string]Keys{
		"origin": {Origin: "a b", Signer: testKeys.Signer, Master: testKeys.Master},
		"signer": {Origin: "a", Signer: []byte("short"), Master: testKeys.Master},
		"master": {Origin: "a", Signer: testKeys.Signer, Master: nil},
	} {
		_, err := Open(db, t.TempDir(), k, Options{})
		require.Error(t, err, name)
	}
	l := open(t, db, t.TempDir(), Options{})
	require.NoError(t, l.Append(t.Context(), verdict(1)))
	require.NoError(t, l.Flush(t.Context()))
	other := testKeys
	other.Signer = []byte(strings.Repeat("x", 32))
	_, err := Open(db, t.TempDir(), other, Options{})
	require.ErrorIs(t, err, ErrCheckpoint, "a head signed by another key")
	require.ErrorIs(t, l.Append(t.Context(), Record{Data: map[string]string{"x": strings.Repeat("x", 70<<10)}}), ErrRecord)
}

// ST-6: erasing a person leaves the log verifiable and the records unreadable.
func TestST6_EraseKeepsTheTree(t *testing.T) {
	l := open(t, memStore(t), t.TempDir(), Options{})
	for n := range 100 {
		require.NoError(t, l.Append(t.Context(), verdict(n)))
	}
	n, err := l.Erase(t.Context(), subject(7))
	require.NoError(t, err)
	require.Equal(t, 2, n)
	require.Empty(t, all(t, l, Filter{Subject: subject(7)}))
	require.Empty(t, all(t, l, Filter{Ref: "spool-7"}))
	erased := 0
	for _, e := range all(t, l, Filter{}) {
		if e.Erased {
			erased++
			require.Equal(t, Record{Kind: KindVerdict, Time: e.Time}, e.Record)
		}
	}
	require.Equal(t, 2, erased)
	out := filepath.Join(t.TempDir(), "x")
	require.NoError(t, l.Export(t.Context(), out))
	rep, err := Verify(t.Context(), out, l.PublicKey(), VerifyOptions{})
	require.NoError(t, err)
	require.True(t, rep.OK())
	require.NoError(t, l.Append(t.Context(), verdict(7)))
	require.NoError(t, l.Flush(t.Context()))
	require.Len(t, all(t, l, Filter{Subject: subject(7)}), 1, "what comes later has a key of its own")
}

// ST-5: an export shows no subject id, no ref, no closed word of a person.
func TestST5_ExportIsSealed(t *testing.T) {
	l := open(t, memStore(t), t.TempDir(), Options{})
	for n := range 30 {
		require.NoError(t, l.Append(t.Context(), verdict(n)))
	}
	out := filepath.Join(t.TempDir(), "x")
	require.NoError(t, l.Export(t.Context(), out))
	s := subject(3)
	require.NoError(t, filepath.Walk(out, func(path string, info os.FileInfo, err error) error {
		if err != nil || info.IsDir() {
			return err
		}
		require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
		b, err := os.ReadFile(path)
		for _, secret := range []string{"spool-", "allow", "shop", string(s[:])} {
			require.NotContains(t, string(b), secret, path)
		}
		return err
	}))
	require.Error(t, l.Export(t.Context(), out), "never into a folder that holds something")
}

// ST-1: pruned records keep their place; the log says which they were.
func TestST1_PruneKeepsTheTree(t *testing.T) {
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	l := open(t, memStore(t), t.TempDir(), Options{Now: func() time.Time { return now }})
	for n := range 600 {
		r := verdict(n)
		r.Time = now.AddDate(0, 0, -n)
		r.Stream = uint16(n%3 + 1)
		require.NoError(t, l.Append(t.Context(), r))
	}
	rule := Retention{Class: "transactional verdicts", Before: now.AddDate(0, 0, -90), Match: func(r Record) bool { return r.Stream == 2 }}
	n, err := l.Prune(t.Context(), rule)
	require.NoError(t, err)
	require.Equal(t, 170, n)
	again, err := l.Prune(t.Context(), rule)
	require.NoError(t, err)
	require.Zero(t, again)
	require.Empty(t, all(t, l, Filter{Ref: "spool-100"}))
	require.Len(t, all(t, l, Filter{Ref: "spool-101"}), 1)
	out := filepath.Join(t.TempDir(), "x")
	require.NoError(t, l.Export(t.Context(), out))
	rep, err := Verify(t.Context(), out, l.PublicKey(), VerifyOptions{})
	require.NoError(t, err)
	require.True(t, rep.OK(), rep.Faults)
	require.EqualValues(t, 170, rep.Pruned)
	p, err := l.Prove(t.Context(), Filter{Ref: "spool-101"})
	require.NoError(t, err)
	require.NoError(t, CheckProof(p, l.PublicKey()))
}

func TestRanges(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		set := rapid.SliceOfNDistinct(rapid.Uint64Range(0, 5000), 0, 300, rapid.ID[uint64]).Draw(rt, "set")
		in := map[uint64]bool{}
		for _, n := range set {
			in[n] = true
		}
		var rising []uint64
		for n := range uint64(5001) {
			if in[n] {
				rising = append(rising, n)
			}
		}
		var got []uint64
		for rest := rising; len(rest) > 0; {
			text, n := packRanges(rest, rapid.IntRange(1, 50).Draw(rt, "limit"))
			require.Positive(rt, n)
			require.NoError(rt, unpackRanges(text, 5001, func(x uint64) { got = append(got, x) }))
			rest = rest[n:]
		}
		require.Equal(rt, rising, got)
	})
}

func TestProve(t *testing.T) {
	l := open(t, memStore(t), t.TempDir(), Options{})
	for n := range 500 {
		require.NoError(t, l.Append(t.Context(), verdict(n)))
	}
	for name, f := range map[string]Filter{
		"message": {Message: verdict(123).Message}, "subject": {Subject: subject(23)}, "ref": {Ref: "spool-123"},
	} {
		p, err := l.Prove(t.Context(), f)
		require.NoError(t, err, name)
		require.NotEmpty(t, p.Records)
		text, err := json.Marshal(p)
		require.NoError(t, err)
		var back Proof
		require.NoError(t, json.Unmarshal(text, &back))
		require.NoError(t, CheckProof(back, l.PublicKey()), name)

		forged := back
		forged.Records[0].Record.Action = "deny"
		require.Error(t, CheckProof(forged, l.PublicKey()), "another record")
		require.NoError(t, json.Unmarshal(text, &back))
		back.Records[0].Index++
		require.Error(t, CheckProof(back, l.PublicKey()), "another place")
		require.NoError(t, json.Unmarshal(text, &back))
		back.Records[0].Leaf[20] ^= 1
		require.Error(t, CheckProof(back, l.PublicKey()), "another leaf")
		require.Error(t, CheckProof(p, strings.Replace(l.PublicKey(), "relay1", "relay2", 1)), "another log")
	}
	_, err := l.Prove(t.Context(), Filter{Ref: "none"})
	require.ErrorIs(t, err, ErrNoRecord)
}

// ST-6: each day's checkpoint is handed out, and again until it was taken.
func TestST6_AnchorsAreHandedOutDaily(t *testing.T) {
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	var got []string
	refuse := true
	dir := t.TempDir()
	l := open(t, memStore(t), dir, Options{Now: func() time.Time { return now }, Anchor: func(_ context.Context, day string, c Checkpoint) error {
		if refuse {
			return errors.New("mail server is away")
		}
		got = append(got, day)
		return nil
	}})
	step := func(d time.Duration) {
		now = now.Add(d)
		require.NoError(t, l.Append(t.Context(), verdict(int(now.Unix()))))
		require.NoError(t, l.Flush(t.Context()))
	}
	step(0)
	days, err := l.Unanchored()
	require.NoError(t, err)
	require.Equal(t, []string{"2026-11-24"}, days)
	step(24 * time.Hour)
	refuse = false
	step(time.Second)
	require.Empty(t, got, "not at once again")
	step(time.Hour)
	step(24 * time.Hour)
	require.Equal(t, []string{"2026-11-24", "2026-11-25", "2026-11-26"}, got)
	text, err := os.ReadFile(filepath.Join(dir, "anchors", "2026-11-25"))
	require.NoError(t, err)
	c, err := OpenCheckpoint(string(text), l.PublicKey())
	require.NoError(t, err)
	require.EqualValues(t, 2, c.Size)
}

// ST-6: a day without records has its anchor too, and when the last one was
// handed out outlives a restart.
func TestST6_QuietDaysAreAnchored(t *testing.T) {
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	var got []string
	db, dir := memStore(t), t.TempDir()
	reg := prometheus.NewRegistry()
	opts := Options{Now: func() time.Time { return now }, Metrics: reg, Anchor: func(_ context.Context, day string, c Checkpoint) error {
		got = append(got, day+" "+strconv.FormatInt(c.Size, 10))
		return nil
	}}
	l := open(t, db, dir, opts)
	require.NoError(t, l.Flush(t.Context()))
	at, err := l.AnchoredAt()
	require.NoError(t, err)
	require.True(t, at.IsZero())
	require.Empty(t, got, "an empty log has nothing to anchor")
	require.NoError(t, l.Append(t.Context(), verdict(1)))
	for range 3 {
		require.NoError(t, l.Flush(t.Context()))
		now = now.Add(24 * time.Hour)
	}
	require.Equal(t, []string{"2026-11-24 1", "2026-11-25 1", "2026-11-26 1"}, got)
	opts.Metrics = prometheus.NewRegistry()
	again := open(t, db, dir, opts)
	at, err = again.AnchoredAt()
	require.NoError(t, err)
	require.Equal(t, time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC), at)
	want := "# HELP postern_ledger_anchor_timestamp_seconds When the last daily checkpoint was handed out as an anchor, Unix time; 0 before the first.\n" +
		"# TYPE postern_ledger_anchor_timestamp_seconds gauge\npostern_ledger_anchor_timestamp_seconds 1.7956944e+09\n"
	require.NoError(t, testutil.GatherAndCompare(reg, strings.NewReader(want), "postern_ledger_anchor_timestamp_seconds"))
}

// ST-6: anchors are found in a file to which each day's is added, beside those
// of other nodes, and in the text of a mail.
func TestST6_CheckpointsAreFoundInAText(t *testing.T) {
	l := open(t, memStore(t), t.TempDir(), Options{})
	var text strings.Builder
	text.WriteString("Some words of a mail.\r\n\r\n")
	var want []string
	for n := range 3 {
		require.NoError(t, l.Append(t.Context(), verdict(n)))
		require.NoError(t, l.Flush(t.Context()))
		signed := l.Checkpoint().Signed
		want = append(want, signed)
		text.WriteString(strings.ReplaceAll(signed, "\n", "\r\n") + "\r\n")
		text.WriteString("relay9.example.com/postern\n5\n" + base64.StdEncoding.EncodeToString(make([]byte, 32)) + "\n\n— relay9.example.com/postern AAAA\n\n")
	}
	got := Checkpoints(text.String(), l.Checkpoint().Origin)
	require.Equal(t, want, got)
	for _, g := range got {
		_, err := OpenCheckpoint(g, l.PublicKey())
		require.NoError(t, err)
	}
	require.Len(t, Checkpoints(text.String(), "relay9.example.com/postern"), 3)
	require.Empty(t, Checkpoints("relay1\n1\n", "relay1"))
}
