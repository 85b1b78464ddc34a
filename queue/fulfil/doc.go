// Package fulfil asks the company's own systems to do what a case needs: by
// signed webhook, by a command, or by a task for a person. It knows nothing of
// cases; the queue calls it, retries, and keeps what came back.
package fulfil
