package attach

import (
	"bytes"
	"encoding/binary"
	"strings"
	"unicode/utf16"

	"golang.org/x/text/encoding/charmap"

	"postern/intake/mime"
)

// Marks of TNEF (MS-OXTNEF sections 2.1.3 and 2.1.3.3) and of the properties
// that hold the letter (MS-OXPROPS).
const (
	tnefSignature = 0x223e9f78
	tnefBody      = 0x0002800c
	tnefProps     = 0x00069003
	propBody      = 0x1000
	propRTF       = 0x1009
	propHTML      = 0x1013
	maxProps      = 4000
)

// tnefText gives the letter inside a winmail.dat: plain body, else HTML, else
// compressed RTF.
func tnefText(b []byte) string {
	if len(b) < 6 || binary.LittleEndian.Uint32(b) != tnefSignature {
		return ""
	}
	var body, html, rtf string
	for rest := b[6:]; len(rest) >= 11; {
		level, id := rest[0], binary.LittleEndian.Uint32(rest[1:])
		n := int(binary.LittleEndian.Uint32(rest[5:]))
		if n < 0 || n > len(rest)-11 {
			break
		}
		data := rest[9 : 9+n]
		rest = rest[9+n+2:]
		if level != 1 { // 2 are attributes of attachments
			continue
		}
		switch id {
		case tnefBody:
			body = ansi(data)
		case tnefProps:
			b2, h2, r2 := properties(data)
			body, html, rtf = first(body, b2), first(html, h2), first(rtf, r2)
		}
	}
	return first(strings.TrimSpace(body), mime.HTMLText([]byte(html)), rtf)
}

func first(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}

func ansi(b []byte) string {
	b = bytes.TrimRight(b, "\x00")
	out, err := charmap.Windows1252.NewDecoder().Bytes(b)
	if err != nil {
		return ""
	}
	return string(out)
}

// properties walks a list of MAPI properties (MS-OXTNEF section 2.1.3.4).
func properties(b []byte) (body, html, rtf string) {
	c := &cursor{b: b}
	count := c.u32()
	for i := 0; i < int(count) && i < maxProps && !c.bad; i++ {
		typ, id := c.u16(), c.u16()
		if id >= 0x8000 { // a named property: skip its name
			c.skip(16)
			if c.u32() == 0 {
				c.skip(4)
			} else {
				c.skip(pad4(int(c.u32())))
			}
		}
		values := 1
		if typ&0x1000 != 0 {
			values = int(c.u32())
		}
		for v := 0; v < values && v < maxProps && !c.bad; v++ {
			data := c.value(typ &^ 0x1000)
			switch {
			case id == propBody && typ == 0x1e:
				body = ansi(data)
			case id == propBody && typ == 0x1f:
				body = wide(data)
			case id == propHTML:
				html = string(bytes.TrimRight(data, "\x00"))
			case id == propRTF:
				rtf = rtfText(unpackRTF(data))
			}
		}
	}
	return body, html, rtf
}

func wide(b []byte) string {
	u := make([]uint16, len(b)/2)
	for i := range u {
		u[i] = binary.LittleEndian.Uint16(b[2*i:])
	}
	return strings.TrimRight(string(utf16.Decode(u)), "\x00")
}

func pad4(n int) int { return (n + 3) &^ 3 }

// cursor reads little-endian values; past the end it is bad and gives zeros.
type cursor struct {
	b   []byte
	bad bool
}

func (c *cursor) take(n int) []byte {
	if n < 0 || n > len(c.b) {
		c.bad = true
		return nil
	}
	out := c.b[:n]
	c.b = c.b[n:]
	return out
}

func (c *cursor) skip(n int) { c.take(n) }

func (c *cursor) u32() uint32 {
	b := c.take(4)
	if b == nil {
		return 0
	}
	return binary.LittleEndian.Uint32(b)
}

func (c *cursor) u16() uint16 {
	b := c.take(2)
	if b == nil {
		return 0
	}
	return binary.LittleEndian.Uint16(b)
}

// value reads one value of a property type (MS-OXCDATA section 2.11.1).
func (c *cursor) value(typ uint16) []byte {
	switch typ {
	case 0x02, 0x03, 0x04, 0x0a, 0x0b, 0x01:
		return c.take(4)
	case 0x05, 0x06, 0x07, 0x14, 0x40:
		return c.take(8)
	case 0x48:
		return c.take(16)
	case 0x1e, 0x1f, 0x0d, 0x102:
		// In TNEF each is preceded by a count of values, here always one.
		if n := c.u32(); n != 1 {
			c.bad = true
			return nil
		}
		n := int(c.u32())
		data := c.take(n)
		c.skip(min(pad4(n)-n, len(c.b)))
		return data
	}
	c.bad = true
	return nil
}

// rtfDictionary is what compressed RTF begins with (MS-OXRTFCP section 2.1.3.1.4).
const rtfDictionary = "{\\rtf1\\ansi\\mac\\deff0\\deftab720{\\fonttbl;}{\\f0\\fnil \\froman \\fswiss \\fmodern \\fscript \\fdecor MS Sans SerifSymbolArialTimes New RomanCourier{\\colortbl\\red0\\green0\\blue0\r\n\\par \\pard\\plain\\f0\\fs20\\b\\i\\u\\tab\\tx"

// unpackRTF undoes the compression of PidTagRtfCompressed (MS-OXRTFCP).
func unpackRTF(b []byte) []byte {
	if len(b) < 16 {
		return nil
	}
	raw := int(binary.LittleEndian.Uint32(b[4:]))
	if binary.LittleEndian.Uint32(b[8:]) == 0x414c454d { // "MELA": not packed
		return b[16:]
	}
	var window [4096]byte
	pos := copy(window[:], rtfDictionary)
	out := make([]byte, 0, min(raw, maxFile))
	put := func(c byte) {
		out = append(out, c)
		window[pos%4096] = c
		pos = (pos + 1) % 4096
	}
	for in := b[16:]; len(in) > 0 && len(out) < min(raw, maxFile); {
		flags := in[0]
		in = in[1:]
		for bit := 0; bit < 8 && len(in) > 0; bit++ {
			if flags&(1<<bit) == 0 {
				put(in[0])
				in = in[1:]
				continue
			}
			if len(in) < 2 {
				return out
			}
			ref := int(in[0])<<8 | int(in[1])
			in = in[2:]
			at, n := ref>>4, ref&15+2
			if at == pos { // the end mark
				return out
			}
			for range n {
				put(window[at%4096])
				at++
			}
		}
	}
	return out
}
