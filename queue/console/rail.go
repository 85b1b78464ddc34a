package console

import (
	"fmt"
	"slices"
	"time"

	"postern/queue"
	"postern/queue/console/auth"
)

// railItem is one page of the rail with how many things wait there.
type railItem struct {
	Name  string // names the text rail.NAME and says which page is open
	Path  string
	Count int
	Here  bool
}

// railPages is the rail in its order; need is that of the page's route.
var railPages = []struct {
	name, path string
	need       auth.Need
	waiting    func(c *Console, v *visit, s *queue.Snapshot) (int, error)
}{
	{"today", "/", auth.Read(), func(c *Console, v *visit, s *queue.Snapshot) (int, error) { return c.counted(v, s).today, nil }},
	{"cases", "/cases", auth.Read(), func(c *Console, v *visit, s *queue.Snapshot) (int, error) { return c.counted(v, s).live, nil }},
	{"aside", "/aside", auth.Work(), (*Console).waitingAside},
	{"sending", "/sending", everybody, (*Console).waitingSending},
	{"people", "/people", auth.Read(), nil},
	{"proof", "/proof", everybody, nil},
	{"settings", "/settings", everybody, nil},
	{"users", "/users", auth.Any(auth.Admin), nil},
	{"tokens", "/tokens", auth.Any(auth.Admin), nil},
}

// rail gives the pages this user may open, with their counts, and the number
// of the last change they hold.
func (c *Console) rail(v *visit) ([]railItem, int64, error) {
	s, _, err := c.index.Snapshot(v.ctx())
	if err != nil {
		return nil, 0, err
	}
	var out []railItem
	for _, p := range railPages {
		if !p.need.Allows(v.user.Roles) {
			continue
		}
		item := railItem{Name: p.name, Path: p.path, Here: v.section() == p.path}
		if p.waiting != nil {
			if item.Count, err = p.waiting(c, v, s); err != nil {
				return nil, 0, err
			}
		}
		out = append(out, item)
	}
	return out, s.Tick, nil
}

// counts is how many cases wait for one user.
type counts struct {
	tick   int64
	minute time.Time // what is due changes with the time as well
	today  int
	live   int
}

// counted gives the counts of a user's rail; while no case changes they are
// worked out once a minute.
func (c *Console) counted(v *visit, s *queue.Snapshot) counts {
	key, minute := v.user.Name+" "+fmt.Sprint(v.user.Roles), v.now().Truncate(time.Minute)
	c.countsMu.Lock()
	was, ok := c.counts[key]
	c.countsMu.Unlock()
	if ok && was.tick == s.Tick && was.minute.Equal(minute) {
		return was
	}
	now := counts{tick: s.Tick, minute: minute}
	p := c.d.Cases.NewPacer()
	for _, k := range s.Cases {
		if !k.State.Live() {
			break // live ones come first
		}
		if v.visible(k) {
			now.live++
		}
		if v.todayKind(k, p) != "" {
			now.today++
		}
	}
	c.countsMu.Lock()
	defer c.countsMu.Unlock()
	c.counts[key] = now
	return now
}

// section is the rail's path of the page that is open: the longest that the
// URL starts with.
func (v *visit) section() string {
	best := ""
	for _, p := range railPages {
		here := v.r.URL.Path == p.path || p.path != "/" && len(v.r.URL.Path) > len(p.path) && v.r.URL.Path[:len(p.path)+1] == p.path+"/"
		if here && len(p.path) > len(best) {
			best = p.path
		}
	}
	return best
}

// visible tells whether the user may see anything of a case: those of
// confidential mailboxes are for the role of that name.
func (v *visit) visible(c *queue.Case) bool {
	return v.user.Is(auth.Confidential) || !slices.Contains(c.Flags, queue.FlagConfidential)
}
