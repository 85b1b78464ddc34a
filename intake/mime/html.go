package mime

import (
	"bytes"
	"strings"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
)

// HTMLText turns HTML into lines of text. Block quotations, and the wrappers
// mail programs put around what they quote, become lines that begin with ">",
// so that quoted text is told apart as in plain mail. Table cells stay apart,
// link texts stay, styles and scripts and hidden elements go.
func HTMLText(src []byte) string {
	w := &htmlWriter{}
	z := html.NewTokenizer(bytes.NewReader(src))
	z.SetMaxBuf(1 << 20)
	for {
		switch z.Next() {
		case html.ErrorToken:
			w.line()
			return w.out.String()
		case html.TextToken:
			w.text(string(z.Text()))
		case html.StartTagToken, html.SelfClosingTagToken:
			name, more := z.TagName()
			a := atom.Lookup(name)
			w.open(a, string(name), attributes(z, more))
		case html.EndTagToken:
			name, _ := z.TagName()
			w.close(atom.Lookup(name), string(name))
		}
	}
}

// attributes keeps those that matter here.
func attributes(z *html.Tokenizer, more bool) map[string]string {
	var out map[string]string
	for more {
		var k, v []byte
		k, v, more = z.TagAttr()
		switch string(k) {
		case "class", "id", "style", "type", "hidden", "title", "alt":
			if out == nil {
				out = map[string]string{}
			}
			out[string(k)] = string(v)
		}
	}
	return out
}

// voidTags never have an end tag.
var voidTags = map[atom.Atom]bool{atom.Br: true, atom.Hr: true, atom.Img: true, atom.Input: true, atom.Meta: true, atom.Link: true, atom.Area: true, atom.Base: true, atom.Col: true, atom.Embed: true, atom.Source: true, atom.Track: true, atom.Wbr: true}

var blockTags = map[atom.Atom]bool{atom.P: true, atom.Div: true, atom.Tr: true, atom.Table: true, atom.Li: true, atom.Ul: true, atom.Ol: true, atom.H1: true, atom.H2: true, atom.H3: true, atom.H4: true, atom.H5: true, atom.H6: true, atom.Blockquote: true, atom.Pre: true, atom.Hr: true, atom.Section: true, atom.Article: true, atom.Header: true, atom.Footer: true, atom.Address: true, atom.Dl: true, atom.Dt: true, atom.Dd: true, atom.Center: true, atom.Form: true, atom.Fieldset: true, atom.Body: true}

var skipTags = map[atom.Atom]bool{atom.Style: true, atom.Script: true, atom.Head: true, atom.Title: true, atom.Template: true, atom.Noscript: true, atom.Svg: true, atom.Object: true, atom.Select: true}

type frame struct {
	tag    atom.Atom
	name   string
	quote  bool
	hidden bool
}

type htmlWriter struct {
	out    strings.Builder
	buf    strings.Builder // the line being built
	stack  []frame
	quotes int
	hidden int
	blank  int // empty lines at the end
	pre    int
	space  bool
}

func (w *htmlWriter) text(s string) {
	if w.hidden > 0 {
		return
	}
	for i, r := range s {
		switch {
		case w.pre > 0 && r == '\n':
			w.line()
		case r == ' ' || r == '\t' || r == '\n' || r == '\r' || r == '\u00a0':
			w.space = w.buf.Len() > 0
		case r == '\u200b' || r == '\u00ad' || r == '\ufeff' || r == '\u034f' || r < ' ':
		default:
			if w.space {
				w.buf.WriteByte(' ')
				w.space = false
			}
			w.buf.WriteString(s[i : i+runeLen(s[i:])])
		}
	}
}

func runeLen(s string) int {
	for i := range s {
		if i > 0 {
			return i
		}
	}
	return len(s)
}

// line ends the line being built.
func (w *htmlWriter) line() {
	t := strings.TrimSpace(w.buf.String())
	w.buf.Reset()
	w.space = false
	if t == "" {
		w.blank++
		if w.blank > 1 || w.out.Len() == 0 {
			return
		}
	} else {
		w.blank = 0
	}
	if w.quotes > 0 {
		w.out.WriteString(strings.Repeat(">", w.quotes))
		if t != "" {
			w.out.WriteByte(' ')
		}
	}
	w.out.WriteString(t)
	w.out.WriteByte('\n')
}

func (w *htmlWriter) open(a atom.Atom, name string, at map[string]string) {
	if a == atom.Br {
		if w.hidden == 0 {
			w.line()
		}
		return
	}
	if blockTags[a] {
		w.breakLine()
	}
	switch a {
	case atom.Td, atom.Th:
		w.space = w.buf.Len() > 0
	case atom.Li:
		w.text("- ")
	case atom.Hr:
		if w.hidden == 0 {
			w.buf.WriteString("________________________________")
			w.line()
		}
	case atom.Img:
		return
	case atom.Body: // a head that was never closed must not hide the mail
		w.hidden, w.stack = 0, w.stack[:0]
	}
	if voidTags[a] {
		return
	}
	f := frame{tag: a, name: name, quote: quotes(a, at), hidden: skipTags[a] || isHidden(at)}
	if len(w.stack) > 2000 { // a pile of unclosed tags: keep the text, drop the form
		return
	}
	w.stack = append(w.stack, f)
	if f.quote {
		w.breakLine()
		w.quotes++
	}
	if f.hidden {
		w.hidden++
	}
	if a == atom.Pre {
		w.pre++
	}
	if a == atom.P && w.hidden == 0 && w.out.Len() > 0 && w.blank == 0 {
		w.line()
	}
}

func (w *htmlWriter) breakLine() {
	if w.buf.Len() > 0 {
		w.line()
	}
}

func (w *htmlWriter) close(a atom.Atom, name string) {
	if blockTags[a] {
		w.breakLine()
	}
	at := -1
	for i := len(w.stack) - 1; i >= 0 && i > len(w.stack)-100; i-- {
		if w.stack[i].tag == a && w.stack[i].name == name {
			at = i
			break
		}
	}
	if at < 0 {
		return
	}
	for i := len(w.stack) - 1; i >= at; i-- {
		f := w.stack[i]
		if f.quote {
			w.breakLine()
			w.quotes--
		}
		if f.hidden {
			w.hidden--
		}
		if f.tag == atom.Pre {
			w.pre--
		}
	}
	w.stack = w.stack[:at]
	if a == atom.P && w.hidden == 0 && w.blank == 0 && w.out.Len() > 0 {
		w.line()
	}
}

// quotes tells whether an element is what a mail program wraps quoted mail in.
func quotes(a atom.Atom, at map[string]string) bool {
	if a == atom.Blockquote {
		return true
	}
	if a != atom.Div {
		return false
	}
	for _, class := range strings.Fields(at["class"]) {
		switch class {
		case "gmail_quote", "yahoo_quoted", "protonmail_quote", "tutanota_quote":
			return true
		}
	}
	id := at["id"]
	return id == "divRplyFwdMsg" || strings.HasPrefix(id, "yahoo_quoted") || id == "mail-editor-reference-message-container" || id == "reply-intro"
}

// isHidden tells whether a style hides the element, as preheaders are.
func isHidden(at map[string]string) bool {
	s := strings.ToLower(strings.ReplaceAll(at["style"], " ", ""))
	return strings.Contains(s, "display:none") || strings.Contains(s, "visibility:hidden") || strings.Contains(s, "mso-hide:all")
}
