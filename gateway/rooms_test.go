package gateway

import (
	"postern/gateway/consent"
	"postern/gateway/dkim"
	"postern/gateway/spool"
	"postern/gateway/unsubscribe"
)

// The rooms do what the engine asks of them.
var (
	_ Consent = (*consent.Registry)(nil)
	_ Spooler = (*spool.Store)(nil)
	_ Tokens  = (*unsubscribe.Codec)(nil)
	_ Signer  = (*dkim.Signer)(nil)
	_ Judge   = (*Engine)(nil)
)
