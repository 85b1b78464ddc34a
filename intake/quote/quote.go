package quote

import "strings"

// Split is a letter taken apart.
type Split struct {
	Own       string // the new words
	Signature string // sign-off block, device line, confidentiality notice
	Quoted    string // earlier mail, quote marks as they stood
	// Forwarded is the forwarded mail, block header included and quote marks
	// removed, where the text says it was passed on.
	Forwarded string
}

// maxLines bounds the work on one text; what follows is taken as quoted.
const maxLines = 20000

// kind of a line.
type kind byte

const (
	own kind = iota
	quoted
	signature
	forwarded
)

// Parse splits a text whose lines end with \n.
func Parse(text string) Split {
	lines := strings.Split(text, "\n")
	var overflow []string
	if len(lines) > maxLines {
		lines, overflow = lines[:maxLines], lines[maxLines:]
	}
	kinds := make([]kind, len(lines))
	markQuotes(lines, kinds)
	markHistory(lines, kinds)
	markSignature(lines, kinds)
	markRules(lines, kinds)
	var s Split
	s.Own = pick(lines, kinds, own)
	if s.Own == "" && !any(kinds, forwarded) {
		// Nothing new: either a bare quotation, or a program that marks all
		// it sends. Words right of the marks count, up to a deeper history.
		s.Own, kinds = unmark(lines, kinds)
	}
	s.Signature = pick(lines, kinds, signature)
	s.Quoted = pick(lines, kinds, quoted)
	s.Forwarded = Unquote(pick(lines, kinds, forwarded))
	if len(overflow) > 0 {
		s.Quoted += "\n" + strings.Join(overflow, "\n")
	}
	return s
}

func any(kinds []kind, k kind) bool {
	for _, x := range kinds {
		if x == k {
			return true
		}
	}
	return false
}

func pick(lines []string, kinds []kind, want kind) string {
	var out strings.Builder
	gap := false
	for i, l := range lines {
		if kinds[i] != want {
			gap = out.Len() > 0
			continue
		}
		if strings.TrimSpace(l) == "" {
			gap = out.Len() > 0
			continue
		}
		if gap {
			out.WriteByte('\n')
			gap = false
		}
		out.WriteString(l)
		out.WriteByte('\n')
	}
	return strings.TrimRight(out.String(), "\n")
}

// depth counts the quote marks a line begins with.
func depth(line string) (n int, rest string) {
	rest = line
	for {
		t := strings.TrimLeft(rest, " \t")
		if !strings.HasPrefix(t, ">") {
			if n == 0 {
				return 0, line
			}
			return n, strings.TrimPrefix(rest, " ")
		}
		n++
		rest = t[1:]
	}
}

// Unquote removes all quote marks at the beginnings of lines.
func Unquote(text string) string {
	lines := strings.Split(text, "\n")
	for i, l := range lines {
		_, lines[i] = depth(l)
	}
	return strings.Join(lines, "\n")
}

// markQuotes marks lines with quote marks, their wrapped remainders, and the
// lines that introduce them.
func markQuotes(lines []string, kinds []kind) {
	for i, l := range lines {
		if n, rest := depth(l); n > 0 && !wrappedAddress(lines, i, rest) {
			kinds[i] = quoted
		}
	}
	for i := range lines {
		if kinds[i] != quoted || i > 0 && kinds[i-1] == quoted {
			continue
		}
		// The introduction stands up to four lines above, one empty line may
		// be between.
		j := i - 1
		for j >= 0 && i-j <= 2 && strings.TrimSpace(lines[j]) == "" {
			j--
		}
		if j < 0 || kinds[j] == quoted {
			continue
		}
		if from, ok := introduction(lines, j, true); ok {
			for k := from; k < i; k++ {
				kinds[k] = quoted
			}
		}
	}
}

// wrappedAddress tells of a ">" that closes the address of the line above, as
// in "… <ada@example.net" / ">:".
func wrappedAddress(lines []string, i int, rest string) bool {
	return i > 0 && len(rest) < 60 && strings.HasSuffix(strings.TrimSpace(rest), ":") && strings.LastIndexByte(lines[i-1], '<') > strings.LastIndexByte(lines[i-1], '>')
}

// markHistory finds the first line from which everything below is an earlier
// or a forwarded mail that bears no quote marks.
func markHistory(lines []string, kinds []kind) {
	seen := false // new words above
	for i := range lines {
		if kinds[i] == quoted {
			if n, rest := depth(lines[i]); n > 0 && isForwardMark(rest) {
				fill(kinds, i, forwarded)
				return
			}
			continue
		}
		t := strings.TrimSpace(lines[i])
		if t == "" {
			continue
		}
		switch {
		case isForwardMark(t):
			fill(kinds, i, forwarded)
			return
		case isOriginalMark(t), seen && headerBlock(lines, i):
			fill(kinds, i, quoted)
			return
		}
		if seen && historyBelow(lines, kinds, i) {
			fill(kinds, i, quoted)
			return
		}
		if !isRule(t) {
			seen = true
		}
	}
}

// historyBelow tells whether an introduction with date or address begins at
// line i and plain, unmarked text follows to the end.
func historyBelow(lines []string, kinds []kind, i int) bool {
	for end := i; end < len(lines) && end < i+4; end++ {
		if kinds[end] == quoted || strings.TrimSpace(lines[end]) == "" {
			return false
		}
		if from, found := introduction(lines, end, false); found && from == i {
			return true
		}
	}
	return false
}

// markRules takes lines of dashes that close a block of new words out of it.
func markRules(lines []string, kinds []kind) {
	last := true
	for i := len(lines) - 1; i >= 0; i-- {
		t := strings.TrimSpace(lines[i])
		switch {
		case kinds[i] != own:
			last = true
		case t == "":
		case last && isRule(t):
			kinds[i] = kinds[min(i+1, len(lines)-1)]
			if kinds[i] == own {
				kinds[i] = signature
			}
		default:
			last = false
		}
	}
}

func fill(kinds []kind, from int, k kind) {
	for i := from; i < len(kinds); i++ {
		kinds[i] = k
	}
}

// unmark takes the least quoted level as the person's words.
func unmark(lines []string, kinds []kind) (string, []kind) {
	level := 0
	for i, l := range lines {
		if n, rest := depth(l); kinds[i] == quoted && n > 0 && strings.TrimSpace(rest) != "" && (level == 0 || n < level) {
			level = n
		}
	}
	if level == 0 {
		return "", kinds
	}
	for i := range lines {
		if n, _ := depth(lines[i]); kinds[i] == quoted && n == 0 {
			return "", kinds // introduced: a true quotation with nothing said
		}
	}
	var out []string
	for i, l := range lines {
		if n, rest := depth(l); n == level {
			out = append(out, rest)
			kinds[i] = own
		}
	}
	return strings.TrimSpace(strings.Join(out, "\n")), kinds
}
