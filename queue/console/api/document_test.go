package api

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Every route is in the document under its name and scope, and nothing else is.
func TestDocumentMatchesRoutes(t *testing.T) {
	raw, err := document()
	require.NoError(t, err)
	var doc struct {
		OpenAPI string `json:"openapi"`
		Paths   map[string]map[string]struct {
			OperationID string                `json:"operationId"`
			Summary     string                `json:"summary"`
			Security    []map[string][]string `json:"security"`
			Responses   map[string]any        `json:"responses"`
		} `json:"paths"`
	}
	require.NoError(t, json.Unmarshal(raw, &doc))
	require.Equal(t, "3.1.0", doc.OpenAPI)
	described := map[string]bool{}
	for path, operations := range doc.Paths {
		for method, o := range operations {
			described[strings.ToUpper(method)+" "+path] = true
			require.NotEmpty(t, o.Summary, path)
		}
	}
	seen := map[string]bool{}
	for _, rt := range routes {
		at := rt.method + " " + Base + rt.path
		require.True(t, described[at], "%s is not in the document", at)
		delete(described, at)
		o := doc.Paths[Base+rt.path][strings.ToLower(rt.method)]
		require.Equal(t, rt.operation, o.OperationID, at)
		require.False(t, seen[o.OperationID], "%s names two operations", o.OperationID)
		seen[o.OperationID] = true
		require.Contains(t, o.Responses, "4XX", at)
		if rt.scope == "" {
			require.Empty(t, o.Security, at)
			continue
		}
		require.Equal(t, []map[string][]string{{"bearer": {string(rt.scope)}}}, o.Security, at)
		require.Contains(t, Scopes(), rt.scope)
	}
	require.Empty(t, described, "in the document, but not served")
}

// No route takes an address in its URL: no part of a path and no parameter is
// one.
func TestNoAddressInURLs(t *testing.T) {
	raw, err := document()
	require.NoError(t, err)
	var doc struct {
		Components struct {
			Parameters map[string]struct{ Name, In string }
		}
	}
	require.NoError(t, json.Unmarshal(raw, &doc))
	for _, p := range doc.Components.Parameters {
		for _, word := range []string{"address", "mail", "person", "recipient", "domain"} {
			require.NotContains(t, p.Name, word)
		}
	}
}

// Each route opens to its scope alone: without a token 401, with every other
// scope 403.
func TestEveryRouteAsksForItsScope(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.PerMinute = 100_000 })
	others := map[Scope]*client{}
	for _, s := range Scopes() {
		var rest []Scope
		for _, other := range Scopes() {
			if other != s {
				rest = append(rest, other)
			}
		}
		others[s] = w.client("all-but-"+strings.ReplaceAll(string(s), ":", "-"), rest...)
	}
	nobody := &client{w: w}
	stranger := 0
	for _, rt := range routes {
		path := strings.NewReplacer("{number}", "PC-7K3Q-X9MD", "{index}", "0", "{file}", "0", "{id}", "x", "{name}", "news").Replace(rt.path)
		if rt.scope == "" {
			require.Equal(t, http.StatusOK, nobody.do(rt.method, path, nil).StatusCode)
			continue
		}
		others[rt.scope].bad = true
		p := others[rt.scope].refused(rt.method, path, nil, "forbidden")
		require.Contains(t, p.Detail, string(rt.scope))
		if stranger++; stranger <= failures {
			nobody.bad = true
			nobody.refused(rt.method, path, nil, "unauthorized")
		}
	}
	for range failures {
		nobody.bad = true
		nobody.do("GET", "/status", nil)
	}
	nobody.bad = true
	nobody.refused("GET", "/status", nil, "limit")
}
