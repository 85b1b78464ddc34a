package consent

import (
	"bufio"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Format names the export of a tool.
type Format string

// FormatPostern is the own CSV format. A header line names the columns, in any
// order; address is the only one needed:
//
//	address          the address as the person gave it
//	action           given, confirmed (double opt-in), unconfirmed, unsubscribed,
//	                 objected, complaint, bounce; empty: given
//	time             RFC 3339 or "2006-01-02 15:04:05", UTC where no zone is given
//	purpose          what consent is given for
//	basis            express, soft, implied
//	wording          the full text shown
//	wording_version  its version
//	source           where it was asked: URL, shop, form
//	language         BCP 47
//	jurisdiction     EU, UK, CA, ...
//	expires          end of the consent; needed for implied
//	conditions       for soft: four of y and n, as in yyyy (ePrivacy Art. 13(2))
//	ip               only if needed
//	scope            of an opt-out: purpose, controller, stream or all; empty: purpose where one is named
//	stream           number of the stream, for that scope
//	reason           of a suppressed row: unsubscribed, complaint, bounce, erased, objected, ...
//	ended            a suppression that an operator or an undo ended: not taken
//	keys             beside them: fingerprints of the keys that made them, all known here
//	subject, form    in place of address: the keyed hashes that an export has where
//	                 Postern does not hold the address; known only under the same keys
//
// Actions of an export are taken too: refreshed, withdrawn, suppressed,
// unproven (stored, not mailed) and expired (not taken: its end stands in
// expires).
const FormatPostern Format = "postern"

// rowState is what a row says about the person.
type rowState int

const (
	rowConsent rowState = iota
	rowUnconfirmed
	rowOptOut
)

// importRow is one row of any format.
type importRow struct {
	address      string
	state        rowState
	reason       Reason // of an opt-out
	confirmed    bool   // by double opt-in
	time         time.Time
	expires      time.Time
	purpose      string
	basis        string
	wording      string
	wordingVer   string
	source       string
	language     string
	jurisdiction string
	ip           string
	conditions   [4]bool
	unclear      bool // the export does not tell whether the person is subscribed
	unproven     bool // it says that proof is missing
	everything   bool // the opt-out reaches beyond the purpose
	scope        Scope
	stream       uint16
	subject      string // with form: instead of the address
	form         string
	keys         string // fingerprints of the keys that made subject and form
}

// mapping reads the rows of one file.
type mapping struct {
	format Format
	column map[string]int
	name   string
	row    func(row) (importRow, error)
}

// csvFormat is one tool's export.
type csvFormat struct {
	name Format
	fits func(has func(string) bool) bool
	read func(row) (importRow, error)
}

// csvFormats are tried in this order.
func csvFormats() []csvFormat {
	return []csvFormat{
		{FormatPostern, isPostern, readPostern},
		{FormatMailchimp, isMailchimp, readMailchimp},
		{FormatListmonk, isListmonk, readListmonk},
		{FormatBrevo, isBrevo, readBrevo},
		{FormatMailjet, isMailjet, readMailjet},
		{FormatSendGrid, isSendGrid, readSendGrid},
	}
}

// Formats lists the names that ImportOptions.Format takes.
func Formats() []Format {
	var out []Format
	for _, f := range csvFormats() {
		out = append(out, f.name)
	}
	return out
}

// columnName is a header without case, spaces, hyphens and underscores.
func columnName(s string) string {
	return strings.NewReplacer(" ", "", "_", "", "-", "", "\u00a0", "").Replace(strings.ToLower(strings.TrimSpace(s)))
}

func mapHeader(header []string, want Format, file string) (mapping, error) {
	m := mapping{column: map[string]int{}, name: strings.ToLower(filepath.Base(file))}
	for i, h := range header {
		if h = columnName(h); h != "" {
			if _, dup := m.column[h]; dup && (h == "email" || h == "address" || h == "emailaddress") {
				return m, fmt.Errorf("%w: two columns are named %s", ErrRefused, h)
			}
			m.column[h] = i
		}
	}
	known := want == ""
	for _, f := range csvFormats() {
		known = known || f.name == want
		if (want == "" || f.name == want) && f.fits(m.has) {
			m.format, m.row = f.name, f.read
			return m, nil
		}
	}
	if !known {
		return m, fmt.Errorf("%w: format %q is none of %v", ErrRefused, want, Formats())
	}
	if want != "" {
		return m, fmt.Errorf("%w: the header line is not that of a %s export", ErrRefused, want)
	}
	return m, fmt.Errorf("%w: the header line fits none of the formats %v; the own one needs a column named address", ErrRefused, Formats())
}

func (m mapping) has(name string) bool { _, ok := m.column[name]; return ok }

func (m mapping) read(fields []string) (importRow, error) {
	return m.row(row{name: m.name, has: m.has, get: func(name string) string {
		i, ok := m.column[name]
		if !ok || i >= len(fields) {
			return ""
		}
		return strings.TrimSpace(fields[i])
	}})
}

func isPostern(has func(string) bool) bool { return has("address") || has("subject") && has("form") }

func readPostern(r row) (importRow, error) {
	get := r.get
	x := importRow{
		address: get("address"), purpose: get("purpose"), basis: get("basis"), wording: get("wording"),
		wordingVer: get("wordingversion"), source: get("source"), language: get("language"),
		jurisdiction: get("jurisdiction"), ip: get("ip"), subject: get("subject"), form: get("form"), keys: get("keys"),
	}
	x.scope = Scope(strings.ToLower(get("scope")))
	x.everything = x.scope == ScopeController
	var err error
	if n := get("stream"); n != "" && n != "0" {
		number, err := strconv.ParseUint(n, 10, 16)
		if err != nil {
			return x, errors.New("stream: not the number of one")
		}
		x.stream = uint16(number)
	}
	if get("ended") != "" {
		return x, errors.New("ended: the suppression no longer stood when it was exported")
	}
	if x.time, err = parseTime(get("time")); err != nil {
		return x, fmt.Errorf("time: %w", err)
	}
	if x.expires, err = parseTime(get("expires")); err != nil {
		return x, fmt.Errorf("expires: %w", err)
	}
	if c := get("conditions"); c != "" {
		if len(c) != 4 || strings.Trim(c, "yn") != "" {
			return x, errors.New("conditions: four of y and n are needed")
		}
		for i := range x.conditions {
			x.conditions[i] = c[i] == 'y'
		}
	}
	return x, x.setAction(get("action"), get("reason"))
}

func (x *importRow) setAction(action, reason string) error {
	switch strings.ToLower(action) {
	case "", "given", "refreshed":
	case "unproven":
		x.unproven = true
	case "expired":
		return errors.New("action: expired is told by the column expires of the row that gave it")
	case "suppressed":
		x.optOut(Reason(reason))
		if codeOf(reasonCodes, x.reason) == 0 {
			return errors.New("reason: unknown for a suppression")
		}
	case "confirmed":
		x.confirmed = true
	case "unconfirmed", "pending":
		x.state = rowUnconfirmed
	case "unsubscribed", "withdrawn":
		x.optOut(Unsubscribed)
	case "objected":
		x.optOut(ObjectedTo)
	case "complaint":
		x.optOut(Complained)
	case "bounce":
		x.optOut(Bounced)
	default:
		return errors.New("action: none of given, confirmed, unconfirmed, unsubscribed, objected, complaint, bounce, suppressed")
	}
	return nil
}

func (x *importRow) optOut(r Reason) { x.state, x.reason = rowOptOut, r }

// timeLayouts are the ways the tools write times; UTC where no zone is given.
var timeLayouts = []string{
	time.RFC3339Nano, "2006-01-02 15:04:05", "2006-01-02T15:04:05", "2006-01-02 15:04:05-07",
	"2006-01-02 15:04:05.999999999-07:00", "2006-01-02 15:04:05.999999999-07", "02-01-2006 15:04:05",
	"2006-01-02 15:04:05-07:00", "2006-01-02 15:04:05 -0700 MST", "2006-01-02 15:04:05 MST", "2006-01-02 15:04", "2006-01-02",
}

// parseTime reads a time of an export; empty is the zero time. A plain number
// of nine to eleven digits is Unix seconds.
func parseTime(s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	for _, layout := range timeLayouts {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC(), nil
		}
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil && len(s) >= 9 && len(s) <= 11 {
		return time.Unix(n, 0).UTC(), nil
	}
	return time.Time{}, errors.New("not a time as 2006-01-02T15:04:05Z or 2006-01-02 15:04:05")
}

// skipBOM removes the byte order mark that spreadsheets put before a CSV.
func skipBOM(in io.Reader) io.Reader {
	b := bufio.NewReaderSize(in, 64<<10)
	if mark, err := b.Peek(3); err == nil && string(mark) == "\ufeff" {
		_, _ = b.Discard(3) // was peeked: cannot fail
	}
	return b
}

// separatorOf finds another separator than the comma in a header line.
func separatorOf(line string) rune {
	for _, sep := range ";\t|" {
		if strings.ContainsRune(line, sep) {
			return sep
		}
	}
	return 0
}

func splitHeader(line string, sep rune) ([]string, error) {
	c := csv.NewReader(strings.NewReader(line))
	c.Comma, c.LazyQuotes = sep, true
	return c.Read()
}
