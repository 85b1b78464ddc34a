// Package load measures a relay end to end: a source of real marketing mail, a
// sink that counts, and the time between the source's first connection and the
// sink's last message.
package load
