// Package auth knows who the operators are: accounts with roles and argon2id
// passwords, one-time codes (RFC 6238), sessions, limits against guessing, and
// the first set-up. It owns the Redis key prefix "pc:" under the hash tag
// {console}. Redis holds hashes of cookies and codes, never what was handed
// out; secrets of one-time codes are sealed under a key outside Redis.
package auth
