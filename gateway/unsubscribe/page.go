package unsubscribe

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

// page is one answer in words: a column of text with forms, the same shape for
// each. The template escapes all of it.
type page struct {
	Status  int
	Heading string
	Lead    []string
	Forms   []form
	After   []string
	Links   []anchor

	// filled by render
	Lang       string
	Sheet      string
	Controller string
	Foot       []anchor
	Postal     string
	Languages  []anchor
	LanguageOf string
}

type form struct {
	Action    string
	Hidden    []pair
	Legend    string
	Checks    []check
	Fields    []field
	Button    string
	Secondary bool
}

type pair struct{ Name, Value string }

type check struct {
	Name, Value, Label, Note string
	On                       bool
}

type field struct{ Name, Label, Type, Autocomplete, Note string }

type anchor struct {
	Text, Href, Lang string
	Here             bool
}

// renderer turns pages into HTML.
type renderer struct {
	layout *template.Template
	sheet  []byte
	path   string // of the style sheet, with its hash
	base   string
	texts  *catalogues
}

func newRenderer(base string) (*renderer, error) {
	texts, err := loadCatalogues(textFiles)
	if err != nil {
		return nil, err
	}
	layout, err := template.ParseFS(pageFiles, "page/layout.html")
	if err != nil {
		return nil, fmt.Errorf("page layout: %w", err)
	}
	sheet, err := pageFiles.ReadFile("page/style.css")
	if err != nil {
		return nil, fmt.Errorf("page style: %w", err)
	}
	sum := sha256.Sum256(sheet)
	return &renderer{layout: layout, sheet: sheet, path: "/static/style-" + hex.EncodeToString(sum[:6]) + ".css", base: base, texts: texts}, nil
}

// ask is one request with what is known for its answer: words and sender.
type ask struct {
	w     http.ResponseWriter
	r     *http.Request
	words *catalogue
	who   *stream.Controller // nil where the link told nothing
	here  string             // path for the language links
}

func (p *renderer) say(a *ask, key string, pairs ...string) string {
	return a.words.say(p.texts.byTag[fallbackTag], key, pairs...)
}

// render answers with the page. HEAD gets the same header without body.
func (p *renderer) render(a *ask, pg page) error {
	pg.Lang, pg.Sheet = a.words.tag, p.base+p.path
	pg.LanguageOf = p.say(a, "languages")
	for _, c := range p.texts.list {
		pg.Languages = append(pg.Languages, anchor{Text: c.name, Lang: c.tag, Href: a.here + "?lang=" + c.tag, Here: c == a.words})
	}
	if a.who != nil {
		pg.Controller, pg.Postal = a.who.Name, a.who.Postal
		if strings.HasPrefix(a.who.PrivacyURL, "https://") || strings.HasPrefix(a.who.PrivacyURL, "http://") {
			pg.Foot = append(pg.Foot, anchor{Text: p.say(a, "privacy"), Href: a.who.PrivacyURL})
		}
		if a.who.Contact != "" {
			pg.Foot = append(pg.Foot, anchor{Text: a.who.Contact, Href: "mailto:" + url.PathEscape(a.who.Contact)})
		}
	}
	var b bytes.Buffer
	if err := p.layout.Execute(&b, pg); err != nil {
		return fmt.Errorf("page: %w", err)
	}
	h := a.w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Language", a.words.tag)
	h.Set("Content-Length", strconv.Itoa(b.Len()))
	if pg.Status == http.StatusServiceUnavailable {
		h.Set("Retry-After", "30")
	}
	a.w.WriteHeader(pg.Status)
	if a.r.Method != http.MethodHead {
		_, _ = a.w.Write(b.Bytes()) // the client is gone: nobody to tell
	}
	return nil
}

// static answers with the style sheet, the one file pages need.
func (p *renderer) static(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != p.path {
		w.Header().Set("Cache-Control", "no-store")
		http.Error(w, "not found", http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "text/css; charset=utf-8")
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(p.sheet))
}
