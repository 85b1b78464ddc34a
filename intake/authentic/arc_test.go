package authentic

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"postern/intake/mime"
	"postern/queue"
)

// sealer seals a mail with Debian's python3-dkim, an implementation that
// shares nothing with ours.
const sealer = `
import dkim, sys
key = open(sys.argv[2], "rb").read()
domain = sys.argv[1].encode()
msg = sys.stdin.buffer.read()
dkim.dnsplug.get_txt = dkim.get_txt = None
dns = {}
for line in open(sys.argv[3]):
    name, txt = line.rstrip("\n").split(" ", 1)
    dns[name] = txt.encode()
real = dkim.ARC.verify
dkim.ARC.verify.__defaults__ = (lambda name, timeout=5: dns[name.decode().rstrip(".")], 1024)
out = dkim.arc_sign(msg, b"s1", domain, key, domain, include_headers=[b"from", b"to", b"subject", b"date", b"message-id"])
sys.stdout.buffer.write(b"".join(out) + msg)
`

const plain = "From: Ada <ada@example.net>\r\nTo: privacy@example.org\r\nSubject: my data\r\nDate: Tue, 24 Nov 2026 09:59:00 +0000\r\nMessage-ID: <a1@example.net>\r\n\r\nPlease  erase my data. \r\n\r\n"

// chain is a set of sealers with their keys.
type chain struct {
	t   *testing.T
	dir string
	dns map[string]string
}

func newChain(t *testing.T) *chain {
	c := &chain{t: t, dir: t.TempDir(), dns: map[string]string{}}
	require.NoError(t, os.WriteFile(filepath.Join(c.dir, "seal.py"), []byte(sealer), 0o600))
	return c
}

func (c *chain) key(domain string) string {
	path := filepath.Join(c.dir, domain+".pem")
	if c.dns["s1._domainkey."+domain] != "" {
		return path
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(c.t, err)
	pub, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	require.NoError(c.t, err)
	c.dns["s1._domainkey."+domain] = "v=DKIM1; k=rsa; p=" + base64.StdEncoding.EncodeToString(pub)
	block := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	require.NoError(c.t, os.WriteFile(path, block, 0o600))
	return path
}

// seal adds what the domain saw, and its ARC set.
func (c *chain) seal(raw []byte, domain, saw string) []byte {
	key := c.key(domain)
	zone := ""
	for name, txt := range c.dns {
		zone += name + " " + txt + "\n"
	}
	zoneFile := filepath.Join(c.dir, "zone")
	require.NoError(c.t, os.WriteFile(zoneFile, []byte(zone), 0o600))
	cmd := exec.Command("/usr/bin/python3", filepath.Join(c.dir, "seal.py"), domain, key, zoneFile)
	cmd.Stdin = bytes.NewReader(append([]byte("Authentication-Results: "+domain+"; "+saw+"\r\n"), raw...))
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	require.NoError(c.t, err, errs.String())
	return out
}

func (c *chain) lookup(name string) ([]string, error) {
	if txt, ok := c.dns[name]; ok {
		return []string{txt}, nil
	}
	return nil, errors.New("no such record")
}

func (c *chain) grade(raw []byte, sealers ...string) (queue.Grade, string) {
	h := mime.Headers(raw)
	return Grade(raw, h, "example.net", time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC), Options{AuthServID: "mx.example.org", ARCSealers: sealers, LookupTXT: c.lookup, Addresses: []string{"privacy@example.org"}})
}

// TestAUTHN7 reads ARC only from sealers that are configured, and only where
// the whole chain holds.
func TestAUTHN7(t *testing.T) {
	c := newChain(t)
	once := c.seal([]byte(plain), "forward.example.com", "dmarc=pass header.from=example.net")
	twice := c.seal(once, "list.example.com", "dmarc=fail header.from=example.net; arc=pass")
	failed := append([]byte("Authentication-Results: mx.example.org; dmarc=fail header.from=example.net\r\n"), once...)
	for name, tc := range map[string]struct {
		raw     []byte
		sealers []string
		want    queue.Grade
	}{
		"sealed by one we believe":             {once, []string{"forward.example.com"}, queue.Likely},
		"though the border saw it broken":      {failed, []string{"forward.example.com"}, queue.Likely},
		"sealed by a stranger":                 {once, []string{"other.example.com"}, queue.Unknown},
		"by nobody configured":                 {once, nil, queue.Unknown},
		"two hops, both believed":              {twice, []string{"forward.example.com", "list.example.com"}, queue.Likely},
		"two hops, the last alone is believed": {twice, []string{"list.example.com"}, queue.Unknown},
		"two hops, the last is a stranger":     {twice, []string{"forward.example.com"}, queue.Unknown},
		"body changed":                         {bytes.Replace(once, []byte("erase my"), []byte("erase all"), 1), []string{"forward.example.com"}, queue.Unknown},
		"From changed":                         {bytes.Replace(once, []byte("Ada <ada@"), []byte("Eve <eve@"), 1), []string{"forward.example.com"}, queue.Unknown},
		"results forged": {bytes.Replace(c.seal([]byte(plain), "forward.example.com", "dmarc=fail header.from=example.net"), []byte("dmarc=fail"), []byte("dmarc=pass"), -1),
			[]string{"forward.example.com"}, queue.Unknown},
		"white space at line ends is free": {bytes.Replace(once, []byte("erase my data. \r\n"), []byte("erase my data.\r\n"), 1), []string{"forward.example.com"}, queue.Likely},
		"no From under the signature":      {bytes.Replace(once, []byte("h=from :"), []byte("h="), 1), []string{"forward.example.com"}, queue.Unknown},
	} {
		t.Run(name, func(t *testing.T) {
			got, why := c.grade(tc.raw, tc.sealers...)
			require.Equal(t, tc.want, got, why)
		})
	}
}

// TestChainsThatAreNone go wrong in shape before any key is asked for.
func TestChainsThatAreNone(t *testing.T) {
	c := newChain(t)
	good := string(c.seal([]byte(plain), "forward.example.com", "dmarc=pass header.from=example.net"))
	asked := 0
	lookup := func(name string) ([]string, error) { asked++; return c.lookup(name) }
	set := func(n string) string {
		return "ARC-Seal: i=" + n + "; a=rsa-sha256; d=forward.example.com; s=s1; cv=pass; b=AA==\r\nARC-Message-Signature: i=" + n + "; a=rsa-sha256; c=relaxed/relaxed; d=forward.example.com; s=s1; h=from; bh=AA==; b=AA==\r\nARC-Authentication-Results: i=" + n + "; x; dmarc=pass\r\n"
	}
	for name, raw := range map[string]string{
		"instance twice":     "ARC-Seal: i=1; cv=none; d=forward.example.com\r\n" + good,
		"instance 0":         set("0") + good,
		"instance 51":        set("51") + good,
		"a gap":              set("3") + good,
		"first says pass":    strings.Replace(good, "cv=none", "cv=pass", 1),
		"too many":           set("2") + set("3") + set("4") + set("5") + set("6") + good,
		"no message signed":  strings.Replace(good, "ARC-Message-Signature:", "X-Message-Signature:", 1),
		"instance no number": strings.Replace(good, "ARC-Seal: i=1", "ARC-Seal: i=one", 1),
	} {
		t.Run(name, func(t *testing.T) {
			said, err := arcSaid([]byte(raw), []string{"forward.example.com"}, lookup)
			require.ErrorIs(t, err, errChain)
			require.False(t, said.Found)
		})
	}
	require.Zero(t, asked)
}
