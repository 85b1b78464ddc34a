// Package wire stands between a client's socket and the go-smtp server. Its
// Conn is the net.Conn that go-smtp reads and writes, and it does what that
// library leaves open (design D20):
//
//   - it reads lines itself, ends them at CRLF only and refuses bare CR, bare
//     LF and NUL (RFC 5321 section 2.3.8, SMTP-5);
//   - it hands over one command at a time, so nothing is ever read ahead, and
//     each command can be answered, changed or refused before go-smtp sees it;
//   - it reads message data into one pooled buffer, in place;
//   - it collects the replies to pipelined commands and writes them at once
//     when the client's input is used up (RFC 2920 section 3.2);
//   - every reply passes a Handler, so that code, status and text are ours;
//   - deadlines roll: each read and each write has its own, and a message as a
//     whole has one, after any of which the connection is closed;
//   - TLS is started here, with all plaintext thrown away (RFC 3207 section 4.2).
//
// It knows nothing of mail policy; the gateway's session is its Handler.
package wire
