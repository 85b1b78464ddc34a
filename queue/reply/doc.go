// Package reply writes the mails a case sends: texts per language, the rules
// of RFC 3834 on when an automatic one may go out at all (AR-1 to AR-11), and
// the bytes of the message.
package reply
