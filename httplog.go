package main

import (
	"log"
	"log/slog"
	"net/netip"
	"strings"
)

// httpErrors is where a server of net/http complains: into the structured log,
// without the client's address, which is personal data (GDPR recital 30), and
// without what the client sent.
func httpErrors(l *slog.Logger) *log.Logger { return log.New(httpComplaints{l}, "", 0) }

// httpComplaints turns lines of net/http's ErrorLog into records.
type httpComplaints struct{ log *slog.Logger }

// Write takes one complaint. What a client did to its own connection is told at
// debug: strangers must not fill the log. A panic names its place in the
// program, never its value, which may hold anything.
func (c httpComplaints) Write(line []byte) (int, error) {
	text, stack, _ := strings.Cut(strings.TrimSpace(string(line)), "\n")
	switch {
	case strings.Contains(text, "panic serving"):
		c.log.Error("http request ended by a fault of our own", "at", panicPlaces(stack))
	case strings.HasPrefix(text, "http: TLS handshake error"):
		_, why, _ := strings.Cut(text, ": TLS handshake error")
		c.log.Debug("tls handshake failed", "why", httpReason(why))
	case strings.HasPrefix(text, "http2:"):
		c.log.Debug("http connection failed", "why", httpReason(text))
	default:
		c.log.Warn("http server complains", "why", withoutClients(text))
	}
	return len(line), nil
}

// httpReason is the last part of a complaint, after the addresses.
func httpReason(text string) string {
	if i := strings.LastIndex(text, ": "); i >= 0 {
		text = text[i+2:]
	}
	return withoutClients(text)
}

// withoutClients blots out words that are addresses, of the network or of
// mail, and what stands in quotes: a client chose it.
func withoutClients(text string) string {
	for {
		from := strings.IndexByte(text, '"')
		if from < 0 {
			break
		}
		n := strings.IndexByte(text[from+1:], '"')
		if n < 0 {
			text = text[:from] + "[quoted]"
			break
		}
		text = text[:from] + "[quoted]" + text[from+n+2:]
	}
	words := strings.Fields(strings.ReplaceAll(text, "->", " "))
	for i, w := range words {
		w = strings.Trim(w, ",;()<>")
		if strings.ContainsRune(w, '@') || isNetAddr(w) || isNetAddr(strings.TrimSuffix(w, ":")) {
			words[i] = "[client]"
		}
	}
	return strings.Join(words, " ")
}

func isNetAddr(w string) bool {
	if _, err := netip.ParseAddrPort(w); err == nil {
		return true
	}
	_, err := netip.ParseAddr(strings.Trim(w, "[]"))
	return err == nil
}

// panicPlaces lists where a panic came from, innermost first, as the lines of
// its stack that name a file: at most ten, without the values of arguments.
func panicPlaces(stack string) (places []string) {
	for line := range strings.Lines(stack) {
		file, _, _ := strings.Cut(strings.TrimSpace(line), " +0x")
		if strings.HasPrefix(line, "\t") && len(places) < 10 {
			places = append(places, file[strings.LastIndexByte(file, '/')+1:])
		}
	}
	return places
}
