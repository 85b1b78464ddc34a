package intake

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"postern/queue"
	"postern/testmail/env"
)

// The original is found by its bytes on a real Dovecot, also where another
// mail has the same id or it has none, and not where it is gone.
func TestOriginal(t *testing.T) {
	d := env.Dovecot(t)
	forged := "From: m@example.com\r\nMessage-ID: <one@example.com>\r\nSubject: x\r\n\r\nforged\r\n"
	real := strings.Replace(forged, "forged", "real", 1)
	bare := "From: m@example.com\r\nSubject: x\r\n\r\nno id\r\n"
	for _, raw := range []string{forged, real, bare} {
		d.Deliver([]byte(raw))
	}
	in := func(raw, id string) queue.Incoming {
		sum := sha256.Sum256([]byte(raw))
		return queue.Incoming{Mailbox: "privacy", MessageID: id, ContentHash: hex.EncodeToString(sum[:]), Received: time.Now()}
	}
	eventually(t, "delivered", func() bool {
		got, err := Original(t.Context(), realBox(d), in(real, "one@example.com"))
		return err == nil && string(got) == real
	})
	got, err := Original(t.Context(), realBox(d), in(bare, ""))
	require.NoError(t, err)
	require.Equal(t, bare, string(got))
	_, err = Original(t.Context(), realBox(d), in("other bytes", "one@example.com"))
	require.ErrorIs(t, err, queue.ErrUnknown)
}
