package auth

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"

	"github.com/redis/go-redis/v9"
)

// sealer keeps ID tokens unread in Redis: they hold names and addresses.
func (p *OIDC) sealer() (cipher.AEAD, error) {
	m := hmac.New(sha256.New, p.o.Key)
	m.Write([]byte("oidc id token"))
	block, err := aes.NewCipher(m.Sum(nil))
	if err != nil {
		return nil, fmt.Errorf("seal ID token: %w", err)
	}
	return cipher.NewGCMWithRandomNonce(block)
}

func (p *OIDC) seal(token string) (string, error) {
	c, err := p.sealer()
	if err != nil {
		return "", err
	}
	return base64.RawURLEncoding.EncodeToString(c.Seal(nil, nil, []byte(token), nil)), nil
}

// SignOut gives the address at the provider that ends the session there, for
// the sealed ID token of a session here (OpenID Connect RP-Initiated Logout
// 1.0); "" where the provider announces none. The browser is not asked to be
// led back: providers refuse a return address that is not registered, and then
// end nothing. Errors wrap ErrAway, or ErrWrong for a token that was not sealed
// with this key.
func (p *OIDC) SignOut(ctx context.Context, sealed string) (string, error) {
	raw, err := base64.RawURLEncoding.DecodeString(sealed)
	if err != nil {
		return "", fmt.Errorf("%w: sealed ID token: %w", ErrWrong, err)
	}
	c, err := p.sealer()
	if err != nil {
		return "", err
	}
	token, err := c.Open(nil, nil, raw, nil)
	if err != nil {
		return "", fmt.Errorf("%w: sealed ID token: %w", ErrWrong, err)
	}
	at, err := p.provider(ctx)
	if err != nil {
		return "", err
	}
	var says struct {
		End string `json:"end_session_endpoint"`
	}
	if err := at.Claims(&says); err != nil {
		return "", fmt.Errorf("%w: %w", ErrAway, err)
	}
	if says.End == "" {
		return "", nil
	}
	u, err := url.Parse(says.End)
	issuer, _ := url.Parse(p.o.Issuer)
	if err != nil || u.Host == "" || u.Scheme != "https" && (issuer == nil || u.Scheme != issuer.Scheme) {
		return "", fmt.Errorf("%w: end_session_endpoint is no address over https", ErrAway)
	}
	q := u.Query() // keep those it has (section 2)
	q.Set("client_id", p.o.ClientID)
	q.Set("id_token_hint", string(token))
	u.RawQuery = q.Encode()
	return u.String(), nil
}

// ProviderToken is the sealed ID token of the session of a cookie; "" where it
// began by a password, or ended.
func (s *Store) ProviderToken(ctx context.Context, cookie string) (string, error) {
	sealed, err := s.rdb.HGet(ctx, keySession(digest(cookie)), "token").Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		return "", fmt.Errorf("read session: %w", err)
	}
	return sealed, nil
}
