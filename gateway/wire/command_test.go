package wire

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestReplyFormat(t *testing.T) {
	for name, tc := range map[string]struct {
		r    Reply
		want string
	}{
		"plain":     {Reply{Code: 250, Status: "2.0.0", Text: "OK"}, "250 2.0.0 OK\r\n"},
		"no status": {Reply{Code: 354, Text: "go"}, "354 go\r\n"},
		"no text":   {Reply{Code: 250, Status: "2.0.0"}, "250 2.0.0\r\n"},
		"lines":     {Reply{Code: 250, Lines: []string{"a", "b"}}, "250-a\r\n250 b\r\n"},
		"many":      {Reply{Code: 550, Status: "5.7.1", Lines: []string{"a", "b"}}, "550-5.7.1 a\r\n550 5.7.1 b\r\n"},
		"injection": {Reply{Code: 550, Status: "5.7.1", Text: "a\r\n250 ü"}, "550 5.7.1 a??250 ??\r\n"},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, tc.want, string(tc.r.append(nil))) })
	}
	long := Reply{Code: 550, Status: "5.7.1", Text: strings.Repeat("x", 1000)}
	require.Len(t, long.append(nil), MaxReply)
}

func TestPath(t *testing.T) {
	for name, tc := range map[string]struct {
		arg, path string
		params    []Param
		bad       bool
	}{
		"plain":         {arg: "FROM:<a@example.org>", path: "a@example.org"},
		"lower case":    {arg: "from:<a@example.org>", path: "a@example.org"},
		"null":          {arg: "FROM:<>"},
		"blank":         {arg: "FROM: <a@example.org>", path: "a@example.org"},
		"route":         {arg: "FROM:<@x.example,@y.example:a@example.org>", path: "a@example.org"},
		"quoted":        {arg: `FROM:<"a>b\">"@example.org> SIZE=1`, path: `"a>b\">"@example.org`, params: []Param{{"SIZE", "1"}}},
		"params":        {arg: "FROM:<> size=12  BODY=8BITMIME SMTPUTF8 ", params: []Param{{"SIZE", "12"}, {"BODY", "8BITMIME"}, {"SMTPUTF8", ""}}},
		"no brackets":   {arg: "FROM:a@example.org", bad: true},
		"no colon":      {arg: "FROM <a@example.org>", bad: true},
		"not closed":    {arg: "FROM:<a@example.org", bad: true},
		"route alone":   {arg: "FROM:<@example.org>", bad: true},
		"glued":         {arg: "FROM:<>SIZE=1", bad: true},
		"twice":         {arg: "FROM:<> SIZE=1 size=2", bad: true},
		"no value":      {arg: "FROM:<> SIZE=", bad: true},
		"second equals": {arg: "FROM:<> X=a=b", bad: true},
		"bad key":       {arg: "FROM:<> S_X=a", bad: true},
		"empty":         {arg: "", bad: true},
	} {
		t.Run(name, func(t *testing.T) {
			path, params, err := Path(tc.arg, "FROM")
			if tc.bad {
				require.ErrorIs(t, err, ErrArgument)
				return
			}
			require.NoError(t, err)
			require.Equal(t, tc.path, path)
			require.Equal(t, tc.params, params)
		})
	}
}

func TestORcpt(t *testing.T) {
	for name, tc := range map[string]struct{ in, want string }{
		"plain":         {"rfc822;a@example.org", "rfc822;a@example.org"},
		"xtext":         {"RFC822;a+2Bb+40example.org", "rfc822;a+b@example.org"},
		"Postfix UTF-8": {"rfc822;gr+C3+BC+C3+9Fe@example.org", "utf-8;grüße@example.org"},
		"utf-8":         {`utf-8;gr\x{FC}+\x{DF}e@example.org`, ""},
		"utf-8 escaped": {`utf-8;gr\x{FC}\x{DF}e@example.org`, "utf-8;grüße@example.org"},
		"utf-8 bare":    {"utf-8;grüße@example.org", "utf-8;grüße@example.org"},
		"other type":    {"x400;c=de", ""},
		"lower hex":     {"rfc822;a+2bb@example.org", ""},
		"cut":           {"rfc822;a+2", ""},
		"line end":      {"rfc822;a+0D+0A@example.org", ""},
		"no type":       {"a@example.org", ""},
		"empty":         {"rfc822;", ""},
		"bad UTF-8":     {"rfc822;a+FF@example.org", ""},
		"surrogate":     {`utf-8;\x{D800}@example.org`, ""},
		"too long":      {"rfc822;" + strings.Repeat("a", 500), ""},
		"equals":        {"rfc822;a=b@example.org", ""},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := DecodeORcpt(tc.in)
			if tc.want == "" {
				require.ErrorIs(t, err, ErrArgument)
			} else {
				require.NoError(t, err)
			}
			require.Equal(t, tc.want, got)
		})
	}
	_, err := DecodeEnvID(strings.Repeat("a", 101))
	require.ErrorIs(t, err, ErrArgument)
	id, err := DecodeEnvID("a+3Db")
	require.NoError(t, err)
	require.Equal(t, "a=b", id)
}
