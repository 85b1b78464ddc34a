package main

import (
	"context"
	"fmt"
	"strings"

	"postern/gateway/ledger"
	"postern/queue/console/auth"
)

// personBehind names the human behind an actor for acts that take two: a token
// acts for its owner, and names that are bound to each other are one person.
func (n *node) personBehind(ctx context.Context, actor string) (string, error) {
	name := strings.TrimPrefix(actor, "operator:")
	if token, ok := strings.CutPrefix(name, "api:"); ok {
		owner, err := n.tokens().Owner(ctx, token)
		if err != nil || owner == "" {
			return "", err
		}
		name = owner
	}
	users, err := n.openUsers()
	if err != nil {
		return "", err
	}
	return users.Person(ctx, name)
}

// bindRequest says that two operator names are one person; an empty Person ends
// what was said of Name.
type bindRequest struct{ Name, Person, Actor string }

func (n *node) bindOperator(ctx context.Context, r bindRequest) (string, error) {
	users, err := n.openUsers()
	if err != nil {
		return "", err
	}
	// The record comes first: whoever makes one person of two, or two of one,
	// decides who may approve whose acts.
	err = n.trail.Append(ctx, ledger.Record{Kind: ledger.KindConfig, Actor: r.Actor, Action: "bind-operator",
		Data: map[string]string{"name": auth.CleanName(r.Name), "person": auth.CleanName(r.Person)}})
	if err != nil {
		return "", fmt.Errorf("prove who is one person: %w", err)
	}
	return users.Bind(ctx, r.Name, r.Person)
}
