package fulfil

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"fmt"
	"html/template"
	"path"
	"sort"
	"strconv"
	"strings"
	"time"
)

// Bundle is the copy of a person's data as they get it: a page that people
// read, one JSON file that machines read (GDPR Art. 15(3), 20), and the files
// that are neither.
type Bundle struct {
	Language   string
	Controller string
	Case       string
	Made       time.Time
	Checklist  [][2]string              // title and answer, as Art. 15(1) asks; none for portability alone
	Parts      []Part                   // what the systems hold
	Words      func(name string) string // headings in the language: "copy_title", "copy_made", "copy_nothing", "copy_files"
}

// Part is one file of a system.
type Part struct {
	System string
	Name   string
	Type   string
	Data   []byte
}

// Zip writes index.html, data.json and the further files.
func (b Bundle) Zip() ([]byte, error) {
	page, err := b.page()
	if err != nil {
		return nil, err
	}
	machine, err := b.machine()
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	add := func(name string, data []byte) error {
		w, err := z.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Deflate, Modified: b.Made})
		if err == nil {
			_, err = w.Write(data)
		}
		return err
	}
	if err := add("index.html", page); err != nil {
		return nil, fmt.Errorf("write page: %w", err)
	}
	if err := add("data.json", machine); err != nil {
		return nil, fmt.Errorf("write data: %w", err)
	}
	for i, p := range b.Parts {
		if p.isJSON() {
			continue
		}
		if err := add(b.place(i), p.Data); err != nil {
			return nil, fmt.Errorf("write file %d: %w", i, err)
		}
	}
	if err := z.Close(); err != nil {
		return nil, fmt.Errorf("close bundle: %w", err)
	}
	return out.Bytes(), nil
}

// place is where a file stands in the archive: its number keeps two of one
// name apart.
func (b Bundle) place(i int) string {
	return path.Join("files", strconv.Itoa(i+1)+"-"+path.Base(b.Parts[i].Name))
}

func (p Part) isJSON() bool {
	return (p.Type == "application/json" || strings.HasSuffix(p.Type, "+json")) && json.Valid(p.Data)
}

// machine is all JSON of all systems in one document, in a stable shape.
func (b Bundle) machine() ([]byte, error) {
	type file struct {
		Name string          `json:"name"`
		Type string          `json:"type"`
		Path string          `json:"path,omitempty"`
		Data json.RawMessage `json:"data,omitempty"`
	}
	type system struct {
		Name  string `json:"system"`
		Files []file `json:"files"`
	}
	doc := struct {
		Controller string   `json:"controller"`
		Case       string   `json:"case"`
		Made       string   `json:"made"`
		Systems    []system `json:"systems"`
	}{b.Controller, b.Case, b.Made.UTC().Format(time.RFC3339), []system{}}
	for i, p := range b.Parts {
		f := file{Name: p.Name, Type: p.Type}
		if p.isJSON() {
			f.Data = p.Data
		} else {
			f.Path = b.place(i)
		}
		n := len(doc.Systems)
		if n == 0 || doc.Systems[n-1].Name != p.System {
			doc.Systems = append(doc.Systems, system{Name: p.System})
			n++
		}
		doc.Systems[n-1].Files = append(doc.Systems[n-1].Files, f)
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(doc); err != nil {
		return nil, fmt.Errorf("write data: %w", err)
	}
	return out.Bytes(), nil
}

var pageTemplate = template.Must(template.New("page").Parse(`<!doctype html>
<html lang="{{.Language}}"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{{.Title}}</title>
<style>
body{font:16px/1.5 system-ui,sans-serif;max-width:50rem;margin:2rem auto;padding:0 1rem;color:#1b1f24;background:#fff}
h1{font-size:1.6rem}h2{font-size:1.2rem;margin-top:2rem}dt{font-weight:600;margin-top:.75rem}dd{margin:0;white-space:pre-line}
table{border-collapse:collapse;width:100%}th,td{text-align:left;vertical-align:top;padding:.3rem .6rem .3rem 0;border-bottom:1px solid #d0d7de;overflow-wrap:anywhere}
th{font-weight:600;width:14rem}td table{margin:.2rem 0}
@media(prefers-color-scheme:dark){body{color:#e6edf3;background:#0d1117}th,td{border-color:#30363d}a{color:#79b8ff}}
</style></head><body>
<h1>{{.Title}}</h1>
<p>{{.Controller}} · {{.Case}} · {{.Made}}</p>
{{if .Checklist}}<dl>{{range .Checklist}}<dt>{{index . 0}}</dt><dd>{{index . 1}}</dd>{{end}}</dl>{{end}}
{{range .Sections}}<h2>{{.System}}</h2>{{range .Files}}{{if .HTML}}{{.HTML}}{{else}}<p><a href="{{.Link}}">{{.Name}}</a></p>{{end}}{{end}}{{end}}
{{if not .Sections}}<p>{{.Nothing}}</p>{{end}}
</body></html>
`))

// page is what people read.
func (b Bundle) page() ([]byte, error) {
	type file struct {
		Name, Link string
		HTML       template.HTML
	}
	type section struct {
		System string
		Files  []file
	}
	var sections []section
	for i, p := range b.Parts {
		f := file{Name: p.Name, Link: b.place(i)}
		if p.isJSON() {
			var v any
			dec := json.NewDecoder(bytes.NewReader(p.Data))
			dec.UseNumber()
			if err := dec.Decode(&v); err != nil {
				return nil, fmt.Errorf("read data of %s: %w", p.System, err)
			}
			var w strings.Builder
			render(&w, v, 0)
			f.HTML = template.HTML(w.String()) // every word in it is escaped by render
		}
		n := len(sections)
		if n == 0 || sections[n-1].System != p.System {
			sections = append(sections, section{System: p.System})
			n++
		}
		sections[n-1].Files = append(sections[n-1].Files, f)
	}
	var out bytes.Buffer
	err := pageTemplate.Execute(&out, map[string]any{
		"Language": b.Language, "Title": b.Words("copy_title"), "Nothing": b.Words("copy_nothing"), "Controller": b.Controller, "Case": b.Case,
		"Made": b.Made.Format("2006-01-02"), "Checklist": b.Checklist, "Sections": sections,
	})
	if err != nil {
		return nil, fmt.Errorf("write page: %w", err)
	}
	return out.Bytes(), nil
}

// maxDepth bounds how deep data is laid out as tables; deeper it is shown as
// JSON.
const maxDepth = 8

// render lays JSON out as tables: an object's keys as rows, a list of objects
// of few keys one after the other.
func render(w *strings.Builder, v any, depth int) {
	escape := template.HTMLEscapeString
	switch x := v.(type) {
	case map[string]any:
		if depth >= maxDepth {
			raw, _ := json.Marshal(x) // came from JSON
			w.WriteString(escape(string(raw)))
			return
		}
		keys := make([]string, 0, len(x))
		for k := range x {
			keys = append(keys, k)
		}
		sort.Strings(keys)
		w.WriteString("<table>")
		for _, k := range keys {
			w.WriteString("<tr><th scope=\"row\">" + escape(strings.ReplaceAll(k, "_", " ")) + "</th><td>")
			render(w, x[k], depth+1)
			w.WriteString("</td></tr>")
		}
		w.WriteString("</table>")
	case []any:
		for i, item := range x {
			if i > 0 {
				w.WriteString("<br>")
			}
			render(w, item, depth)
		}
	case nil:
		w.WriteString("–")
	case bool:
		w.WriteString(strconv.FormatBool(x))
	default:
		w.WriteString(escape(fmt.Sprint(x)))
	}
}
