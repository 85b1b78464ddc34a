package consent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"postern/gateway/address"
)

// list is what an operator says of the list as a whole.
func list(name string) ImportOptions {
	return ImportOptions{Controller: "acme", Purpose: "news", Name: name, Source: "https://example.org/signup", Wording: "Yes please", WordingVer: "v1"}
}

func TestImportOfOtherToolsExports(t *testing.T) {
	const enabled, gone = "on@example.org", "off@example.org"
	for _, c := range []struct {
		name, file, csv string
		format          Format
		subscribed      bool
		want            map[string]Answer
		refused         int
	}{
		{"mailchimp subscribed", "subscribed_members.csv", "Email Address,First Name,MEMBER_RATING,OPTIN_TIME,OPTIN_IP,CONFIRM_TIME,CONFIRM_IP,LAST_CHANGED,LEID,EUID\n" +
			enabled + ",A,2,2026-01-01 10:00:00,,2026-01-01 10:05:00,192.0.2.1,2026-01-02 00:00:00,1,ab\n", FormatMailchimp, false,
			map[string]Answer{enabled: {Status: StatusActive}}, 0},
		{"mailchimp unsubscribed", "unsubscribed_members.csv", "Email Address,UNSUB_TIME,UNSUB_REASON,LEID,EUID\n" + gone + ",2026-01-03 10:00:00,NORMAL,1,ab\nspam@example.org,2026-01-03 10:00:00,ABUSE: spam,1,ab\n",
			FormatMailchimp, false, map[string]Answer{gone: {Suppressed: Unsubscribed}, "spam@example.org": {Suppressed: Complained}}, 0},
		{"mailchimp cleaned", "cleaned_members.csv", "Email Address,CLEAN_TIME,LEID,EUID\n" + gone + ",2026-01-03 10:00:00,1,ab\n", FormatMailchimp, false, map[string]Answer{gone: {Suppressed: Bounced}}, 0},
		{"mailchimp never subscribed", "/tmp/nonsubscribed_members.csv", "Email Address,OPTIN_TIME,LEID,EUID\n" + gone + ",2026-01-03 10:00:00,1,ab\n", FormatMailchimp, false, map[string]Answer{gone: {}}, 1},
		{"brevo", "b.csv", "CONTACT ID;EMAIL;EMAIL_BLACKLISTED;DOUBLE_OPT-IN;ADDED_TIME;MODIFIED_TIME\n1;" + enabled + ";no;Yes;03-01-2026 10:00:00;03-01-2026 10:00:00\n2;" + gone +
			";yes;;03-01-2026 10:00:00;04-01-2026 10:00:00\n3;wait@example.org;no;2;03-01-2026 10:00:00;\n", FormatBrevo, false,
			map[string]Answer{enabled: {Status: StatusActive}, gone: {Suppressed: Unsubscribed}, "wait@example.org": {}}, 0},
		{"brevo without status", "b.csv", "CONTACT ID,EMAIL,ADDED_TIME,MODIFIED_TIME\n1," + enabled + ",03-01-2026 10:00:00,\n", FormatBrevo, false, map[string]Answer{enabled: {Status: StatusUnproven}}, 0},
		{"brevo with the operator's word", "b.csv", "CONTACT ID,EMAIL,ADDED_TIME,MODIFIED_TIME\n1," + enabled + ",03-01-2026 10:00:00,\n", FormatBrevo, true, map[string]Answer{enabled: {Status: StatusActive}}, 0},
		{"sendgrid contacts", "c.csv", "EMAIL,FIRST_NAME,CONTACT_ID,CREATED_AT,UPDATED_AT\n" + enabled + ",A,x,2026-01-03T10:00:00Z,2026-01-03T10:00:00Z\n", FormatSendGrid, false, map[string]Answer{enabled: {Status: StatusActive}}, 0},
		{"sendgrid global unsubscribes", "suppression_unsubscribes.csv", "email,created\n" + gone + ",1767434400\n", FormatSendGrid, false, map[string]Answer{gone: {Suppressed: Unsubscribed, Scope: ScopeController}}, 0},
		{"sendgrid bounces", "suppression_bounces.csv", "status,reason,email,created\n5.1.1,550 no,\"" + gone + "\",1767434400\n", FormatSendGrid, false, map[string]Answer{gone: {Suppressed: Bounced}}, 0},
		{"sendgrid spam reports", "suppression_spam_reports.csv", "ip,email,created\n192.0.2.1," + gone + ",1767434400\n", FormatSendGrid, false, map[string]Answer{gone: {Suppressed: Complained}}, 0},
		{"sendgrid blocks", "suppression_blocks.csv", "reason,email,created\n450," + gone + ",1767434400\n", FormatSendGrid, false, map[string]Answer{gone: {}}, 1},
		{"listmonk", "l.csv", "uuid,email,name,attributes,status,created_at,updated_at\nu," + enabled + ",A,{},enabled,2026-01-03 10:00:00.123456+00:00,\nu," + gone +
			",B,{},blocklisted,2026-01-03 10:00:00+00,2026-01-04 10:00:00+00\n", FormatListmonk, false, map[string]Answer{enabled: {Status: StatusUnproven}, gone: {Suppressed: Unsubscribed, Scope: ScopeController}}, 0},
		{"listmonk with the operator's word", "l.csv", "uuid,email,name,attributes,status,created_at,updated_at\nu," + enabled + ",A,\"{\"\"a\"\": 1}\",enabled,2026-01-03T10:00:00Z,\n", FormatListmonk, true, map[string]Answer{enabled: {Status: StatusActive}}, 0},
		{"mailjet", "m.csv", "Email,Name,IsUnsubscribed,IsExcludedFromCampaigns,IsOptInPending,IsSpamComplaining,SubscribedAt,UnsubscribedAt\n" +
			enabled + ",A,false,false,false,false,2026-01-03T10:00:00Z,\n" + gone + ",B,true,false,false,false,2026-01-03T10:00:00Z,2026-01-04T10:00:00Z\n" +
			"all@example.org,C,false,true,,,,\nspam@example.org,D,false,false,false,true,,\nwait@example.org,E,false,false,true,false,,\n", FormatMailjet, false,
			map[string]Answer{enabled: {Status: StatusActive}, gone: {Suppressed: Unsubscribed, Scope: ScopePurpose}, "all@example.org": {Suppressed: Unsubscribed, Scope: ScopeController},
				"spam@example.org": {Suppressed: Complained}, "wait@example.org": {}}, 0},
		{"own, with mark and semicolons", "o.csv", "\ufeffAddress;Time;Action;Scope\r\n" + enabled + ";2026-01-03;confirmed;\r\n" + gone + ";;unsubscribed;controller\r\n", FormatPostern, false,
			map[string]Answer{enabled: {Status: StatusActive}, gone: {Suppressed: Unsubscribed, Scope: ScopeController}}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := newRig(t)
			o := list(c.file)
			o.Subscribed = c.subscribed
			rep, err := g.Import(context.Background(), strings.NewReader(c.csv), o)
			require.NoError(t, err)
			require.Equal(t, c.format, rep.Format)
			require.Equal(t, c.refused, rep.RefusedRows, "%v", rep.Refused)
			for plain, want := range c.want {
				got := ask(t, g.Registry, address.MustParse(plain))
				require.Equal(t, want.Status, got.Status, plain)
				require.Equal(t, want.Suppressed, got.Suppressed, plain)
				if want.Scope != "" {
					require.Equal(t, want.Scope, got.Scope, plain)
				}
			}
		})
	}
}

func TestImportRefusesHeadersItDoesNotKnow(t *testing.T) {
	g := newRig(t)
	for _, c := range []struct {
		csv    string
		format Format
		want   string
	}{
		{"", "", "header"},
		{"name,phone\n", "", "fits none"},
		{"address\n", FormatBrevo, "not that of a brevo"},
		{"address\n", "other", "is none of"},
		{"address,Address\n", "", "two columns"},
	} {
		o := list("x.csv")
		o.Format = c.format
		_, err := g.Import(context.Background(), strings.NewReader(c.csv), o)
		require.ErrorContains(t, err, c.want)
	}
	_, err := g.Import(context.Background(), strings.NewReader("address\n"), ImportOptions{})
	require.ErrorIs(t, err, ErrRefused)
}

func TestCON_17_ImportWithoutProofIsNeverMailed(t *testing.T) {
	both(t, func(t *testing.T, g *rig) {
		header := "address,time,source,wording,wording_version,action,jurisdiction\n"
		for i, row := range []string{
			",https://x,Yes,v1,confirmed,", "2026-01-03,,Yes,v1,confirmed,", "2026-01-03,https://x,,v1,confirmed,", "2026-01-03,https://x,Yes,,confirmed,",
			"2026-01-03,https://x,Yes,v1,given,DE", // a place that wants double opt-in
		} {
			a := person(i)
			rep, err := g.Import(context.Background(), strings.NewReader(header+a.Plain()+","+row+"\n"), ImportOptions{Controller: "acme", Purpose: "news"})
			require.NoError(t, err)
			require.Equal(t, 1, rep.Unproven, row)
			require.Equal(t, StatusUnproven, ask(t, g.Registry, a).Status)
		}
		// No order of imports and opt-outs makes anyone mailable again.
		full := header + "mina@example.org,2026-02-28,https://x,Yes,v1,confirmed,\n"
		g.suppress(t, unsub(mina))
		g.record(t, Event{Action: Withdrawn, Controller: "acme", Purpose: "news", Address: tagMn, Method: "page"})
		for range 2 {
			rep, err := g.Import(context.Background(), strings.NewReader(full+strings.Replace(full, header+"mina@", "Mina+shop@", 1)), ImportOptions{Controller: "acme", Purpose: "news", Actor: "operator:desk"})
			require.NoError(t, err)
			require.Zero(t, rep.Active)
		}
		require.NoError(t, g.Release(context.Background(), Release{Controller: "acme", Address: mina, Actor: "operator:desk", Reason: "wrong person"}))
		require.Equal(t, StatusWithdrawn, ask(t, g.Registry, mina).Status)
	})
}

func TestImportDryRunStoresNothing(t *testing.T) {
	g := newRig(t)
	o := list("x.csv")
	o.DryRun = true
	var steps []int
	o.Progress = func(r Report) { steps = append(steps, r.Rows) }
	refused := 0
	o.OnRefused = func(Refusal) { refused++ }
	var in strings.Builder
	in.WriteString("address,time,action\n")
	for i := range 2500 {
		fmt.Fprintf(&in, "p%d@example.org,2026-01-03,%s\n", i, []string{"confirmed", "unsubscribed", "nonsense"}[i%3])
	}
	rep, err := g.Import(context.Background(), strings.NewReader(in.String()), o)
	require.NoError(t, err)
	require.Equal(t, []int{834, 833, 833}, []int{rep.Active, rep.Suppressed, rep.RefusedRows})
	require.Equal(t, 833, refused)
	require.Equal(t, []int{1000, 2000, 2500}, steps)
	require.Empty(t, g.trail.actions())
	for _, k := range g.mini.Keys() {
		require.Equal(t, keyNodes, k)
	}
	require.Contains(t, rep.Summary(), "would be imported")
}

func TestImportStopsWhereTheReaderOrRedisDoes(t *testing.T) {
	g := newRig(t)
	broken := io.MultiReader(strings.NewReader("address,time,action\na@example.org,2026-01-03,unsubscribed\n"), &failing{})
	_, err := g.Import(context.Background(), broken, list("x.csv"))
	require.ErrorContains(t, err, "disk gone")
	require.Empty(t, ask(t, g.Registry, address.MustParse("a@example.org")).Suppressed, "told as failed")
	g.mini.SetError("LOADING")
	_, err = g.Import(context.Background(), strings.NewReader(csvOf(3)), list("x.csv"))
	require.ErrorIs(t, err, ErrStoreUnavailable)
	_, err = g.Import(context.Background(), strings.NewReader("address,action\nb@example.org,unsubscribed\n"), list("x.csv"))
	require.ErrorIs(t, err, ErrStoreUnavailable)
	g.mini.SetError("")
	require.Equal(t, Unsubscribed, ask(t, g.Registry, address.MustParse("b@example.org")).Suppressed, "opt-outs bind from the journal")
}

type failing struct{}

func (*failing) Read([]byte) (int, error) { return 0, errors.New("disk gone") }

func FuzzImport(f *testing.F) {
	f.Add("address,time,action\nmina@example.org,2026-01-03,given\n")
	f.Add("Email Address;EUID;UNSUB_TIME\n\"mina@example.org;1;2026\n")
	f.Add("uuid,email,attributes,status\nu,mina@example.org,{},enabled")
	f.Add("\ufeffemail,created\nmina@example.org,1767434400\r\n\x00")
	f.Fuzz(func(t *testing.T, in string) {
		g := newRig(t)
		g.suppress(t, Suppression{Controller: "acme", Address: mina, Scope: ScopeController, Reason: ObjectedTo})
		rep, err := g.Import(context.Background(), strings.NewReader(in), list("x.csv"))
		if err == nil {
			require.Equal(t, rep.Rows, rep.Active+rep.Unproven+rep.Pending+rep.Suppressed+rep.Kept+rep.Repeated+rep.RefusedRows, "every row is accounted for")
		}
		require.NotEmpty(t, ask(t, g.Registry, mina).Suppressed)
	})
}
