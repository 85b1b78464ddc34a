package console

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"net/http"
	"path"
	"strconv"
	"strings"
)

//go:embed static/style.css static/console.js static/inter.woff2 static/icon.svg
var staticFiles embed.FS

// asset is one file the pages need, named after its content so that browsers
// may keep it for ever.
type asset struct {
	path   string // in URLs
	kind   string
	body   []byte
	packed []byte // gzip; nil where it does not pay
}

// loadStatic reads the files; the style sheet's font gets its hashed name.
func loadStatic() (map[string]*asset, error) {
	out := map[string]*asset{}
	for _, f := range []struct{ name, kind string }{
		{"inter.woff2", "font/woff2"}, {"style.css", "text/css; charset=utf-8"}, {"console.js", "text/javascript; charset=utf-8"}, {"icon.svg", "image/svg+xml"},
	} {
		body, err := staticFiles.ReadFile("static/" + f.name)
		if err != nil {
			return nil, fmt.Errorf("console files: %w", err)
		}
		if f.name == "style.css" {
			body = bytes.ReplaceAll(body, []byte("inter.woff2"), []byte(path.Base(out["inter.woff2"].path)))
		}
		sum := sha256.Sum256(body)
		ext := path.Ext(f.name)
		a := &asset{path: "/static/" + strings.TrimSuffix(f.name, ext) + "-" + hex.EncodeToString(sum[:6]) + ext, kind: f.kind, body: body}
		if packed := pack(body); len(packed) < len(body)*9/10 {
			a.packed = packed
		}
		out[f.name] = a
	}
	return out, nil
}

func pack(b []byte) []byte {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	_, _ = z.Write(b) // into memory: can't fail
	_ = z.Close()
	return out.Bytes()
}

// staticFile answers with one of the files, by its hashed name alone.
func (c *Console) staticFile(v *visit) error {
	for _, a := range c.static {
		if a.path != v.r.URL.Path {
			continue
		}
		h := v.w.Header()
		h.Set("Content-Type", a.kind)
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
		body := a.body
		if a.packed != nil {
			h.Set("Vary", "Accept-Encoding")
			if takesGzip(v.r) {
				h.Set("Content-Encoding", "gzip")
				body = a.packed
			}
		}
		h.Set("Content-Length", strconv.Itoa(len(body)))
		_, _ = v.w.Write(body) // the client is gone: nobody to tell
		return nil
	}
	return errNotFound
}

func takesGzip(r *http.Request) bool {
	for _, part := range strings.Split(r.Header.Get("Accept-Encoding"), ",") {
		name, q, _ := strings.Cut(strings.TrimSpace(part), ";")
		if strings.EqualFold(strings.TrimSpace(name), "gzip") && strings.ReplaceAll(q, " ", "") != "q=0" {
			return true
		}
	}
	return false
}
