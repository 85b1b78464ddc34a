package attach

import (
	"archive/zip"
	"bytes"
	"encoding/xml"
	"io"
	"strings"
)

// zipText reads the paragraphs of an office document: text in "t" elements
// (OOXML, ECMA-376) or straight in paragraphs (ODF).
func zipText(b []byte, part string) string {
	z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return ""
	}
	for _, f := range z.File {
		if f.Name != part {
			continue
		}
		r, err := f.Open()
		if err != nil {
			return ""
		}
		defer func() { _ = r.Close() }()
		return xmlText(io.LimitReader(r, maxFile))
	}
	return ""
}

func xmlText(r io.Reader) string {
	var out strings.Builder
	d := xml.NewDecoder(r)
	d.Strict = false
	d.Entity = xml.HTMLEntity
	in := 0
	for out.Len() < maxText {
		tok, err := d.Token()
		if err != nil {
			break
		}
		switch t := tok.(type) {
		case xml.StartElement:
			switch t.Name.Local {
			case "t", "p", "h", "span", "a":
				in++
			case "br", "cr", "line-break":
				out.WriteByte('\n')
			case "tab", "s":
				out.WriteByte(' ')
			}
		case xml.EndElement:
			switch t.Name.Local {
			case "t", "span", "a":
				in--
			case "p", "h":
				in--
				out.WriteByte('\n')
			}
		case xml.CharData:
			if in > 0 {
				out.WriteString(strings.Trim(string(t), "\r\n"))
			}
		}
	}
	return out.String()
}
