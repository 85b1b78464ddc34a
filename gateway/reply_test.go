package gateway

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"postern/gateway/consent"
)

// reasons are all of reason.go.
var reasons = []Reason{NoConsent, Unconfirmed, ConsentWithdrawn, ConsentExpired, UnprovenImport, Suppressed, HeaderMissing,
	Malformed, FromDenied, StreamDenied, NullMarketing, SplitRecipients, LooksMarketing, AlreadySigned, Loop, TooBig,
	StoreUnavailable, SignerFailed, SpoolFull, Stopping, Busy, Internal}

// sessionAnswers are the rows that no Denial leads to.
var sessionAnswers = []answer{authRequired, tlsRequired, authFailed, authUnavailable, authMechanism, authCancelled, authMalformed,
	relayDenied, rateLimited, tooMany, serverBusy, stopping, stoppingRcpt, idleTimeout, tooManyRcpt, badRcpt, badMail, utf8Rcpt,
	utf8Mail, bareLineEnd, lineTooLong, badSequence, unknownVerb, notImplemented, wrongProtocol, badArgument, unknownParam}

func TestReplyTable(t *testing.T) {
	require.Len(t, denials, len(reasons))
	rows := append([]answer(nil), sessionAnswers...)
	for _, r := range reasons {
		require.Contains(t, denials, r)
		rows = append(rows, denials[r], denials[r].deferred(r))
	}
	status := regexp.MustCompile(`^[45]\.[0-7]\.[0-9]{1,2}$`)
	tag := regexp.MustCompile(`^[A-Z][A-Z0-9-]+$`)
	for _, a := range rows {
		t.Run(fmt.Sprint(a.code, a.status, a.tag), func(t *testing.T) {
			require.Regexp(t, status, a.status)
			require.Regexp(t, tag, a.tag)
			require.Equal(t, fmt.Sprint(a.code)[:1], a.status[:1], "class digit equals first digit")
			for _, permanent := range []string{".7.1", ".3.4", ".5.2"} { // ESC-2
				require.False(t, strings.HasSuffix(a.status, permanent) && a.code < 500)
			}
			for _, transient := range []string{".3.1", ".4.3", ".4.5"} {
				require.False(t, strings.HasSuffix(a.status, transient) && a.code >= 500)
			}
			text := a.reply(strings.Repeat("x", 64), "abcdefghijkl").Text
			require.Less(t, len(text), 480)
			require.NotContains(t, text, "@")
		})
	}
}

// TestTable1 holds standards.md's table where a verdict leads to the reply.
func TestTable1(t *testing.T) {
	for name, tc := range map[string]struct {
		err  error
		want string
	}{
		"no consent":            {&Denial{Reason: NoConsent}, "550 5.7.1 NO-CONSENT"},
		"expired":               {&Denial{Reason: ConsentExpired, Detail: "news"}, "550 5.7.1 CONSENT-EXPIRED purpose=news"},
		"withdrawn":             {&Denial{Reason: ConsentWithdrawn, Detail: "news"}, "550 5.7.1 CONSENT-WITHDRAWN purpose=news"},
		"unconfirmed":           {&Denial{Reason: Unconfirmed}, "550 5.7.1 NO-CONSENT"},
		"unproven":              {&Denial{Reason: UnprovenImport}, "550 5.7.1 NO-CONSENT"},
		"suppressed":            {&Denial{Reason: Suppressed, Detail: "complaint"}, "550 5.7.1 SUPPRESSED recipient is not to be mailed; id"},
		"split":                 {&Denial{Reason: SplitRecipients}, "550 5.7.1 SPLIT-RECIPIENTS"},
		"split at RCPT":         {&Denial{Reason: SplitRecipients, Defer: true}, "452 4.5.3 SPLIT-RECIPIENTS"},
		"header missing":        {&Denial{Reason: HeaderMissing, Detail: "List-Id"}, "550 5.7.0 HEADER-MISSING field=List-Id"},
		"malformed":             {&Denial{Reason: Malformed, Detail: "From"}, "554 5.6.0 MALFORMED field=From"},
		"from":                  {&Denial{Reason: FromDenied, Detail: "evil.example"}, "550 5.7.1 FROM-DENIED sender"},
		"stream":                {&Denial{Reason: StreamDenied, Detail: "x"}, "550 5.7.1 FROM-DENIED stream"},
		"null reverse-path":     {&Denial{Reason: NullMarketing}, "550 5.7.1 POLICY"},
		"content policy":        {&Denial{Reason: LooksMarketing, Detail: "r1"}, "550 5.7.0 POLICY rule=r1"},
		"signed already":        {&Denial{Reason: AlreadySigned}, "550 5.7.0 POLICY"},
		"loop":                  {&Denial{Reason: Loop}, "554 5.4.6 LOOP"},
		"too big":               {&Denial{Reason: TooBig, Detail: "1000"}, "552 5.3.4 TOO-BIG limit=1000"},
		"store away":            {&Denial{Reason: StoreUnavailable, Defer: true}, "451 4.3.0 STORE-UNAVAILABLE"},
		"store away, not said":  {&Denial{Reason: StoreUnavailable}, "451 4.3.0 STORE-UNAVAILABLE"},
		"signer":                {&Denial{Reason: SignerFailed, Defer: true}, "451 4.3.0 SIGNING-UNAVAILABLE"},
		"signing key":           {&Denial{Reason: SignerFailed, Detail: "key", Defer: true}, "451 4.3.5 SIGNING-UNAVAILABLE"},
		"spool full":            {&Denial{Reason: SpoolFull, Defer: true}, "452 4.3.1 SPOOL-FULL"},
		"stopping":              {&Denial{Reason: Stopping, Defer: true}, "421 4.3.2 SHUTDOWN"},
		"busy":                  {&Denial{Reason: Busy, Defer: true}, "451 4.4.5 BUSY"},
		"deferred policy":       {&Denial{Reason: NoConsent, Defer: true}, "451 4.7.0 NO-CONSENT"},
		"unknown reason":        {&Denial{Reason: "brand-new"}, "451 4.3.0 INTERNAL"},
		"timeout":               {fmt.Errorf("ask: %w", context.DeadlineExceeded), "451 4.3.0 STORE-UNAVAILABLE"},
		"store":                 {fmt.Errorf("ask: %w", consent.ErrStoreUnavailable), "451 4.3.0 STORE-UNAVAILABLE"},
		"wrapped":               {fmt.Errorf("a: %w", fmt.Errorf("b: %w", &Denial{Reason: NoConsent})), "550 5.7.1 NO-CONSENT"},
		"any other error":       {errors.New("dial tcp 10.0.0.1: ann@example.net"), "451 4.3.0 INTERNAL try later; id"},
		"nothing":               {nil, "451 4.3.0 INTERNAL"},
		"foreign text hidden":   {&Denial{Reason: Malformed, Detail: "x\r\n250 ok"}, "554 5.6.0 MALFORMED message"},
		"address in the detail": {&Denial{Reason: HeaderMissing, Detail: "ann@example.net"}, "550 5.7.0 HEADER-MISSING required"},
	} {
		t.Run(name, func(t *testing.T) {
			r := replyFor(tc.err, "id")
			got := fmt.Sprintf("%d %s %s", r.Code, r.Status, r.Text)
			require.True(t, strings.HasPrefix(got, tc.want), "%q", got)
			require.True(t, strings.HasSuffix(got, "; id"))
			require.NotContains(t, got, "@")
		})
	}
}
