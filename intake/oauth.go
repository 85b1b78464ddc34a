package intake

import (
	"context"
	"errors"
	"fmt"

	"github.com/emersion/go-sasl"
)

// TokenSource gives a valid access token; it refreshes before expiry (IM-11).
// *oauth.Source is one.
type TokenSource interface {
	Token(ctx context.Context) (string, error)
	// Refused says that the server did not take the token, so that the next
	// call asks for a new one.
	Refused(token string)
}

// xoauth2 is Google's and Microsoft's mechanism, which go-sasl lacks.
type xoauth2 struct{ user, token string }

// Start gives the one message of the exchange.
func (x *xoauth2) Start() (string, []byte, error) {
	return "XOAUTH2", fmt.Appendf(nil, "user=%s\x01auth=Bearer %s\x01\x01", x.user, x.token), nil
}

// Next answers the server's JSON about a failure with nothing, as it wants
// before it says NO.
func (x *xoauth2) Next([]byte) ([]byte, error) { return []byte{}, nil }

var errNoMechanism = errors.New("the server offers neither OAUTHBEARER nor XOAUTH2")

func oauthClient(mechanism, user, token, host string, port int) sasl.Client {
	if mechanism == "xoauth2" {
		return &xoauth2{user, token}
	}
	return bearer{sasl.NewOAuthBearerClient(&sasl.OAuthBearerOptions{Username: user, Token: token, Host: host, Port: port})}
}

// bearer ends a failed exchange as RFC 7628 section 3.2.3 wants, so that the
// server says NO; the library would break it off and hide the refusal.
type bearer struct{ sasl.Client }

// Next answers the server's JSON about a failure.
func (bearer) Next([]byte) ([]byte, error) { return []byte{1}, nil }
