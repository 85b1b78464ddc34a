package unsubscribe

import (
	"embed"
	"fmt"
	"io/fs"
	"path"
	"sort"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"golang.org/x/text/language"
)

//go:embed text/*.toml
var textFiles embed.FS

// catalogue is the words of one language: key to text with {placeholders}.
type catalogue struct {
	tag  string // BCP 47, as in lang=
	name string // of the language, in itself
	text map[string]string
}

// catalogues holds every language there is a file for.
type catalogues struct {
	list    []*catalogue // by name of tag
	byTag   map[string]*catalogue
	matcher language.Matcher
}

// fallbackTag is the language for whoever asks for none we have.
const fallbackTag = "en"

func loadCatalogues(files fs.FS) (*catalogues, error) {
	names, err := fs.Glob(files, "text/*.toml")
	if err != nil {
		return nil, fmt.Errorf("list page texts: %w", err)
	}
	cs := &catalogues{byTag: map[string]*catalogue{}}
	for _, name := range names {
		b, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, fmt.Errorf("read page texts: %w", err)
		}
		c := &catalogue{tag: strings.TrimSuffix(path.Base(name), ".toml")}
		if err := toml.Unmarshal(b, &c.text); err != nil {
			return nil, fmt.Errorf("page texts %s: %w", name, err)
		}
		c.name = c.text["language"]
		cs.list = append(cs.list, c)
		cs.byTag[c.tag] = c
	}
	if cs.byTag[fallbackTag] == nil {
		return nil, fmt.Errorf("page texts: no %s.toml", fallbackTag)
	}
	sort.Slice(cs.list, func(i, j int) bool { return cs.list[i].tag < cs.list[j].tag })
	tags := []language.Tag{language.Make(fallbackTag)} // the first is the matcher's fallback
	for _, c := range cs.list {
		if c.tag != fallbackTag {
			tags = append(tags, language.Make(c.tag))
		}
	}
	cs.matcher = language.NewMatcher(tags)
	return cs, nil
}

// find gives the catalogue of a BCP 47 tag by its primary language, or nil.
func (cs *catalogues) find(tag string) *catalogue {
	if tag == "" || len(tag) > 35 {
		return nil
	}
	t, err := language.Parse(tag)
	if err != nil {
		return nil
	}
	base, _ := t.Base()
	return cs.byTag[base.String()]
}

// accept picks by an Accept-Language field (RFC 9110 section 12.5.4), or nil.
func (cs *catalogues) accept(header string) *catalogue {
	if header == "" || len(header) > 512 {
		return nil
	}
	tags, _, err := language.ParseAcceptLanguage(header)
	if err != nil || len(tags) == 0 {
		return nil
	}
	tag, _, sure := cs.matcher.Match(tags...)
	if sure == language.No {
		return nil
	}
	return cs.find(tag.String())
}

// say fills the text of key. Pairs are placeholder, value. A missing key shows
// the English text, so that nobody meets an empty page.
func (c *catalogue) say(fallback *catalogue, key string, pairs ...string) string {
	text, ok := c.text[key]
	if !ok {
		text = fallback.text[key]
	}
	if len(pairs) == 0 {
		return text
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		pairs[i] = "{" + pairs[i] + "}"
	}
	return strings.NewReplacer(pairs...).Replace(text)
}
