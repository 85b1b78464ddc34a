package console

import (
	"slices"

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
	{"today", "/", auth.Read(), (*Console).waitingToday},
	{"cases", "/cases", auth.Read(), (*Console).waitingCases},
	{"aside", "/aside", auth.Work(), (*Console).waitingAside},
	{"sending", "/sending", auth.Any(auth.Operator, auth.Approver, auth.Auditor, auth.Admin), (*Console).waitingSending},
	{"users", "/users", auth.Any(auth.Admin), nil},
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
