package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// verifier checks every signature of a message with Debian's python3-dkim, an
// implementation that shares nothing with ours; keys come from a file.
const verifier = `
import dkim, json, sys
keys = json.load(open(sys.argv[1]))
msg = open(sys.argv[2], "rb").read()
d = dkim.DKIM(msg)
n = msg.split(b"\r\n\r\n")[0].lower().count(b"dkim-signature:")
for i in range(n):
    ok = d.verify(idx=i, dnsfunc=lambda name, timeout=5: keys[name.decode().rstrip(".")].encode())
    print("ok" if ok else "bad", d.signature_fields[b"a"].decode(), "".join(d.signature_fields[b"h"].decode().lower().split()))
`

func TestSignaturesVerifyElsewhere(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	records := map[string]string{}
	conf := ""
	for selector, algorithm := range map[string]string{"r1": "rsa", "e1": "ed25519"} {
		key := filepath.Join(dir, selector+".pem")
		out, err := exec.Command(binary, "--json", "dkim", "keygen", "example.org", selector, "--algorithm", algorithm, "--out", key).Output()
		require.NoError(t, err, "%s", out)
		var record struct{ Name, Txt string }
		require.NoError(t, json.Unmarshal(out, &record))
		records[strings.TrimSuffix(record.Name, ".")] = record.Txt
		conf += "[[dkim]]\ndomain = \"example.org\"\nselector = \"" + selector + "\"\nkey = \"" + key + "\"\n"
	}
	keys := filepath.Join(dir, "keys.json")
	b, err := json.Marshal(records)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(keys, b, 0o600))
	script := filepath.Join(dir, "verify.py")
	require.NoError(t, os.WriteFile(script, []byte(verifier), 0o600))

	s := newSite(t, func(c *siteConfig) { c.Sign, c.Extra = "dkim", conf })
	s.grant("anna@example.net")
	body := filepath.Join(dir, "body.eml")
	require.NoError(t, os.WriteFile(body, []byte("Date: Tue, 24 Nov 2026 10:00:00 +0100\nFrom: News <news@example.org>\nTo: anna@example.net\nSubject: Offers\nMessage-ID: <k1@example.org>\nMIME-Version: 1.0\nContent-Type: multipart/alternative; boundary=b\n\n--b\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n\nBread  and socks=2E\nStop: {{unsubscribe_url}}\n\n--b\nContent-Type: text/html; charset=utf-8\n\n<p>Bread</p><a href=\"{{unsubscribe_url}}\">Stop</a> <a href=\"{{preferences_url}}\">Choose</a>\n--b--\n\n\n"), 0o600))
	out, code := swaks(t, s.SMTP, "--from", "news@example.org", "--to", "anna@example.net", "--data", "@"+body)
	require.Zero(t, code, out)
	s.wait("anna@example.net", 1)
	got := s.data("anna@example.net")
	require.NotContains(t, got, "{{", "the placeholders are filled in before signing")
	file := filepath.Join(dir, "got.eml")
	require.NoError(t, os.WriteFile(file, []byte(got), 0o600))
	res, err := exec.Command("/usr/bin/python3", script, keys, file).CombinedOutput()
	require.NoError(t, err, "%s", res)
	lines := strings.Split(strings.TrimSpace(string(res)), "\n")
	require.Len(t, lines, 2, "%s", res)
	seen := map[string]bool{}
	for _, line := range lines {
		f := strings.Fields(line)
		require.Equal(t, "ok", f[0], line)
		seen[f[1]] = true
		for _, field := range []string{"from", "subject", "date", "to", "message-id", "list-unsubscribe", "list-unsubscribe-post", "list-id"} {
			require.Contains(t, ":"+f[2]+":", ":"+field+":", line)
		}
		from := 0
		for _, field := range strings.Split(f[2], ":") {
			if field == "from" {
				from++
			}
		}
		require.Equal(t, 2, from, "From is signed once more than present: %s", line)
	}
	require.Equal(t, map[string]bool{"rsa-sha256": true, "ed25519-sha256": true}, seen)
}
