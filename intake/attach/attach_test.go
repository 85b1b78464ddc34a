package attach

import (
	"archive/zip"
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"postern/intake/mime"
)

func part(typ, name string, body []byte) *mime.Part {
	return &mime.Part{Type: typ, Name: name, Encoding: "base64", Body: []byte(base64.StdEncoding.EncodeToString(body))}
}

func office(t testing.TB, name, xml string) []byte {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	w, err := z.Create(name)
	require.NoError(t, err)
	_, err = w.Write([]byte(xml))
	require.NoError(t, err)
	require.NoError(t, z.Close())
	return b.Bytes()
}

func docx(t testing.TB) []byte {
	return office(t, "word/document.xml", `<?xml version="1.0"?><w:document xmlns:w="x"><w:body><w:p><w:r><w:t>Bitte löschen Sie</w:t></w:r><w:r><w:t xml:space="preserve"> meine Daten.</w:t></w:r></w:p><w:p><w:r><w:t>Kim</w:t></w:r></w:p></w:body></w:document>`)
}

// pdfFile is a one-page PDF with a line of text in a standard font.
func pdfFile(line string) []byte {
	var b bytes.Buffer
	var at []int
	obj := func(s string) {
		at = append(at, b.Len())
		fmt.Fprintf(&b, "%d 0 obj\n%s\nendobj\n", len(at), s)
	}
	b.WriteString("%PDF-1.4\n")
	obj("<</Type/Catalog/Pages 2 0 R>>")
	obj("<</Type/Pages/Kids[3 0 R]/Count 1>>")
	obj("<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>>>")
	content := "BT /F1 12 Tf 72 720 Td (" + line + ") Tj ET"
	obj(fmt.Sprintf("<</Length %d>>\nstream\n%s\nendstream", len(content), content))
	obj("<</Type/Font/Subtype/Type1/BaseFont/Helvetica/Encoding/WinAnsiEncoding>>")
	xref := b.Len()
	fmt.Fprintf(&b, "xref\n0 %d\n0000000000 65535 f \n", len(at)+1)
	for _, a := range at {
		fmt.Fprintf(&b, "%010d 00000 n \n", a)
	}
	fmt.Fprintf(&b, "trailer\n<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n", len(at)+1, xref)
	return b.Bytes()
}

// tnef is a winmail.dat with one MAPI property.
func tnef(id, typ uint16, data []byte) []byte {
	le := binary.LittleEndian
	props := le.AppendUint32(nil, 1)
	props = le.AppendUint16(props, typ)
	props = le.AppendUint16(props, id)
	props = le.AppendUint32(props, 1)
	props = le.AppendUint32(props, uint32(len(data)))
	props = append(props, data...)
	for len(props)%4 != 0 {
		props = append(props, 0)
	}
	out := le.AppendUint32(nil, tnefSignature)
	out = append(out, 1, 0, 1)
	out = le.AppendUint32(out, tnefProps)
	out = le.AppendUint32(out, uint32(len(props)))
	out = append(out, props...)
	return append(out, 0, 0)
}

func TestText(t *testing.T) {
	rtf := []byte(`{\rtf1\ansi\ansicpg1252{\fonttbl{\f0 Arial;}}{\*\generator x;}\f0 Bitte l\'f6schen\par Sie \u246?fter {\b fett}\par}`)
	packed := binary.LittleEndian.AppendUint32(nil, uint32(len(rtf)+12))
	packed = binary.LittleEndian.AppendUint32(packed, uint32(len(rtf)))
	packed = append(packed, "MELA\x00\x00\x00\x00"...)
	packed = append(packed, rtf...)
	cases := map[string]struct {
		p    *mime.Part
		want string
	}{
		"txt":       {part("text/plain", "brief.txt", []byte("Löschen")), "Löschen"},
		"html":      {part("text/html", "brief.html", []byte("<p>Erase</p>")), "Erase"},
		"docx":      {part("application/octet-stream", "Brief.DOCX", docx(t)), "Bitte löschen Sie meine Daten.\nKim"},
		"odt":       {part("application/vnd.oasis.opendocument.text", "b.odt", office(t, "content.xml", `<o><text:p>Erase <text:span>me</text:span></text:p></o>`)), "Erase me"},
		"pdf":       {part("application/pdf", "b.pdf", pdfFile("Please erase my data")), "Please erase my data"},
		"rtf":       {part("text/rtf", "b.rtf", rtf), "Bitte löschen\nSie öfter fett"},
		"tnef html": {part("application/ms-tnef", "winmail.dat", tnef(propHTML, 0x102, []byte("<p>Erase me</p>"))), "Erase me"},
		"tnef wide": {part("application/ms-tnef", "winmail.dat", tnef(propBody, 0x1f, []byte("E\x00r\x00a\x00s\x00e\x00\x00\x00"))), "Erase"},
		"tnef rtf":  {part("application/ms-tnef", "winmail.dat", tnef(propRTF, 0x102, packed)), "Bitte löschen\nSie öfter fett"},
		"broken":    {part("application/pdf", "b.pdf", []byte("%PDF-1.4 nothing")), ""},
		"no docx":   {part("application/pdf", "b.docx", []byte("PK")), ""},
	}
	for name, c := range cases {
		got, ok := Text(c.p)
		require.True(t, ok, name)
		require.Equal(t, c.want, got, name)
	}
	_, ok := Text(part("image/png", "x.png", []byte("x")))
	require.False(t, ok)
}

// TestUnpackRTF uses the example of MS-OXRTFCP section 4.2: a run that refers
// into what it is writing.
func TestUnpackRTF(t *testing.T) {
	b := []byte{0x1a, 0, 0, 0, 0x1c, 0, 0, 0, 'L', 'Z', 'F', 'u', 0xe2, 0xd4, 0x4b, 0x51, 0x41, 0, 0x04, 0x20, 'W', 'X', 'Y', 'Z', 0x0d, 0x6e, 0x7d, 0x01, 0x0e, 0xb0}
	require.Equal(t, "{\\rtf1 WXYZWXYZWXYZWXYZWXYZ}", string(unpackRTF(b)))
}

func FuzzText(f *testing.F) {
	f.Add("b.pdf", pdfFile("Please erase my data"))
	f.Add("b.rtf", []byte(`{\rtf1\ansi Bitte l\'f6schen\par}`))
	f.Add("winmail.dat", tnef(propHTML, 0x102, []byte("<p>Erase me</p>")))
	f.Add("b.docx", docx(f))
	f.Fuzz(func(t *testing.T, name string, body []byte) {
		text, _ := Text(part("application/octet-stream", name, body))
		if !utf8.ValidString(text) || len(text) > maxText || strings.Contains(text, "\x00") {
			t.Fatal("bad text")
		}
	})
}
