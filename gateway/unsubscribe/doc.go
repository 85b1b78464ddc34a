// Package unsubscribe is what a data subject reaches: the token in every
// List-Unsubscribe field (design D7) and the public pages behind it, with
// one-click unsubscribe of RFC 8058. Nothing here knows an address: a token
// names a subject id and a stream.
//
// What changes state and what does not: only a POST whose body is the pair of
// RFC 8058 or one of the pages' own forms acts. GET, HEAD, OPTIONS and any
// other POST show a page (UNS-4, UNS-5). An answer that says "done" is given
// after the registry has it durably, never before (UNS-7).
package unsubscribe
