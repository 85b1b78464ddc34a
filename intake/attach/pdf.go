package attach

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"time"

	"github.com/ledongthuc/pdf"
)

// maxPages is how far a PDF is read; a letter is short.
const maxPages = 20

// pdfText gives the words of the first pages. The library reads lazily, so a
// source that fails after a time ends any loop a hostile file could cause.
func pdfText(b []byte) string {
	src := &timed{r: bytes.NewReader(b), until: time.Now().Add(maxTime)}
	doc, err := pdf.NewReader(src, int64(len(b)))
	if err != nil {
		return ""
	}
	var out strings.Builder
	for i := 1; i <= min(doc.NumPage(), maxPages) && out.Len() < maxText; i++ {
		out.WriteString(pageText(doc, i))
		out.WriteByte('\n')
	}
	return out.String()
}

// pageText keeps what was read when one page of several is broken.
func pageText(doc *pdf.Reader, n int) (text string) {
	defer func() {
		if recover() != nil {
			text = ""
		}
	}()
	page := doc.Page(n)
	if page.V.IsNull() {
		return ""
	}
	text, err := page.GetPlainText(nil)
	if err != nil {
		return ""
	}
	return text
}

var errTime = errors.New("no time left")

// timed is a source that fails after a time.
type timed struct {
	r     *bytes.Reader
	until time.Time
}

// ReadAt implements io.ReaderAt.
func (t *timed) ReadAt(p []byte, off int64) (int, error) {
	if time.Now().After(t.until) {
		return 0, errTime
	}
	n, err := t.r.ReadAt(p, off)
	if n > 0 && errors.Is(err, io.EOF) {
		err = nil
	}
	return n, err
}
