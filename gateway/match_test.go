package gateway

import (
	"testing"

	"github.com/stretchr/testify/require"

	"postern/gateway/address"
	"postern/gateway/header"
	"postern/gateway/stream"
)

func facts(t testing.TB, raw []byte) *message {
	t.Helper()
	m := scan(header.Split(raw))
	var ok bool
	m.from, ok = mailboxes(m.value(fieldFrom))
	require.True(t, ok)
	return m
}

func TestMatch(t *testing.T) {
	streams := append(testStreams(),
		stream.Stream{Name: "old", Number: 9, Kind: stream.Marketing, Controller: "shop", Purpose: "p", ListID: "old.example.org", Title: "Old", Mode: stream.Enforce, Retired: true},
		stream.Stream{Name: "partner", Number: 10, Kind: stream.Marketing, Controller: "shop", Purpose: "p", ListID: "partner.example.org", Title: "P", Mode: stream.Enforce,
			FromDomains: []string{"example.org"}, FeedbackID: "p:1:2:shop1"})
	set, err := stream.NewSet([]stream.Controller{{ID: "shop"}}, streams)
	require.NoError(t, err)
	usual := testGrant()
	many := &Grant{Streams: []string{"orders", "partner"}, Default: ""}
	for _, c := range []struct {
		name  string
		grant *Grant
		raw   []byte
		null  bool
		rcpts int
		want  string // stream, or the denial
	}{
		{"by name", usual, letter("a@example.org", "X-Postern-Stream: orders"), false, 1, "orders"},
		{"by name, not allowed", usual, letter("a@example.org", "X-Postern-Stream: cases"), false, 1, "stream-not-allowed"},
		{"by name, unknown", usual, letter("a@example.org", "X-Postern-Stream: nope"), false, 1, "stream-not-allowed"},
		{"by name, retired", &Grant{Streams: []string{"old"}, Default: "old"}, letter("a@example.org", "X-Postern-Stream: old"), false, 1, "stream-not-allowed"},
		{"named twice", usual, letter("a@example.org", "X-Postern-Stream: orders", "x-postern-stream: news"), false, 1, "malformed:X-Postern-Stream"},
		{"own name before others", usual, letter("a@example.org", "X-PM-Message-Stream: news", "X-Postern-Stream: orders"), false, 1, "orders"},
		{"Postmark", usual, letter("a@example.org", "X-PM-Message-Stream: news"), false, 1, "news"},
		{"SES topic", usual, letter("a@example.org", "X-SES-LIST-MANAGEMENT-OPTIONS: customers; topic=news"), false, 1, "news"},
		{"SES list", usual, letter("a@example.org", "X-SES-LIST-MANAGEMENT-OPTIONS: contactListName=news"), false, 1, "news"},
		{"Mailjet", usual, letter("a@example.org", "X-Mailjet-Campaign: news"), false, 1, "news"},
		{"Mailjet unknown", usual, letter("a@example.org", "X-Mailjet-Campaign: summer"), false, 1, "stream-not-allowed"},
		{"List-Id", usual, letter("a@example.org", "List-Id: Our news <NEWS.example.org>"), false, 1, "news"},
		{"List-Id folded", usual, letter("a@example.org", "List-Id: Our news", "\t<news.example.org>"), false, 1, "news"},
		{"List-Id of a stream not allowed", usual, letter("a@example.org", "List-Id: <partner.example.org>"), false, 1, "stream-not-allowed"},
		{"List-Id of a foreign list", usual, letter("a@example.org", "List-Id: <golang.example.net>"), false, 1, "people"},
		{"List-Id twice", usual, letter("a@example.org", "List-Id: <a.example.net>", "List-Id: <news.example.org>"), false, 1, "malformed:List-Id"},
		{"Feedback-ID", many, letter("a@example.net", "Feedback-ID: p:1:2:shop1"), false, 1, "partner"},
		{"From domain", usual, letter("a@news.example.org"), false, 1, "news"},
		{"From below a domain", usual, letter("a@x.news.example.org"), false, 1, "news"},
		{"From of two, one the default", usual, letter("a@example.org"), false, 1, "people"},
		{"From of two, none the default: the strictest", many, letter("a@example.org"), false, 1, "partner"},
		{"From of none, with a default", usual, letter("a@example.net"), false, 1, "people"},
		{"From of none, no default", many, letter("a@example.net"), false, 1, "header-missing:X-Postern-Stream"},
		{"From that only ends alike", many, letter("a@badexample.org"), false, 1, "header-missing:X-Postern-Stream"},
		{"default not allowed", &Grant{Streams: []string{"orders"}, Default: "news"}, letter("a@example.net"), false, 1, "header-missing:X-Postern-Stream"},
		{"bounce", usual, letter("mailer-daemon@example.org", "Content-Type: multipart/report; report-type=delivery-status; boundary=x"), true, 1, "bounces"},
		{"automatic answer", usual, letter("a@example.org", "Auto-Submitted: auto-replied (vacation)"), true, 1, "bounces"},
		{"Auto-Submitted: no", usual, letter("a@example.org", "Auto-Submitted: no"), true, 1, "people"},
		{"bounce to two", usual, letter("a@example.org", "Content-Type: multipart/report"), true, 2, "people"},
		{"bounce from somebody", usual, letter("a@example.org", "Content-Type: multipart/report"), false, 1, "people"},
		{"bounce that names a stream", usual, letter("a@example.org", "Content-Type: multipart/report", "X-Postern-Stream: news"), true, 1, "news"},
		{"automatic answer with marks of a list", usual, letter("a@news.example.org", "Auto-Submitted: auto-generated", "List-Unsubscribe: <https://x.example>"), true, 1, "news"},
		{"automatic answer in bulk", usual, letter("a@news.example.org", "Auto-Submitted: auto-generated", "Precedence: bulk"), true, 1, "news"},
	} {
		t.Run(c.name, func(t *testing.T) {
			st, den := match(set, c.grant, facts(t, c.raw), c.null, c.rcpts)
			if den != nil {
				require.Equal(t, c.want, den.label())
				return
			}
			require.Equal(t, c.want, st.Name)
		})
	}
}

func TestOwnsSender(t *testing.T) {
	b := newTestEngine(t, nil)
	set := b.Streams()
	orders, _ := set.ByName("orders")
	cases, _ := set.ByName("cases")
	cases.FromDomains = nil // falls back to the controller's
	owner := testGrant()
	owner.FromDomains = []string{"example.com"}
	for _, c := range []struct {
		name  string
		grant *Grant
		st    stream.Stream
		path  string
		raw   []byte
		want  string
	}{
		{"own", testGrant(), orders, "x@example.net", letter("a@example.org"), ""},
		{"below own", testGrant(), orders, "x@example.org", letter("a@mail.example.org"), ""},
		{"foreign", testGrant(), orders, "x@example.org", letter("a@example.net"), "From"},
		{"one of two foreign", testGrant(), orders, "x@example.org", []byte("From: a@example.org, b@example.net\r\nSender: a@example.org\r\n\r\n"), "From"},
		{"controller's", testGrant(), cases, "x@example.org", letter("a@example.org"), ""},
		{"grant's own list", owner, orders, "x@example.com", letter("a@example.com"), ""},
		{"grant's own list, stream's domain", owner, orders, "x@example.com", letter("a@example.org"), "From"},
		{"grant's own list, foreign path", owner, orders, "x@example.net", letter("a@example.com"), "reverse-path"},
		{"grant's own list, null path", owner, orders, "", letter("a@example.com"), ""},
		{"bounce of any postmaster", testGrant(), builtinStream(), "", letter("mailer-daemon@host.invalid", "Content-Type: multipart/report"), ""},
		{"answer of a stranger", testGrant(), builtinStream(), "", letter("a@example.net", "Auto-Submitted: auto-replied"), "From"},
		{"answer of one of ours", testGrant(), builtinStream(), "", letter("a@example.org", "Auto-Submitted: auto-replied"), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			env := &Envelope{Grant: c.grant}
			if c.path != "" {
				env.ReversePath = address.MustParse(c.path)
			}
			den := b.ownsSender(set, env, c.st, facts(t, c.raw))
			if c.want == "" {
				require.Nil(t, den)
				return
			}
			require.Equal(t, &Denial{Reason: FromDenied, Detail: c.want}, den)
		})
	}
}

func TestMailboxes(t *testing.T) {
	for _, c := range []struct {
		name, v string
		want    []string
		ok      bool
	}{
		{"bare", "a@example.org", []string{"a@example.org"}, true},
		{"name", "Shop <a@example.org>", []string{"a@example.org"}, true},
		{"quoted comma", `"Shop, the" <a@example.org>`, []string{"a@example.org"}, true},
		{"quoted bracket", `"<evil@example.net>" <a@example.org>`, []string{"a@example.org"}, true},
		{"escaped quote", `"a\"b <x@y>" <a@example.org>`, []string{"a@example.org"}, true},
		{"raw eight bit name", "M\xfcller GmbH <a@example.org>", []string{"a@example.org"}, true},
		{"comment", "a@example.org (Shop (the) best)", []string{"a@example.org"}, true},
		{"comment with address", "(evil@example.net) a@example.org", []string{"a@example.org"}, true},
		{"unquoted dots and at", "Shop Inc. @home <a@example.org>", []string{"a@example.org"}, true},
		{"two", "a@example.org, B <b@example.org>", []string{"a@example.org", "b@example.org"}, true},
		{"group", "Team: a@example.org, b@example.org;", []string{"a@example.org", "b@example.org"}, true},
		{"empty group", "undisclosed:;", nil, true},
		{"source route", "<@relay.example.net:a@example.org>", []string{"a@example.org"}, true},
		{"quoted local part", `<"a b"@example.org>`, []string{`"a b"@example.org`}, true},
		{"two brackets", "<evil@example.net> <a@example.org>", nil, false},
		{"text behind", "<a@example.org> evil@example.net", nil, false},
		{"no address", "Shop", nil, false},
		{"empty brackets", "Shop <>", nil, false},
		{"not closed", "Shop <a@example.org", nil, false},
		{"empty", "", nil, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, ok := mailboxes(c.v)
			require.Equal(t, c.ok, ok)
			var plain []string
			for _, a := range got {
				plain = append(plain, a.Plain())
			}
			require.Equal(t, c.want, plain)
		})
	}
}

func FuzzMailboxes(f *testing.F) {
	f.Add(`"a\"<b>" (c) <d@example.org>, e: f@example.org;`)
	f.Fuzz(func(t *testing.T, v string) {
		got, ok := mailboxes(v)
		for _, a := range got {
			require.True(t, ok)
			require.False(t, a.IsZero())
			again, err := address.Parse(a.Plain())
			require.NoError(t, err)
			require.Equal(t, a, again)
		}
	})
}
