package browser

import (
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/chromedp/chromedp"
)

// axePin is the version of axe-core and the SHA-256 of its axe.min.js.
// testmail/env/install.sh fetches that version by npm into the user's cache;
// nothing of it (MPL-2.0) is in this repository or in the binary.
//
//go:embed axe-core.txt
var axePin string

// Finding is a place on a page that axe-core holds to break a rule.
type Finding struct {
	Rule   string `json:"rule"`   // of axe-core, as in "color-contrast"
	Impact string `json:"impact"` // minor, moderate, serious or critical
	Help   string `json:"help"`   // the rule in words
	Target string `json:"target"` // CSS selector
	Reason string `json:"reason"` // what is wrong there
}

// String is one line for a test's output.
func (f Finding) String() string {
	return fmt.Sprintf("%s (%s) at %s: %s: %s", f.Rule, f.Impact, f.Target, f.Help, f.Reason)
}

// runAxe checks the rules of WCAG 2.2 at levels A and AA and axe-core's own
// best practices. What axe-core leaves undecided is no finding.
const runAxe = `axe.run(document, {
	runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
	resultTypes: ["violations"],
}).then(r => r.violations.flatMap(v => v.nodes.map(n => ({
	rule: v.id, impact: v.impact || "", help: v.help, target: n.target.flat().join(" "), reason: n.failureSummary || "",
}))))`

// Axe runs axe-core on the page as it is shown now and gives what it found.
func (p *Page) Axe() []Finding {
	p.t.Helper()
	source, err := axeSource()
	if err != nil {
		p.t.Fatalf("%v", err)
	}
	// Evaluated by the debugger, it passes the page's Content-Security-Policy.
	// Its promises need scripts to be on.
	p.Do(p.scripts(true), chromedp.Evaluate[chromedp.Void](source))
	found := Read(p, chromedp.Evaluate[[]Finding](runAxe, chromedp.EvalAwaitPromise))
	p.Do(p.scripts(!p.noScript))
	return found
}

// Accessible fails the test with every finding of axe-core on the page.
func (p *Page) Accessible() {
	p.t.Helper()
	found := p.Axe()
	if len(found) == 0 {
		return
	}
	lines := make([]string, len(found))
	for i, f := range found {
		lines[i] = f.String()
	}
	p.t.Fatalf("axe-core found %d on %s:\n%s", len(found), Read(p, chromedp.Location()), strings.Join(lines, "\n"))
}

// axeSource reads axe-core where install.sh put it and checks that it is the
// version that was looked at.
func axeSource() (string, error) {
	pin := strings.Fields(axePin)
	cache, err := os.UserCacheDir()
	if err != nil || len(pin) != 2 {
		return "", fmt.Errorf("axe-core: pin %q: %w", axePin, err)
	}
	b, err := os.ReadFile(filepath.Join(cache, "postern-tests", "axe-core-"+pin[0], "axe.min.js"))
	if err != nil {
		return "", fmt.Errorf("axe-core: %w (testmail/env/install.sh fetches it)", err)
	}
	sum := sha256.Sum256(b)
	if got := hex.EncodeToString(sum[:]); got != pin[1] {
		return "", fmt.Errorf("axe-core %s has SHA-256 %s, not %s", pin[0], got, pin[1])
	}
	return string(b), nil
}
