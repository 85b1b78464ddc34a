package spool

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"postern/gateway/address"
)

func drawMessage(t *rapid.T) *Message {
	text := rapid.StringN(0, 40, 80)
	addr := rapid.SampledFrom([]string{"a@example.org", "jörg@example.org", `"odd name"@example.org`, "x+y@xn--bcher-kva.example", "p@[192.0.2.1]"})
	at := func(name string) time.Time {
		if n := rapid.Int64Range(-1, 1<<61).Draw(t, name); n > 0 {
			return time.Unix(0, n).UTC()
		}
		return time.Time{}
	}
	m := &Message{
		Received: at("received"), Expires: at("expires"), Stream: rapid.Uint16().Draw(t, "stream"), Client: text.Draw(t, "client"),
		Ret: text.Draw(t, "ret"), EnvID: text.Draw(t, "envid"), MessageID: text.Draw(t, "mid"), UTF8: rapid.Bool().Draw(t, "utf8"),
		EightBit: rapid.Bool().Draw(t, "8bit"), Shared: rapid.Bool().Draw(t, "shared"), Marketing: rapid.Bool().Draw(t, "marketing"), RequireTLS: rapid.Bool().Draw(t, "tls"),
		Header: []byte(text.Draw(t, "header")), BodySize: rapid.Int64Range(0, 1<<40).Draw(t, "size"), Recipients: []Recipient{},
	}
	if rapid.Bool().Draw(t, "null") {
		m.ReversePath = address.MustParse(addr.Draw(t, "from"))
	}
	for range rapid.IntRange(0, 4).Draw(t, "recipients") {
		r := Recipient{Address: address.MustParse(addr.Draw(t, "to")), Notify: text.Draw(t, "notify"), ORcpt: text.Draw(t, "orcpt"),
			State: rapid.SampledFrom(stateCodes[:]).Draw(t, "state"), Attempts: rapid.IntRange(0, 99).Draw(t, "attempts"), Next: at("next"),
			Code: rapid.IntRange(0, 599).Draw(t, "code"), Status: text.Draw(t, "status"), Reply: text.Draw(t, "reply"),
			Host: text.Draw(t, "host"), Warned: rapid.Bool().Draw(t, "warned")}
		if rapid.Bool().Draw(t, "subject") {
			r.Subject[3] = 7
		}
		m.Recipients = append(m.Recipients, r)
	}
	return m
}

func TestCodecRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := drawMessage(t)
		got, err := decodeMeta(appendMeta(nil, m))
		require.NoError(t, err)
		require.Equal(t, m, got)
		for i := range m.Recipients {
			got.Recipients[i] = Recipient{Address: m.Recipients[i].Address, Subject: m.Recipients[i].Subject,
				Notify: m.Recipients[i].Notify, ORcpt: m.Recipients[i].ORcpt}
		}
		var frames []byte
		for i := range m.Recipients {
			old := Recipient{State: Failed, Reply: "overwritten"}
			frames = appendFrame(frames, i, &old)
			frames = appendFrame(frames, i, &m.Recipients[i])
		}
		require.NoError(t, applyFrames(got, frames))
		require.Equal(t, m, got)
	})
}

func FuzzDecodeMeta(f *testing.F) {
	f.Add(appendMeta(nil, message("a@example.org", "b@example.net")))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := decodeMeta(b)
		if err != nil {
			require.ErrorIs(t, err, ErrDamaged)
			return
		}
		again, err := decodeMeta(appendMeta(nil, m))
		require.NoError(t, err)
		require.Equal(t, m, again)
	})
}

func FuzzApplyFrames(f *testing.F) {
	m := message("a@example.org", "b@example.net")
	f.Add(appendFrame(nil, 1, &m.Recipients[1]))
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := applyFrames(message("a@example.org", "b@example.net"), b); err != nil {
			require.ErrorIs(t, err, ErrDamaged)
		}
	})
}
