package spool

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"postern/gateway/node"
)

// Environment of the crash test: rounds and seed for the long run; folder and
// round for the child that is killed.
const (
	envRounds = "CRASH_ROUNDS"
	envSeed   = "CRASH_SEED"
	envDir    = "CRASH_DIR"
	envRound  = "CRASH_ROUND"
)

// crashOptions are the store's with small tables, so that it flushes, compacts
// and removes what it no longer needs all the time.
func crashOptions() *pebble.Options {
	o := node.Options()
	o.MemTableSize = 64 << 10
	o.L0CompactionThreshold = 2
	return o
}

// What a child tells of the store below it.
const (
	flushBegins, flushEnds     = "flush+", "flush-"
	compactBegins, compactEnds = "compact+", "compact-"
	spaceBack                  = "reclaim"
)

// crashChild works on a spool until it is killed.
func crashChild() error {
	dir := os.Getenv(envDir)
	round, err := strconv.Atoi(os.Getenv(envRound))
	if err != nil {
		return err
	}
	var mu sync.Mutex
	tell := func(what, id string) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Println(what, id)
	}
	o := crashOptions()
	o.EventListener = &pebble.EventListener{
		FlushBegin:      func(pebble.FlushInfo) { tell(flushBegins, "") },
		FlushEnd:        func(pebble.FlushInfo) { tell(flushEnds, "") },
		CompactionBegin: func(pebble.CompactionInfo) { tell(compactBegins, "") },
		CompactionEnd:   func(pebble.CompactionInfo) { tell(compactEnds, "") },
		TableDeleted:    func(pebble.TableDeleteInfo) { tell(spaceBack, "") },
		WALDeleted:      func(pebble.WALDeleteInfo) { tell(spaceBack, "") },
	}
	db, err := pebble.Open(filepath.Join(dir, "state"), o)
	if err != nil {
		return err
	}
	s, err := New(db, dir, unsteady{}, trafficOptions())
	if err != nil {
		return err
	}
	traffic(context.Background(), s, round, tell)
	return fmt.Errorf("traffic ended")
}

// kill is when a child dies: some time after it told of a step.
type kill struct {
	step  string
	after int // such steps before
	wait  time.Duration
}

func randomKill(r *rand.Rand) kill {
	k := kill{accepted, r.IntN(400), time.Duration(r.IntN(3000)) * time.Microsecond}
	if steps := []string{flushBegins, compactBegins, spaceBack}; r.IntN(3) > 0 { // these are short
		k = kill{steps[r.IntN(len(steps))], r.IntN(20), time.Duration(r.IntN(300)) * time.Microsecond}
	}
	return k
}

// fromEnv reads a number that a long run sets, or gives the default.
func fromEnv(t *testing.T, name string, def uint64) uint64 {
	t.Helper()
	if text := os.Getenv(name); text != "" {
		n, err := strconv.ParseUint(text, 10, 64)
		require.NoError(t, err, name)
		return n
	}
	return def
}

// dice are thrown by a seed that is told, so that moments and kinds of kills
// can be repeated.
func dice(t *testing.T) *rand.Rand {
	t.Helper()
	seed := fromEnv(t, envSeed, uint64(time.Now().UnixNano()))
	t.Logf("seed %d: set %s to repeat it", seed, envSeed)
	return rand.New(rand.NewPCG(seed, 1))
}

// moments counts what was under way when children were killed.
type moments struct{ commits, flushes, compactions, reclaims int }

// TestCrash kills a process that accepts, delivers and compacts, again and
// again on the same folder: what was accepted is there in full until its end
// was ordered, nothing that was refused is, and no octet is left behind.
func TestCrash(t *testing.T) {
	if os.Getenv(envDir) != "" {
		t.Fatal(crashChild()) // this process is the child
	}
	rounds := int(fromEnv(t, envRounds, 10))
	random := dice(t)

	dir := t.TempDir()
	b, at := newBook(), moments{}
	for round := range rounds {
		before := b.begun
		b.begun = map[string]bool{}
		lines := killOne(t, dir, round, randomKill(random))
		at.note(lines)
		for _, l := range lines {
			what, id, _ := strings.Cut(l, " ")
			b.note(what, id)
		}
		at.commits += min(len(b.begun), 1)
		for id := range before {
			b.begun[id] = true // whether these were accepted is not known
		}
		db, err := node.Open(dir)
		require.NoError(t, err)
		b.check(t, db, dir)
		require.NoError(t, db.Close())
		require.NoDirExists(t, filepath.Join(dir, node.DamagedFolder), "a torn end is no damage")
	}
	db, err := node.Open(dir)
	require.NoError(t, err)
	defer db.Close()
	b.empty(t, db, dir)
	require.NoError(t, db.Compact(t.Context(), []byte{node.SpaceSpool}, []byte{node.SpaceSpool + 1}, false))
	require.NoError(t, db.Flush())
	require.Eventually(t, func() bool { return db.Metrics().Total().TablesSize < 1<<20 }, 10*time.Second, time.Millisecond, "space is given back")
	t.Logf("%d kills (%d while messages were being committed, %d in a flush, %d in a compaction, %d just after files were removed): "+
		"%d accepted, %d refused, %d with an order to end, %d of no known answer kept; lost: 0, refused but kept: 0, left behind: 0",
		rounds, at.commits, at.flushes, at.compactions, at.reclaims, len(b.accepted), len(b.refused), len(b.ended), b.unanswered)
}

// note counts what had begun and not ended when a child died.
func (m *moments) note(lines []string) {
	open := map[string]int{}
	for i, l := range lines {
		switch what, _, _ := strings.Cut(l, " "); what {
		case flushBegins, compactBegins:
			open[strings.TrimSuffix(what, "+")]++
		case flushEnds, compactEnds:
			open[strings.TrimSuffix(what, "-")]--
		case spaceBack:
			if len(lines)-i < 20 {
				open[spaceBack] = 1
			}
		}
	}
	m.flushes += min(open["flush"], 1)
	m.compactions += min(open["compact"], 1)
	m.reclaims += open[spaceBack]
}

// killOne runs a child until the kill; it returns the whole lines it told.
func killOne(t *testing.T, dir string, round int, k kill) (lines []string) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestCrash$")
	cmd.Env = append(os.Environ(), envDir+"="+dir, envRound+"="+strconv.Itoa(round))
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	patience := time.AfterFunc(30*time.Second, func() { _ = cmd.Process.Kill() })
	var timer *time.Timer
	for r := bufio.NewReader(out); ; {
		line, err := r.ReadString('\n')
		if err != nil {
			break // a line without its end was cut off
		}
		lines = append(lines, strings.TrimSpace(line))
		if timer == nil && strings.HasPrefix(line, k.step+" ") {
			if k.after--; k.after < 0 {
				timer = time.AfterFunc(k.wait, func() { _ = cmd.Process.Kill() })
			}
		}
	}
	require.Error(t, cmd.Wait())
	require.True(t, patience.Stop(), "%v never came: %v", k, tail(lines))
	require.NotNil(t, timer, "the child ended by itself: %v", tail(lines))
	require.False(t, timer.Stop(), "the child ended by itself: %v", tail(lines))
	return lines
}

func tail(lines []string) []string { return lines[max(0, len(lines)-10):] }

// TestPowerCrash cuts the power instead: of what was written but not synced
// nothing is left, or some blocks are. What was accepted is there all the same.
func TestPowerCrash(t *testing.T) {
	random := dice(t)
	fs := vfs.NewCrashableMem()
	b := newBook()
	cuts := 2 * int(fromEnv(t, envRounds, 10))
	for round := range cuts {
		fs = b.run(t, fs, round, random)
		o := crashOptions()
		o.FS = fs
		db, err := pebble.Open("state", o)
		require.NoError(t, err)
		b.check(t, db, "")
		require.NoError(t, db.Close())
	}
	t.Logf("%d power cuts: %d accepted, %d refused, %d with an order to end, %d of no known answer kept; lost: 0",
		cuts, len(b.accepted), len(b.refused), len(b.ended), b.unanswered)
}

// run has traffic on fs until the power is cut, and gives what the disk holds then.
func (b *book) run(t *testing.T, fs *vfs.MemFS, round int, random *rand.Rand) (after *vfs.MemFS) {
	t.Helper()
	o := crashOptions()
	o.FS = fs
	db, err := pebble.Open("state", o)
	require.NoError(t, err)
	s, err := New(db, "", unsteady{}, trafficOptions())
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	limit, cut := 20+random.IntN(200), make(chan struct{})
	percent, pcg := []int{0, 0, 50, 90}[random.IntN(4)], rand.New(rand.NewPCG(random.Uint64(), 3))
	var mu sync.Mutex
	steps, off := 0, false
	tell := func(what, id string) {
		mu.Lock()
		defer mu.Unlock()
		if off {
			return // nobody hears it any more
		}
		b.note(what, id)
		if what == accepted {
			steps++
		}
		if steps == limit {
			after = fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: pcg})
			off = true
			close(cut)
		}
	}
	done := make(chan struct{})
	go func() { defer close(done); traffic(ctx, s, round, tell) }()
	select {
	case <-cut:
	case <-time.After(30 * time.Second):
		t.Error("too little was accepted")
	}
	stop()
	<-done
	require.NoError(t, s.Close())
	require.NoError(t, db.Close())
	return after
}

// TestOrdersAmongDeliveries: operators' orders among deliveries leave nothing
// behind and lose nothing, also where nobody dies.
func TestOrdersAmongDeliveries(t *testing.T) {
	db := openMem(t, vfs.NewMem())
	defer db.Close()
	s, err := New(db, "", unsteady{}, trafficOptions())
	require.NoError(t, err)
	b := newBook()
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	var mu sync.Mutex
	traffic(ctx, s, 0, func(what, id string) {
		mu.Lock()
		defer mu.Unlock()
		if b.note(what, id); len(b.accepted) == 1500 {
			stop()
		}
	})
	require.NoError(t, s.Close())
	require.GreaterOrEqual(t, len(b.accepted), 1500)
	b.check(t, db, "")
	b.empty(t, db, "")
}
