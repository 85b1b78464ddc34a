package webpage

import (
	"embed"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"sort"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"golang.org/x/text/language"
)

// baseFiles hold what every page says: the language's own name, its marks and
// its form of dates.
//
//go:embed text/*.toml
var baseFiles embed.FS

// Words is one language: key to text with {placeholders}.
type Words struct {
	tag      string
	name     string // of the language, in itself
	text     map[string]string
	fallback *Words
}

// Tag is the language as in the attribute lang (BCP 47).
func (c *Words) Tag() string { return c.tag }

// Texts holds every language there is a file for.
type Texts struct {
	list     []*Words // by tag
	byTag    map[string]*Words
	fallback *Words
	matcher  language.Matcher
}

// fallbackTag is the language for whoever asks for none we have.
const fallbackTag = "en"

// LoadTexts reads a room's words from TOML files named by their language, as
// in "text/de.toml". Languages it has no file for are not offered.
func LoadTexts(files fs.FS, glob string) (*Texts, error) {
	names, err := fs.Glob(files, glob)
	if err != nil {
		return nil, fmt.Errorf("list page texts: %w", err)
	}
	cs := &Texts{byTag: map[string]*Words{}}
	for _, name := range names {
		c := &Words{tag: strings.TrimSuffix(path.Base(name), ".toml"), text: map[string]string{}}
		if err := c.read(baseFiles, "text/"+c.tag+".toml"); err != nil {
			return nil, err
		}
		if err := c.read(files, name); err != nil {
			return nil, err
		}
		c.name = c.text["language"]
		cs.list = append(cs.list, c)
		cs.byTag[c.tag] = c
	}
	if cs.fallback = cs.byTag[fallbackTag]; cs.fallback == nil {
		return nil, fmt.Errorf("page texts: no %s.toml", fallbackTag)
	}
	sort.Slice(cs.list, func(i, j int) bool { return cs.list[i].tag < cs.list[j].tag })
	tags := []language.Tag{language.Make(fallbackTag)} // the first is the matcher's fallback
	for _, c := range cs.list {
		c.fallback = cs.fallback
		if c.tag != fallbackTag {
			tags = append(tags, language.Make(c.tag))
		}
	}
	cs.matcher = language.NewMatcher(tags)
	return cs, nil
}

func (c *Words) read(files fs.FS, name string) error {
	b, err := fs.ReadFile(files, name)
	if err != nil {
		return fmt.Errorf("read page texts: %w", err)
	}
	text := map[string]string{}
	if err := toml.Unmarshal(b, &text); err != nil {
		return fmt.Errorf("page texts %s: %w", name, err)
	}
	maps.Copy(c.text, text)
	return nil
}

// All gives every language, ordered by tag.
func (cs *Texts) All() []*Words { return cs.list }

// Tags lists the languages, ordered.
func (cs *Texts) Tags() []string {
	out := make([]string, len(cs.list))
	for i, c := range cs.list {
		out[i] = c.tag
	}
	return out
}

// Find gives the words of a BCP 47 tag by its primary language, or nil.
func (cs *Texts) Find(tag string) *Words {
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

// Accept picks by an Accept-Language field (RFC 9110 section 12.5.4), or nil.
func (cs *Texts) Accept(header string) *Words {
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
	return cs.Find(tag.String())
}

// Keys gives the keys there is a text for in this language.
func (c *Words) Keys() map[string]string { return maps.Clone(c.text) }

// Say fills the text of key. Pairs are placeholder, value. A missing key shows
// the English text, so that nobody meets an empty page.
func (c *Words) Say(key string, pairs ...string) string {
	text, ok := c.text[key]
	if !ok {
		text = c.fallback.text[key]
	}
	if len(pairs) == 0 {
		return text
	}
	named := make([]string, len(pairs))
	for i := range pairs {
		if named[i] = pairs[i]; i%2 == 0 {
			named[i] = "{" + pairs[i] + "}"
		}
	}
	return strings.NewReplacer(named...).Replace(text)
}
