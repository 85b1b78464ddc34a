package delivery

import (
	"bufio"
	"errors"
	"fmt"
	"strings"
)

// reply is one SMTP reply, its lines joined by a space.
type reply struct {
	code   int
	status string // enhanced status code (RFC 2034), "" if none
	text   string
}

// Limits for replies: a hop that says more is answering rubbish.
const (
	maxReplyLine  = 4096
	maxReplyLines = 128
	maxReplyText  = 512 // octets that are kept
)

// errRubbish says that what came back is no SMTP reply; the connection is out
// of step and must be closed (SMTP-11).
var errRubbish = errors.New("next hop answered rubbish")

// class is the first digit, which alone decides (RFC 5321 section 4.2).
func (r reply) class() int { return r.code / 100 }

// readReply reads one reply of any number of lines (RFC 5321 section 4.2.1).
func readReply(r *bufio.Reader) (reply, error) {
	var out reply
	var text []string
	size := 0
	for n := 0; ; n++ {
		line, err := r.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) || n == maxReplyLines {
			return reply{}, fmt.Errorf("%w: the reply has no end", errRubbish)
		}
		if err != nil {
			return reply{}, err
		}
		code, more, rest, err := parseLine(line)
		if err != nil {
			return reply{}, err
		}
		if n > 0 && code != out.code {
			return reply{}, fmt.Errorf("%w: the code changes within a reply", errRubbish)
		}
		out.code = code
		status, rest := splitStatus(code, rest)
		if n == 0 {
			out.status = status
		}
		if rest != "" && size < maxReplyText {
			text = append(text, rest)
			size += len(rest) + 1
		}
		if !more {
			break
		}
	}
	out.text = strings.Join(text, " ")
	if len(out.text) > maxReplyText {
		out.text = out.text[:maxReplyText]
	}
	return out, nil
}

// parseLine takes apart "250-text", "250 text" and "250".
func parseLine(line []byte) (code int, more bool, text string, err error) {
	line = line[:len(line)-1]
	if n := len(line); n > 0 && line[n-1] == '\r' {
		line = line[:n-1]
	}
	if len(line) < 3 || len(line) > 3 && line[3] != ' ' && line[3] != '-' {
		return 0, false, "", fmt.Errorf("%w: a line without reply code", errRubbish)
	}
	for _, c := range line[:3] {
		if c < '0' || c > '9' {
			return 0, false, "", fmt.Errorf("%w: a line without reply code", errRubbish)
		}
		code = code*10 + int(c-'0')
	}
	if code < 200 || code > 599 {
		return 0, false, "", fmt.Errorf("%w: reply code %d", errRubbish, code)
	}
	if len(line) > 3 {
		more, text = line[3] == '-', printable(line[4:])
	}
	return code, more, text, nil
}

// printable keeps ASCII text and makes all else a question mark: replies go
// into reports and the console.
func printable(b []byte) string {
	out := []byte(strings.TrimSpace(string(b)))
	for i, c := range out {
		if c < ' ' || c >= 0x7f {
			out[i] = '?'
		}
	}
	return string(out)
}

// splitStatus takes an enhanced status code off the text if its class fits
// the reply (RFC 2034 section 4).
func splitStatus(code int, text string) (status, rest string) {
	word, rest, _ := strings.Cut(text, " ")
	if !validStatus(word) || int(word[0]-'0') != code/100 {
		return "", text
	}
	return word, rest
}

// validStatus tells whether s is class.subject.detail (RFC 3463 section 2).
func validStatus(s string) bool {
	parts := strings.Split(s, ".")
	if len(parts) != 3 || len(parts[0]) != 1 || !strings.Contains("245", parts[0]) {
		return false
	}
	for _, p := range parts[1:] {
		if len(p) < 1 || len(p) > 3 {
			return false
		}
		for i := 0; i < len(p); i++ {
			if p[i] < '0' || p[i] > '9' {
				return false
			}
		}
	}
	return true
}
