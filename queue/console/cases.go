package console

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"postern/classifier"
	"postern/gateway/address"
	"postern/queue"
	"postern/queue/console/auth"
)

// casesMost is how many rows a page of Cases has.
const casesMost = 50

// filter is what the query of Cases asks for; no person stands in it.
type filter struct {
	View       string
	Right      string
	Lang       string
	State      string
	Controller string
	Owner      string
	Page       int // from 1
}

// views are the saved ones, in their order. The groups of Today are views too,
// reached by their links alone.
var views = []string{"", "mine", "unassigned", "read", "approval", "waiting", "ended"}

func readFilter(q url.Values) filter {
	page, _ := strconv.Atoi(q.Get("page"))
	return filter{q.Get("view"), q.Get("right"), q.Get("lang"), q.Get("state"), q.Get("controller"), q.Get("owner"), max(1, page)}
}

// query writes the filter as a link, with one value changed.
func (f filter) query(name, value string) string {
	q := url.Values{}
	for k, v := range map[string]string{"view": f.View, "right": f.Right, "lang": f.Lang, "state": f.State, "controller": f.Controller, "owner": f.Owner} {
		if k == name {
			v = value
		}
		if v != "" {
			q.Set(k, v)
		}
	}
	if name == "page" && value != "1" {
		q.Set("page", value)
	}
	if len(q) == 0 {
		return "/cases"
	}
	return "/cases?" + q.Encode()
}

// fits tells whether a case belongs into the view.
func (v *visit) fits(f filter, c *queue.Case, p *queue.Pacer) bool {
	live := c.State.Live()
	has := func(flag string) bool { return slices.Contains(c.Flags, flag) }
	switch f.View {
	case "":
		if !live && f.State == "" {
			return false
		}
	case "mine":
		if !live || c.Owner != v.user.Name {
			return false
		}
	case "unassigned":
		if !live || c.Owner != "" {
			return false
		}
	case "read":
		if !live || !c.Abstain && !has(queue.FlagManual) && !(has(queue.FlagAlert) && c.State == queue.Received) {
			return false
		}
	case "approval":
		if !live || !has(queue.FlagApproval) {
			return false
		}
	case "waiting":
		if c.State != queue.Waiting && c.State != queue.Identity {
			return false
		}
	case "ended":
		if live {
			return false
		}
	default: // a group of Today
		if v.todayKind(c, p) != f.View {
			return false
		}
	}
	owner := c.Owner
	if owner == "" {
		owner = "-"
	}
	return (f.Right == "" || asksFor(c, f.Right)) &&
		(f.Lang == "" || c.Language == f.Lang) && (f.State == "" || string(c.State) == f.State) &&
		(f.Controller == "" || c.Controller == f.Controller) && (f.Owner == "" || owner == f.Owner)
}

func asksFor(c *queue.Case, right string) bool {
	return slices.Contains(c.Labels, classifier.Label(right)) || right == "none" && len(c.Labels) == 0
}

// values is a small set: for a dozen words faster than a map, and every case of
// a long list is asked.
type values []string

func (s *values) add(word string) {
	if !slices.Contains(*s, word) {
		*s = append(*s, word)
	}
}

// tallies counts a few words.
type tallies []tally

type tally struct {
	word string
	n    int
}

func (s *tallies) add(word string) {
	for i := range *s {
		if (*s)[i].word == word {
			(*s)[i].n++
			return
		}
	}
	*s = append(*s, tally{word, 1})
}

// chip is a link that filters, with how many it would leave.
type chip struct {
	Text  string
	Href  string
	Count int
	Here  bool
}

// choice is a value of one of the selects.
type choice struct {
	Value, Text string
	Here        bool
}

// caseGroup is one heading of the table.
type caseGroup struct {
	Key  string
	Rows []row
}

// cases lists what the filter leaves, grouped by how it presses.
func (c *Console) cases(v *visit) error {
	f := readFilter(v.r.URL.Query())
	s, _, err := c.index.Snapshot(v.ctx())
	if err != nil {
		return err
	}
	p := c.d.Cases.NewPacer()
	var found []*queue.Case
	rights, hidden := tallies{}, 0
	var langs, states, controllers, owners values
	anyRight := f
	anyRight.Right = ""
	skip := (f.Page - 1) * casesMost
	total, all := 0, 0
	for _, k := range s.Cases {
		langs.add(k.Language)
		states.add(string(k.State))
		controllers.add(k.Controller)
		owners.add(k.Owner)
		if !v.fits(anyRight, k, p) {
			continue
		}
		if !v.visible(k) {
			hidden++
			continue
		}
		all++
		for _, l := range k.Labels {
			rights.add(string(l))
		}
		if f.Right != "" && !asksFor(k, f.Right) {
			continue
		}
		if total >= skip && len(found) < casesMost {
			found = append(found, k)
		}
		total++
	}
	data := map[string]any{"F": f, "Total": total, "Hidden": hidden, "Any": len(s.Cases) > 0,
		"Views": v.viewChips(f), "Rights": v.rightChips(f, rights, all),
		"Langs":       v.choices(langs, f.Lang, func(l string) string { return v.languageName(l) }),
		"States":      v.choices(states, f.State, func(s string) string { return v.say("badge.state_" + s) }),
		"Controllers": v.choices(controllers, f.Controller, c.controllerName),
		"Owners": v.choices(owners, f.Owner, func(o string) string {
			if o == "-" {
				return v.say("cases.unassigned")
			}
			return o
		}),
		"Filtered": f.query("page", "1") != filter{View: f.View}.query("page", "1"), "Clear": filter{}.query("view", f.View),
	}
	if f.Page > 1 {
		data["Before"] = f.query("page", strconv.Itoa(f.Page-1))
	}
	if total > skip+len(found) {
		data["After"] = f.query("page", strconv.Itoa(f.Page+1))
	}
	data["From"], data["To"] = min(total, skip+1), skip+len(found)
	if data["Groups"], err = v.grouped(p, found); err != nil {
		return err
	}
	if err := v.assignable(data); err != nil {
		return err
	}
	return v.page("cases", "cases.title", data)
}

// grouped cuts rows into Overdue, This week, Later and Ended.
func (v *visit) grouped(p *queue.Pacer, cases []*queue.Case) ([]caseGroup, error) {
	rows, err := v.rows(p, cases)
	if err != nil {
		return nil, err
	}
	var out []caseGroup
	for i, k := range cases {
		rows[i].Mark = v.user.Is(auth.Operator) || v.user.Is(auth.Approver)
		key := groupOf(p, k, v.now())
		if len(out) == 0 || out[len(out)-1].Key != key {
			out = append(out, caseGroup{Key: key})
		}
		g := &out[len(out)-1]
		g.Rows = append(g.Rows, rows[i])
	}
	return out, nil
}

// groupOf names the heading of a case; a week ends with Sunday.
func groupOf(p *queue.Pacer, c *queue.Case, now time.Time) string {
	if !c.State.Live() {
		return "ended"
	}
	pace := p.Of(c)
	if pace.Level == queue.PaceLate {
		return "overdue"
	}
	today := int(now.In(p.Zone(c.Controller)).Weekday()+6) % 7 // Monday 0
	if pace.Days <= 6-today {
		return "week"
	}
	return "later"
}

func (v *visit) viewChips(f filter) []chip {
	var out []chip
	for _, name := range views {
		key := name
		if key == "" {
			key = "all"
		}
		out = append(out, chip{Text: v.say("view." + key), Href: filter{}.query("view", name), Here: f.View == name})
	}
	if !slices.Contains(views, f.View) {
		out = append(out, chip{Text: v.say("today." + f.View), Href: f.query("page", "1"), Here: true})
	}
	return out
}

// rightChips are the rights asked for in the view, most first.
func (v *visit) rightChips(f filter, counts tallies, all int) []chip {
	out := []chip{{Text: v.say("cases.any_right"), Href: f.query("right", ""), Count: all, Here: f.Right == ""}}
	slices.SortFunc(counts, func(a, b tally) int { return cmp.Or(b.n-a.n, strings.Compare(a.word, b.word)) })
	for _, c := range counts {
		out = append(out, chip{Text: v.say("right." + c.word), Href: f.query("right", c.word), Count: c.n, Here: f.Right == c.word})
	}
	return out
}

func (v *visit) choices(words values, here string, text func(string) string) []choice {
	var out []choice
	for _, value := range words {
		if value == "" {
			value = "-"
		}
		out = append(out, choice{value, text(value), value == here})
	}
	slices.SortFunc(out, func(a, b choice) int { return strings.Compare(strings.ToLower(a.Text), strings.ToLower(b.Text)) })
	return out
}

func (c *Console) controllerName(id string) string {
	if k, ok := c.d.Streams().Controller(id); ok {
		return k.Name
	}
	return id
}

// assignable adds the users a case can be given to.
func (v *visit) assignable(data map[string]any) error {
	users, err := v.c.d.Users.Users(v.ctx())
	if err != nil {
		return err
	}
	var names []string
	for _, u := range users {
		if !u.Disabled && auth.Work().Allows(u.Roles) {
			names = append(names, u.Name)
		}
	}
	data["People"], data["Labels"], data["CloseReasons"] = names, labels, closeReasons
	return nil
}

// search finds by case number or exact address. It is a POST, so that an
// address is in no URL, no history and no log.
func (c *Console) search(v *visit) error {
	text := v.field("q")
	s, _, err := c.index.Snapshot(v.ctx())
	if err != nil {
		return err
	}
	if no := queue.FindCaseNo(text); no != "" && s.Case(no) != nil {
		return v.redirect(casePath(no), "")
	}
	data := map[string]any{"Q": text}
	addr, err := address.Parse(text)
	if err != nil {
		v.status, data["Fault"] = http.StatusBadRequest, "cases.search_form"
		return v.page("search", "cases.found", data)
	}
	numbers, err := c.d.Cases.OfAddress(v.ctx(), addr)
	if err != nil {
		return err
	}
	if err := v.saw("search", nil, map[string]string{"cases": strconv.Itoa(len(numbers))}); err != nil {
		return err
	}
	var found []*queue.Case
	for _, k := range s.Cases {
		if slices.Contains(numbers, k.Number) && v.visible(k) {
			found = append(found, k)
		}
	}
	if data["Groups"], err = v.grouped(c.d.Cases.NewPacer(), found); err != nil {
		return err
	}
	data["Total"] = len(found)
	return v.page("search", "cases.found", data)
}

// mayOwn tells whether a name is that of someone who works on cases; "" takes
// the owner off.
func (v *visit) mayOwn(name string) error {
	if name == "" {
		return nil
	}
	u, err := v.c.d.Users.User(v.ctx(), name)
	if err != nil || u.Disabled || !auth.Work().Allows(u.Roles) {
		return errForm
	}
	return nil
}

// nextCase leads to the case that is due after the one named, or to the first.
func (c *Console) nextCase(v *visit) error {
	s, _, err := c.index.Snapshot(v.ctx())
	if err != nil {
		return err
	}
	after, passed := v.r.URL.Query().Get("after"), false
	first := ""
	for _, k := range s.Cases {
		if !k.State.Live() {
			break
		}
		if !v.visible(k) || k.Number == after {
			passed = passed || k.Number == after
			continue
		}
		if first == "" {
			first = k.Number
		}
		if passed {
			return v.redirect(casePath(k.Number), "")
		}
	}
	if first == "" {
		return v.redirect("/cases", "")
	}
	return v.redirect(casePath(first), "")
}
