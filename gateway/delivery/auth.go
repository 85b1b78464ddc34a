package delivery

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/emersion/go-sasl"
)

// auth logs in where the smarthost has a user (RFC 4954): PLAIN where
// offered, else LOGIN. A refusal is trouble of the hop or the configuration,
// never of a message.
func (c *conn) auth() error {
	o := c.host.opts
	if o.Username == "" {
		return nil
	}
	if !c.secure && !o.AuthClear {
		return errors.New("AUTH: no TLS, the password is not sent")
	}
	offered := " " + strings.ToUpper(c.ext["AUTH"]) + " "
	var mech sasl.Client
	switch {
	case strings.Contains(offered, " PLAIN "):
		mech = sasl.NewPlainClient("", o.Username, o.Password)
	case strings.Contains(offered, " LOGIN "):
		mech = &login{answers: []string{o.Username, o.Password}}
	default:
		return errors.New("AUTH: smarthost offers neither PLAIN nor LOGIN")
	}
	name, initial, err := mech.Start()
	if err != nil {
		return fmt.Errorf("AUTH: %w", err)
	}
	line := "AUTH " + name
	if initial != nil {
		line += " " + base64.StdEncoding.EncodeToString(initial)
	}
	rep, err := c.command(line, o.Timeouts.Greeting)
	for ; err == nil && rep.code == 334; rep, err = c.command(line, o.Timeouts.Greeting) {
		challenge, decodeErr := base64.StdEncoding.DecodeString(rep.text)
		if decodeErr != nil {
			return fmt.Errorf("AUTH: %w: challenge is not base64", errRubbish)
		}
		answer, mechErr := mech.Next(challenge)
		if mechErr != nil {
			return fmt.Errorf("AUTH: %w", mechErr)
		}
		line = base64.StdEncoding.EncodeToString(answer)
	}
	if err != nil {
		return fmt.Errorf("AUTH: %w", err)
	}
	if rep.code != 235 {
		return &errRefused{"AUTH", reply{code: rep.code, status: rep.status}}
	}
	return nil
}

// login is AUTH LOGIN, which no standard holds: two questions, asked in words
// that differ from server to server, without an initial response.
type login struct{ answers []string }

// Start implements sasl.Client.
func (l *login) Start() (mech string, initial []byte, err error) { return "LOGIN", nil, nil }

// Next implements sasl.Client.
func (l *login) Next([]byte) ([]byte, error) {
	if len(l.answers) == 0 {
		return nil, errors.New("more than two questions")
	}
	answer := l.answers[0]
	l.answers = l.answers[1:]
	return []byte(answer), nil
}
