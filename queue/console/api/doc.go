// Package api is Postern for other programs: /api/v1 on the operators'
// listener. openapi.yaml describes every request and answer; it is embedded,
// served as /api/v1/openapi.json, and the tests hold code and document against
// each other.
//
// Whoever calls shows a bearer token with scopes, kept as a hash. Addresses of
// people travel in bodies alone, so that no log of a proxy holds one: look-ups
// are POST. Errors are problem documents (RFC 9457). A POST with an
// Idempotency-Key may be repeated: the first answer is kept for a day. Lists
// are read by cursors.
//
// With Redis away everything is answered 503 before anything is done: tokens,
// limits and keys of repeats are in Redis. Looks at what a person wrote are
// records of the ledger; what can't be recorded is not shown.
package api
