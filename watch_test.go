package main

import (
	"encoding/json"
	"log/slog"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"postern/gateway"
	"postern/gateway/delivery"
	"postern/gateway/keys"
)

// metricsOf joins all rooms as serve does and gives the metrics they register,
// with their labels.
func metricsOf(t *testing.T) map[string][]string {
	t.Helper()
	dir := t.TempDir()
	cfg, err := parseConfig("postern.toml", []byte(strings.ReplaceAll(watchConfig, "DIR", dir)), nil)
	require.NoError(t, err)
	require.NoError(t, os.MkdirAll(cfg.Data, 0o700))
	_, err = keys.Init(cfg.Keys, time.Now())
	require.NoError(t, err)
	rdb := redis.NewClient(&redis.Options{Addr: miniredis.RunT(t).Addr()})
	t.Cleanup(func() { _ = rdb.Close() })
	n, err := openNode(t.Context(), cfg, nodeOptions{log: slog.New(slog.DiscardHandler), rdb: rdb})
	require.NoError(t, err)
	t.Cleanup(func() { _ = n.close() })
	o, err := cfg.serverOptions(n)
	require.NoError(t, err)
	_, err = gateway.NewServer(n.engine, o)
	require.NoError(t, err)
	hops, err := cfg.deliveryOptions(n)
	require.NoError(t, err)
	_, err = delivery.New(n.spool, n.engine, hops)
	require.NoError(t, err)
	poller, err := n.newPoller()
	require.NoError(t, err)
	_, err = n.publicServer()
	require.NoError(t, err)
	_, err = n.newConsole(poller)
	require.NoError(t, err)
	_, err = n.newAPI(&health{node: n, poller: poller})
	require.NoError(t, err)

	ch := make(chan *prometheus.Desc)
	go func() { n.metrics.Describe(ch); close(ch) }()
	out := map[string][]string{}
	shape := regexp.MustCompile(`fqName: "([^"]+)".*constLabels: \{([^}]*)\}, variableLabels: \{([^}]*)\}`)
	for d := range ch {
		m := shape.FindStringSubmatch(d.String())
		require.NotNil(t, m, d.String())
		var labels []string
		for _, l := range strings.Split(m[2]+","+m[3], ",") {
			if name, _, _ := strings.Cut(l, "="); name != "" {
				labels = append(labels, name)
			}
		}
		out[m[1]] = labels
	}
	return out
}

const watchConfig = `
hostname = "mx-out.example.org"
data = "DIR/data"
[redis]
url = "redis://127.0.0.1:1/0"
allow_volatile = true
[public]
listen = "127.0.0.1:0"
url = "https://mail.example.org"
[[controller]]
id = "example"
name = "Example Shop"
postal = "1 Market Street"
contact = "privacy@example.org"
authority = "the authority"
country = "DE"
domains = ["example.org"]
[[stream]]
name = "service"
number = 1
kind = "service"
controller = "example"
from_domains = ["example.org"]
[[listener]]
name = "smtp"
address = "127.0.0.1:0"
[[listener.client]]
name = "tool"
networks = ["127.0.0.1"]
streams = ["service"]
default = "service"
[[smarthost]]
name = "relay"
address = "127.0.0.1:1"
tls = "none"
`

var (
	metricName = regexp.MustCompile(`postern_[a-z_]+[a-z]`)
	byLabels   = regexp.MustCompile(`(?:by|without) \(([^)]*)\)`)
	selector   = regexp.MustCompile(`(postern_[a-z_]+[a-z])\{([^}]*)\}`)
)

// known checks that an expression names metrics, and labels of them, that exist.
func known(t *testing.T, have map[string][]string, where, expr string) {
	t.Helper()
	labels := []string{"instance", "job", "le"}
	for _, name := range metricName.FindAllString(expr, -1) {
		base := name
		for _, suffix := range []string{"_bucket", "_sum", "_count"} {
			if _, is := have[name]; !is {
				base = strings.TrimSuffix(base, suffix)
			}
		}
		own, is := have[base]
		require.True(t, is, "%s asks for %s, which does not exist", where, name)
		labels = append(labels, own...)
	}
	for _, m := range selector.FindAllStringSubmatch(expr, -1) {
		for _, part := range strings.Split(m[2], ",") {
			label := strings.TrimSpace(part[:strings.IndexAny(part, "=!")])
			require.Contains(t, append([]string{"instance", "job"}, have[m[1]]...), label, "%s: %s has no label %s", where, m[1], label)
		}
	}
	for _, m := range byLabels.FindAllStringSubmatch(expr, -1) {
		for _, label := range strings.Split(m[1], ",") {
			require.Contains(t, labels, strings.TrimSpace(label), where)
		}
	}
}

// Alerts, dashboard and documentation name what the binary has, and the
// documentation names all of it.
func TestWatchNamesWhatExists(t *testing.T) {
	have := metricsOf(t)
	var rules struct {
		Groups []struct {
			Rules []struct {
				Alert, Expr string
				Annotations map[string]string
				Labels      map[string]string
			}
		}
	}
	raw, err := os.ReadFile("deploy/alerts.rules.yml")
	require.NoError(t, err)
	require.NoError(t, yaml.Unmarshal(raw, &rules))
	for _, g := range rules.Groups {
		for _, r := range g.Rules {
			known(t, have, r.Alert, r.Expr)
			require.NotEmpty(t, r.Annotations["summary"], r.Alert)
			require.NotEmpty(t, r.Annotations["action"], r.Alert)
			require.Contains(t, []string{"page", "ticket"}, r.Labels["severity"], r.Alert)
		}
	}
	var board struct {
		Panels []struct {
			Title   string
			Type    string
			Targets []struct{ Expr string }
		}
	}
	raw, err = os.ReadFile("deploy/grafana-dashboard.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(raw, &board))
	asked := 0
	for _, p := range board.Panels {
		require.Equal(t, p.Type == "row", len(p.Targets) == 0, p.Title)
		for _, target := range p.Targets {
			known(t, have, p.Title, target.Expr)
			asked++
		}
	}
	require.Greater(t, asked, 40)

	doc, err := os.ReadFile("deploy/docs/metrics.md")
	require.NoError(t, err)
	line := regexp.MustCompile("(?m)^\\| `(postern_[a-z_]+)` \\|([a-z, ]*)\\| .+ \\|$")
	described := map[string]bool{}
	for _, m := range line.FindAllStringSubmatch(string(doc), -1) {
		labels, is := have[m[1]]
		require.True(t, is, "metrics.md describes %s, which does not exist", m[1])
		want := strings.FieldsFunc(m[2], func(r rune) bool { return r == ',' || r == ' ' })
		slices.Sort(want)
		got := slices.Clone(labels)
		slices.Sort(got)
		require.Equal(t, len(want), len(got), m[1])
		if len(got) > 0 {
			require.Equal(t, want, got, m[1])
		}
		described[m[1]] = true
	}
	name := regexp.MustCompile(`^postern_(gateway|spool|delivery|consent|unsubscribe|portal|intake|queue|ledger|node|api|console)_[a-z_]+$`)
	for metric, labels := range have {
		if strings.HasPrefix(metric, "go_") || strings.HasPrefix(metric, "process_") {
			continue
		}
		require.Regexp(t, name, metric)
		require.True(t, described[metric], "%s has no line in metrics.md", metric)
		for _, l := range labels {
			require.NotContains(t, []string{"address", "domain", "recipient", "case", "subject", "client"}, l, metric)
		}
	}
}

// The rules parse, and fire when they shall.
func TestAlertRules(t *testing.T) {
	for _, args := range [][]string{{"check", "rules", "deploy/alerts.rules.yml"}, {"test", "rules", "deploy/alerts_test.yml"}} {
		out, err := exec.CommandContext(t.Context(), "promtool", args...).CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
}
