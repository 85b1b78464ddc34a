package console

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"postern/queue/console/auth"
)

//go:embed page/*.html
var pageFiles embed.FS

// pageSet is every page in one language. A page is parsed when it is first
// asked for: a console is read in a language or two, and on many nodes in none.
type pageSet struct {
	c     *Console
	words *words

	mu    sync.Mutex
	base  *template.Template // layout and parts, cloned for each page
	pages map[string]*template.Template
}

// parsed gives the page of that name, with its words bound.
func (s *pageSet) parsed(name string) (*template.Template, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.pages[name]; t != nil {
		return t, nil
	}
	if s.base == nil {
		base, err := template.New("layout").Funcs(s.c.funcs(s.words)).ParseFS(pageFiles, "page/layout.html", "page/parts.html", "page/figures.html")
		if err != nil {
			return nil, fmt.Errorf("page layout: %w", err)
		}
		s.base, s.pages = base, map[string]*template.Template{}
	}
	t, err := template.Must(s.base.Clone()).ParseFS(pageFiles, "page/"+name+".html")
	if err != nil {
		return nil, fmt.Errorf("page %s: %w", name, err)
	}
	s.pages[name] = t
	return t, nil
}

// funcs are what templates may call: t for a text, n for a counted one, and
// the forms of dates and numbers.
func (c *Console) funcs(w *words) template.FuncMap {
	return template.FuncMap{
		"t":     func(key string, pairs ...any) string { return w.say(key, strs(pairs)...) },
		"n":     func(key string, n int, pairs ...any) string { return w.count(key, n, strs(pairs)...) },
		"span":  w.span,
		"has":   w.has,
		"num":   func(n any) string { i, _ := strconv.ParseInt(fmt.Sprint(n), 10, 64); return w.number(i) },
		"dec":   w.decimal,
		"lang":  w.languageName,
		"date":  func(t time.Time) string { return w.date(t, c.o.Now()) },
		"clock": w.clock,
		"when": func(t time.Time) string {
			if t.IsZero() {
				return "–"
			}
			return w.say("date.when", "date", w.date(t, c.o.Now()), "time", w.clock(t))
		},
		"iso": func(t time.Time) string { return t.Format(time.RFC3339) },
		"dict": func(pairs ...any) (map[string]any, error) {
			out := map[string]any{}
			for i := 0; i+1 < len(pairs); i += 2 {
				k, ok := pairs[i].(string)
				if !ok {
					return nil, fmt.Errorf("dict: key %v is no string", pairs[i])
				}
				out[k] = pairs[i+1]
			}
			return out, nil
		},
	}
}

func strs(values []any) []string {
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = fmt.Sprint(v)
	}
	return out
}

// view is what the layout sees; a page's own data is D.
type view struct {
	Lang     string
	Theme    string
	Title    string
	Page     string
	Path     string
	User     auth.User
	Rail     []railItem
	Style    string
	Script   string
	Font     string
	Icon     string
	Done     string // text of what was just done, "" if nothing
	DoneKey  string
	Tick     int64 // number of the last change this page shows
	Language []langLink
	Part     bool // lines may be missing: a relay node is away
	D        any

	v *visit
}

// Token is a fresh form token.
func (w view) Token() string { return w.v.token() }

// Seen is how many mails the page of a case shows, 0 on others: an act that ends
// the case comes too early where there are more by then.
func (w view) Seen() int {
	data, _ := w.D.(map[string]any)
	if cv, ok := data["K"].(*caseView); ok {
		return len(cv.Case.Mails)
	}
	return 0
}

// Query is a value of the URL's query, for the way back from what was done.
func (w view) Query(name string) string { return w.v.r.URL.Query().Get(name) }

// QueryList is a value of the query cut at dots.
func (w view) QueryList(name string) []string {
	return strings.FieldsFunc(w.Query(name), func(r rune) bool { return r == '.' })
}

// Can tells whether the user has one of the roles, by name.
func (w view) Can(roles ...string) bool {
	for _, r := range roles {
		if w.User.Is(auth.Role(r)) {
			return true
		}
	}
	return false
}

type langLink struct {
	Tag, Name string
	Here      bool
}

// page renders a page with its title, a key of the catalogues or a text of its
// own, and answers with it.
func (v *visit) page(name, title string, data any) error {
	t, err := v.c.pages[v.words.tag].parsed(name)
	if err != nil {
		return err
	}
	if v.words.has(title) {
		title = v.say(title)
	}
	w := view{
		Lang: v.words.tag, Theme: v.user.Theme, Title: title, Page: name, Path: v.r.URL.Path, User: v.user,
		Style: v.c.static["style.css"].path, Script: v.c.static["console.js"].path,
		Font: v.c.static["inter.woff2"].path, Icon: v.c.static["icon.svg"].path, D: data, Part: v.part != nil, v: v,
	}
	if done := v.r.URL.Query().Get("done"); done != "" && v.words.has("done."+done) {
		w.DoneKey, w.Done = done, v.say("done."+done)
	}
	if v.signedIn() && v.status < http.StatusInternalServerError {
		rail, tick, err := v.c.rail(v)
		if err != nil && v.status == 0 {
			return err
		}
		w.Rail, w.Tick = rail, tick
	}
	for _, l := range v.c.texts.list {
		w.Language = append(w.Language, langLink{l.tag, l.say("language"), l == v.words})
	}
	var b bytes.Buffer
	if err := t.ExecuteTemplate(&b, "layout.html", w); err != nil {
		return fmt.Errorf("page %s: %w", name, err)
	}
	v.write("text/html; charset=utf-8", b.Bytes())
	return nil
}

// write answers with a body, packed where the client takes it.
func (v *visit) write(kind string, body []byte) {
	h := v.w.Header()
	h.Set("Content-Type", kind)
	if strings.HasPrefix(kind, "text/html") {
		h.Set("Content-Language", v.words.tag)
	}
	h.Set("Vary", "Accept-Encoding, Accept-Language, Cookie")
	if takesGzip(v.r) && len(body) > 1024 {
		body = pack(body)
		h.Set("Content-Encoding", "gzip")
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	if v.status != 0 {
		v.w.WriteHeader(v.status)
	}
	_, _ = v.w.Write(body) // the client is gone: nobody to tell
}

// Alarm is the text of an alarm.
func (w view) Alarm(a Alarm) string {
	var pairs []string
	for k, v := range a.Values {
		pairs = append(pairs, k, v)
	}
	return w.v.say("alarm."+a.Key, pairs...)
}
