package wire

import (
	"strconv"
	"strings"
)

// Reply is one SMTP reply. Lines gives more than one line of text and then
// stands in place of Text.
type Reply struct {
	Code   int
	Status string // enhanced code without its blank, "" for greeting, EHLO and 3yz (RFC 2034 section 4)
	Text   string // printable ASCII
	Lines  []string
}

// append writes r in wire form behind dst. Each line carries the enhanced
// code, is ASCII and stays within MaxReply octets.
func (r Reply) append(dst []byte) []byte {
	lines := r.Lines
	if len(lines) == 0 {
		return r.appendLine(dst, ' ', r.Text)
	}
	for i, l := range lines {
		sep := byte('-')
		if i == len(lines)-1 {
			sep = ' '
		}
		dst = r.appendLine(dst, sep, l)
	}
	return dst
}

func (r Reply) appendLine(dst []byte, sep byte, text string) []byte {
	start := len(dst)
	dst = strconv.AppendInt(dst, int64(r.Code), 10)
	dst = append(dst, sep)
	if r.Status != "" {
		dst = append(dst, r.Status...)
		if text != "" {
			dst = append(dst, ' ')
		}
	}
	for i := 0; i < len(text) && len(dst)-start < MaxReply-2; i++ {
		c := text[i]
		if c < ' ' || c > '~' {
			c = '?'
		}
		dst = append(dst, c)
	}
	return append(dst, '\r', '\n')
}

// replyLine takes a line go-smtp wrote apart. ok is false for what is no reply.
func replyLine(line string) (code int, last bool, text string, ok bool) {
	line = strings.TrimRight(line, "\r\n")
	if len(line) < 3 {
		return 0, true, "", false
	}
	code, err := strconv.Atoi(line[:3])
	if err != nil || code < 200 || code > 599 {
		return 0, true, "", false
	}
	if len(line) == 3 {
		return code, true, "", true
	}
	return code, line[3] != '-', line[4:], true
}
