// Package attach reads the text of attached letters: plain text, HTML, RTF,
// PDF, DOCX and ODT, and Outlook's winmail.dat. Its work is bounded in bytes
// and time; what it can't read is simply no text.
package attach

import (
	"path"
	"strings"
	"time"
	"unicode/utf8"

	"postern/intake/mime"
)

// Limits of one attachment.
const (
	maxFile = 8 << 20         // bytes of a file looked at
	maxText = 64 << 10        // bytes of text taken
	maxTime = 2 * time.Second // spent on one PDF
)

// Text gives the words of a file by its type and name, and whether it is a
// kind of file that holds words at all.
func Text(p *mime.Part) (text string, ok bool) {
	read := reader(p.Type, p.Name)
	if read == nil || len(p.Body) > maxFile*4/3 {
		return "", read != nil
	}
	defer func() {
		if recover() != nil { // a broken file is one without words
			text = ""
		}
	}()
	text = read(p)
	text = strings.ToValidUTF8(strings.ReplaceAll(text, "\x00", ""), "")
	return clip(strings.TrimSpace(text)), true
}

func clip(s string) string {
	if len(s) <= maxText {
		return s
	}
	n := maxText
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// reader chooses by type, then by name: many programs send everything as
// application/octet-stream.
func reader(typ, name string) func(*mime.Part) string {
	ext := strings.ToLower(path.Ext(name))
	switch {
	case typ == "application/ms-tnef", typ == "application/vnd.ms-tnef", strings.EqualFold(name, "winmail.dat"):
		return func(p *mime.Part) string { return tnefText(p.Decode()) }
	case typ == "application/pdf", ext == ".pdf":
		return func(p *mime.Part) string { return pdfText(p.Decode()) }
	case strings.HasSuffix(typ, "wordprocessingml.document"), ext == ".docx":
		return func(p *mime.Part) string { return zipText(p.Decode(), "word/document.xml") }
	case strings.HasSuffix(typ, "opendocument.text"), ext == ".odt":
		return func(p *mime.Part) string { return zipText(p.Decode(), "content.xml") }
	case typ == "application/rtf", typ == "text/rtf", ext == ".rtf":
		return func(p *mime.Part) string { return rtfText(p.Decode()) }
	case typ == "text/html", ext == ".html", ext == ".htm":
		return func(p *mime.Part) string { return mime.HTMLText([]byte(p.Decoded(maxFile))) }
	case typ == "text/plain", ext == ".txt", ext == ".md":
		return func(p *mime.Part) string { return p.Decoded(maxFile) }
	}
	return nil
}
