package webpage

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"postern/gateway/stream"
)

//go:embed page/*
var pageFiles embed.FS

// Renderer turns pages into HTML.
type Renderer struct {
	layout *template.Template
	sheet  []byte
	path   string // of the style sheet, with its hash
	base   string
	texts  *Texts
}

// NewRenderer makes pages that stand below base ("" or "/mail") in the words
// of texts.
func NewRenderer(base string, texts *Texts) (*Renderer, error) {
	layout, err := template.ParseFS(pageFiles, "page/layout.html")
	if err != nil {
		return nil, fmt.Errorf("page layout: %w", err)
	}
	sheet, err := pageFiles.ReadFile("page/style.css")
	if err != nil {
		return nil, fmt.Errorf("page style: %w", err)
	}
	sum := sha256.Sum256(sheet)
	return &Renderer{layout: layout, sheet: sheet, path: "/static/style-" + hex.EncodeToString(sum[:6]) + ".css", base: strings.TrimRight(base, "/"), texts: texts}, nil
}

// Ask is one request with what is known for its answer: words and sender.
type Ask struct {
	W     http.ResponseWriter
	R     *http.Request
	Words *Words
	Who   *stream.Controller // nil where the link told nothing
	Here  string             // path for the language links, with the base

	texts *Texts
}

// Ask begins an answer. here is the page's path below the base; tag is the
// language of what the link is about, "" for none. The words are those the
// reader clicked, then tag's, then the browser's, then the controller's
// (look.md section 2).
func (p *Renderer) Ask(w http.ResponseWriter, r *http.Request, who *stream.Controller, here, tag string) *Ask {
	a := &Ask{W: w, R: r, Who: who, Here: p.base + here, texts: p.texts}
	own := ""
	if who != nil {
		own = who.Language
	}
	for _, c := range []*Words{
		p.texts.Find(r.URL.Query().Get("lang")), p.texts.Find(tag),
		p.texts.Accept(r.Header.Get("Accept-Language")), p.texts.Find(own), p.texts.fallback,
	} {
		if c != nil {
			a.Words = c
			break
		}
	}
	return a
}

// Say is the text of key in the reader's language. Pairs are placeholder,
// value.
func (a *Ask) Say(key string, pairs ...string) string { return a.Words.Say(key, pairs...) }

// LangQuery carries a clicked language on to another page: "" or "?lang=de".
func (a *Ask) LangQuery() string {
	if a.R.URL.Query().Get("lang") == "" {
		return ""
	}
	return "?lang=" + a.Words.Tag()
}

// Action is the address of the page itself for its forms, in the language the
// reader clicked.
func (a *Ask) Action() string { return a.Here + a.LangQuery() }

// Date writes a day in the page's language and the controller's zone.
func (a *Ask) Date(t time.Time) string {
	zone := time.UTC
	if a.Who != nil {
		if z, err := time.LoadLocation(a.Who.TimeZone); err == nil {
			zone = z
		}
	}
	return t.In(zone).Format(a.Say("date_layout"))
}

// view is a page with all that surrounds it.
type view struct {
	Page
	Lang       string
	Sheet      string
	Controller string
	Foot       []Anchor
	Postal     string
	Languages  []Anchor
	LanguageOf string
	Optional   string
}

// Render answers with the page. HEAD gets the same header without body. It
// fails only where the layout does, which no request can cause.
func (p *Renderer) Render(a *Ask, pg Page) error {
	v := view{Page: pg, Lang: a.Words.Tag(), Sheet: p.base + p.path, LanguageOf: a.Say("languages"), Optional: a.Say("optional")}
	for _, c := range p.texts.list {
		v.Languages = append(v.Languages, Anchor{Text: c.name, Lang: c.tag, Href: a.Here + "?lang=" + c.tag, Here: c == a.Words})
	}
	if a.Who != nil {
		v.Controller, v.Postal = a.Who.Name, a.Who.Postal
		if strings.HasPrefix(a.Who.PrivacyURL, "https://") || strings.HasPrefix(a.Who.PrivacyURL, "http://") {
			v.Foot = append(v.Foot, Anchor{Text: a.Say("privacy"), Href: a.Who.PrivacyURL})
		}
		if a.Who.Contact != "" {
			v.Foot = append(v.Foot, Anchor{Text: a.Who.Contact, Href: "mailto:" + url.PathEscape(a.Who.Contact)})
		}
	}
	var b bytes.Buffer
	if err := p.layout.Execute(&b, v); err != nil {
		return fmt.Errorf("page: %w", err)
	}
	h := a.W.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Language", v.Lang)
	h.Set("Content-Length", strconv.Itoa(b.Len()))
	if pg.Status == http.StatusServiceUnavailable {
		h.Set("Retry-After", "30")
	}
	a.W.WriteHeader(pg.Status)
	if a.R.Method != http.MethodHead {
		_, _ = a.W.Write(b.Bytes()) // the client is gone: nobody to tell
	}
	return nil
}

// Static answers below /static/ with the style sheet, the one file pages need.
func (p *Renderer) Static(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != p.path {
		w.Header().Set("Cache-Control", "no-store")
		http.Error(w, "not found", http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "text/css; charset=utf-8")
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(p.sheet))
}
