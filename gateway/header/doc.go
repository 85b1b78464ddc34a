// Package header finds the fields of a message header as spans over the
// original bytes, so that fields can be added, replaced and removed without
// touching any other byte. It takes what real mail brings: lines without a
// colon, mbox "From " lines, 8-bit octets, overlong lines. It also walks the
// MIME structure by spans, within limits (standards.md MIME-5).
package header
