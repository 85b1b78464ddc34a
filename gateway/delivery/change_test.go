package delivery

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"postern/testmail/smarthost"
)

// delivered waits until a server has n messages.
func (r *rig) delivered(s *smarthost.Server, n int) {
	r.Helper()
	r.wait("messages at the smarthost", func() bool { return len(s.Messages()) >= n })
}

// changed puts other smarthosts in place while deliveries run.
func (r *rig) changed(o Options) {
	r.Helper()
	short(&o)
	apply, err := r.d.Change(o)
	require.NoError(r, err)
	apply()
}

func via(s *smarthost.Server, more Smarthost) Smarthost {
	more.Address = s.Addr()
	return more
}

// What begins after a change goes to the new smarthost; the former one is left
// once what it was at is done, and its connections are closed.
func TestAnotherSmarthostWhileDeliveriesRun(t *testing.T) {
	t.Parallel()
	former, next := hop(t, smarthost.Options{}), hop(t, smarthost.Options{})
	reg := prometheus.NewRegistry()
	r := start(t, setup{opts: Options{Metrics: reg, Workers: 2}}, former)
	r.accept(letter("bert@example.net"))
	r.delivered(former, 1)
	kept := r.d.hosts.list()[0]
	r.changed(Options{Smarthosts: []Smarthost{via(former, Smarthost{}), via(next, Smarthost{Priority: 9})}, Workers: 3})
	require.Same(t, kept, r.d.hosts.list()[0], "one that stays the same keeps its connections")
	r.accept(letter("carla@example.net"))
	r.delivered(former, 2)

	r.changed(Options{Smarthosts: []Smarthost{via(next, Smarthost{Name: "next"})}, Workers: 1})
	require.True(t, kept.gone())
	require.Eventually(t, func() bool { return former.Open() == 0 }, 10*time.Second, time.Millisecond, "its connections are closed")
	for i := 1; i <= 5; i++ {
		r.accept(letter("dora@example.net"))
		r.delivered(next, i)
	}
	require.Len(t, former.Messages(), 2)
	n, err := testutil.GatherAndCount(reg, "postern_delivery_smarthost_up")
	require.NoError(t, err)
	require.Equal(t, 1, n)
}

// Where all smarthosts are away and a change brings one that is not, waiting
// mail leaves at once; with a schedule of its own, by that.
func TestAChangeOpensTheWay(t *testing.T) {
	t.Parallel()
	down, next := hop(t, smarthost.Options{}), hop(t, smarthost.Options{})
	dead := via(down, Smarthost{})
	require.NoError(t, down.Close())
	r := start(t, setup{opts: Options{Smarthosts: []Smarthost{dead}, ProbeEvery: time.Hour}})
	r.accept(letter("bert@example.net"))
	require.Eventually(t, r.d.closedGate, 10*time.Second, time.Millisecond)
	r.changed(Options{Smarthosts: []Smarthost{dead, via(next, Smarthost{Name: "next"})}, Schedule: Schedule{First: time.Hour, Second: time.Hour, Later: time.Hour, Jitter: -1}})
	r.delivered(next, 1)
	require.Equal(t, time.Hour, r.d.schedule.Load().gap(1))
	require.Equal(t, time.Minute, r.d.schedule.Load().Defer, "the default of what is not said")
}

// A change that is not valid changes nothing, and one that was not applied
// neither.
func TestAChangeWithAFaultChangesNothing(t *testing.T) {
	t.Parallel()
	s := hop(t, smarthost.Options{})
	r := start(t, setup{}, s)
	before := r.d.hosts.list()
	for name, o := range map[string]Options{
		"no smarthost":   {},
		"no port":        {Smarthosts: []Smarthost{{Address: "nowhere"}}},
		"no such CA":     {Smarthosts: []Smarthost{{Address: s.Addr(), CAFile: "/nowhere/ca.pem"}}},
		"clear password": {Smarthosts: []Smarthost{{Address: s.Addr(), Username: "u"}}},
		"twice":          {Smarthosts: []Smarthost{{Address: s.Addr()}, {Address: s.Addr()}}},
	} {
		_, err := r.d.Change(o)
		require.Error(t, err, name)
	}
	_, err := r.d.Change(Options{Smarthosts: []Smarthost{{Address: "192.0.2.1:25"}}})
	require.NoError(t, err)
	require.Equal(t, before, r.d.hosts.list())
	r.accept(letter("bert@example.net"))
	r.delivered(s, 1)
}

// Workers that are too many end, those that are missing begin.
func TestWorkersFollowAChange(t *testing.T) {
	t.Parallel()
	s := hop(t, smarthost.Options{})
	r := start(t, setup{opts: Options{Workers: 1}}, s)
	hired := func() int {
		r.d.mu.Lock()
		defer r.d.mu.Unlock()
		return r.d.hired
	}
	r.changed(Options{Smarthosts: []Smarthost{via(s, Smarthost{})}, Workers: 8})
	require.Eventually(t, func() bool { return hired() == 8 }, 10*time.Second, time.Millisecond)
	r.changed(Options{Smarthosts: []Smarthost{via(s, Smarthost{})}, Workers: 2})
	n := 0
	require.Eventually(t, func() bool {
		n++
		r.accept(letter("bert@example.net"))
		r.delivered(s, n)
		return hired() == 2
	}, 30*time.Second, time.Millisecond, "those too many end once they had work")
}
