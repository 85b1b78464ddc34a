package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"postern/classifier"
	"postern/gateway/address"
	"postern/gateway/consent"
	"postern/gateway/keys"
	"postern/queue"
	"postern/queue/clock"
	"postern/queue/fulfil"
)

// caseConfig is the example with everything about cases switched on.
func caseConfig(t *testing.T) *Config {
	t.Helper()
	dir := t.TempDir()
	secret := "whsec_" + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, 32))
	for name, text := range map[string]string{"shop.secret": secret, "tickets.secret": secret, "dpa.txt": "We process for you."} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text+"\n"), 0o600))
	}
	text := exampleIn(t, dir)
	text = strings.NewReplacer(
		`#regime = ""`, `regime = "CH"`, `#pause_on_identity = false`, `pause_on_identity = true`, `#target_days = 5`, `target_days = 7`,
		`#four_eyes = []`, `four_eyes = ["erase"]`, `#policy = {}`, `policy = { objection = "propose" }`,
		`#processor_contact = ""`, `processor_contact = "privacy@customer.example.net"`, `#on_objection = "act"`, `on_objection = "forward"`,
		`#support_contact = ""`, `support_contact = "support@example.org"`, `#dpa_template = ""`, `dpa_template = "`+filepath.Join(dir, "dpa.txt")+`"`,
		`#dpa_version = ""`, `dpa_version = "2026-11-01"`, `#confidential = false`, `confidential = true`,
		`#command = ["/usr/local/bin/archive-privacy"]`, `command = ["/bin/true"]`,
	).Replace(text)
	// Everything optional about cases stands between these two headers.
	uncomment := func(from, to string) {
		i := strings.Index(text, from)
		require.Positive(t, i, from)
		j := i + len(text[i:])
		if to != "" {
			j = i + strings.Index(text[i:], to)
		}
		lines := strings.Split(text[i:j], "\n")
		for n, line := range lines {
			if strings.HasPrefix(line, "#") && len(line) > 1 && line[1] != ' ' {
				lines[n] = line[1:]
			}
		}
		text = text[:i] + strings.Join(lines, "\n") + text[j:]
	}
	uncomment("#[[controller.facts]]", "# A stream is one flow")
	uncomment("# The company's own systems", "")
	cfg, err := parseConfig("cases", []byte(text), nil)
	require.NoError(t, err)
	return cfg
}

func TestCasesAreCutOutOfTheConfiguration(t *testing.T) {
	cfg := caseConfig(t)
	var o queue.Options
	require.NoError(t, cfg.handling(&o))
	h := o.Handling["example"]
	require.Equal(t, clock.CH, h.Regime)
	require.Equal(t, 7, h.Target)
	require.Equal(t, []string{queue.EyesErase}, h.FourEyes)
	require.Equal(t, map[classifier.Label]queue.Policy{classifier.Objection: queue.Propose}, h.Policy)
	require.Equal(t, "support@example.org", h.Support)
	require.Equal(t, "2026-11-01", h.DPA.Version)
	require.Contains(t, h.DPA.Text, "We process for you.")
	require.Equal(t, "None outside the EU.", h.Facts[0].Transfers)
	require.Equal(t, "2026-11-01", h.Notices[0].Version)
	require.Equal(t, queue.Processor{To: "privacy@customer.example.net", OnObjection: "forward", BreachWithin: 24 * time.Hour}, o.Processors["example"])
	require.True(t, o.PauseIdentity["example"])
	require.Equal(t, "https://mail.example.org/case/", o.LinkBase["example"])
	require.Equal(t, map[string]string{"privacy": "confidential"}, o.Roles)
	require.Equal(t, 5*24*time.Hour, o.Customers[0].AssistWithin)
	require.Equal(t, []string{"case.open", "case.answer", "notice.*"}, o.Hooks[0].Events)
	require.Equal(t, "proceedings 1 O 1/26", o.LegalHolds[0].Reason)

	n := &node{cfg: cfg}
	list, err := n.connections(cfg)
	require.NoError(t, err)
	names := []string{}
	for _, c := range list {
		names = append(names, c.Connector.Name())
	}
	require.Equal(t, []string{"postern", "shop", "archive", "sales"}, names, "own data is asked first")
	require.Equal(t, "sales@example.org", list[3].Owner.Plain())
	require.Equal(t, 7*24*time.Hour, list[3].Due)
}

// lonelyNode is a node with a Redis in memory of its own.
func lonelyNode(t *testing.T, cfg *Config) *node {
	t.Helper()
	cfg.Redis.AllowVolatile = true
	require.NoError(t, os.MkdirAll(cfg.Data, 0o700))
	_, err := keys.Init(cfg.Keys, time.Now())
	require.NoError(t, err)
	rdb := redis.NewClient(&redis.Options{Addr: miniredis.RunT(t).Addr()})
	t.Cleanup(func() { require.NoError(t, rdb.Close()) })
	n, err := openNode(context.Background(), cfg, nodeOptions{log: slog.New(slog.DiscardHandler), rdb: rdb})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, n.close()) })
	return n
}

// TestOwnData: what Postern holds is given, deleted and gone.
func TestOwnData(t *testing.T) {
	ctx := context.Background()
	cfg := caseConfig(t)
	n := lonelyNode(t, cfg)
	require.NoError(t, n.consent.Check(ctx))
	who := address.MustParse("anna@example.net")
	_, err := n.consent.Record(ctx, consent.Event{Time: time.Now().Add(-time.Hour), Action: consent.Given, Controller: "example", Purpose: "newsletter", Address: who, Basis: consent.Express,
		Method: "cli", Source: "https://shop.example.org/signup", Wording: "Yes, send me Example News.", WordingVer: "1", Actor: "operator:eve"})
	require.NoError(t, err)
	_, err = n.queue.OpenByHand(ctx, queue.ByHand{Controller: "example", Way: "post", Received: time.Now(), Address: who, Text: "words", Labels: []classifier.Label{classifier.Access}, Actor: "operator:eve"})
	require.NoError(t, err)

	own := ownData{n}
	ask := func(v fulfil.Verb, dry bool) fulfil.Outcome {
		t.Helper()
		o, err := own.Do(ctx, fulfil.Request{Key: "k", Verb: v, Case: "PC-7K3Q-X9MD", Controller: "example", Address: who.Plain(), DryRun: dry})
		require.NoError(t, err)
		return o
	}
	o := ask(fulfil.Export, false)
	require.Equal(t, fulfil.Done, o.Status)
	var held struct {
		Consent json.RawMessage
		Cases   []map[string]any
	}
	require.NoError(t, json.Unmarshal(o.Data, &held))
	require.Contains(t, string(held.Consent), "Yes, send me Example News.")
	require.Len(t, held.Cases, 1)
	require.Equal(t, fulfil.Failed, ask(fulfil.Verify, false).Status, "it is still there")
	require.Equal(t, fulfil.Erased, ask(fulfil.Erase, true).Status)
	require.Equal(t, fulfil.Failed, ask(fulfil.Verify, false).Status, "a dry run deletes nothing")
	require.Equal(t, fulfil.Erased, ask(fulfil.Erase, false).Status)
	require.Equal(t, fulfil.NotFound, ask(fulfil.Verify, false).Status)
	// A new policy and notice are taken while it runs; a bad one is not.
	cfg.Controllers[0].SupportContact = "help@example.org"
	cfg.Controllers[0].Notices[0].Version = "2026-11-02"
	require.NoError(t, n.reloadCases(ctx, cfg))
	versions, err := n.queue.NoticeVersions(ctx, "example")
	require.NoError(t, err)
	require.Len(t, versions, 1)
	cfg.Controllers[0].ProcessorContact = "nobody"
	require.Error(t, n.reloadCases(ctx, cfg))

	rows, err := n.wordings(ctx)
	require.NoError(t, err)
	require.Empty(t, rows)
}

// The verb that destroys a file lists what there is, wants a reason, and keeps
// the guards of the queue.
func TestDestroyVerb(t *testing.T) {
	ctx := context.Background()
	cfg := caseConfig(t)
	cfg.LegalHolds = nil
	n := lonelyNode(t, cfg)
	ref, err := n.queue.Open(ctx, queue.Incoming{
		Controller: "example", Mailbox: "privacy", Folder: "INBOX", UIDValidity: 1, UID: 7, MessageID: "7@mail.example.com", ContentHash: strings.Repeat("7", 64),
		Received: time.Now().Add(-time.Hour), From: address.MustParse("anna@example.net"), Subject: "My data", Text: "Please delete my data.",
		Result:      classifier.Result{Language: "en", Kind: classifier.KindRequest, Decided: []classifier.Label{classifier.Erasure}, Asker: "subject"},
		Attachments: []queue.Attachment{{Name: "passport.pdf", Type: "application/pdf", Size: 5, Text: "P1234567"}},
	})
	require.NoError(t, err)
	o := caseOrder{Actor: "operator:eve", Number: ref.Number, Index: -1}
	a, err := n.destroyFile(ctx, o)
	require.NoError(t, err)
	require.Equal(t, `mail 0 file 0: "passport.pdf", application/pdf, 5 octets`, a.Message)
	o.Index, o.Reason = 0, "boredom"
	_, err = n.destroyFile(ctx, o)
	require.ErrorContains(t, err, "identity-paper, not-needed, other-person")
	o.Reason = "identity-paper"
	a, err = n.destroyFile(ctx, o)
	require.NoError(t, err)
	require.Contains(t, a.Message, "destroyed in the case")
	_, err = n.destroyFile(ctx, o)
	require.ErrorContains(t, err, "destroyed already")
	k, _, err := n.queue.Show(ctx, ref.Number)
	require.NoError(t, err)
	require.Empty(t, k.Mails[0].Attachments[0].Text)
	o.Index = -1
	a, err = n.destroyFile(ctx, o)
	require.NoError(t, err)
	require.Contains(t, a.Message, ", destroyed 20")
	o.Index, o.File, o.Status = 0, 9, "removed"
	_, err = n.destroyFile(ctx, o)
	require.ErrorIs(t, err, queue.ErrOrder)

	for _, args := range [][]string{{"X", "0"}, {"X", "0", "0"}, {"X", "0", "0", "--removed", "--reason", "not-needed"}, {"X", "--removed"}, {"X", "0", "first", "--reason", "not-needed"}} {
		code, _, _ := call(t, "", append([]string{"cases", "destroy"}, args...)...)
		require.Equal(t, 1, code, args)
	}
}
