// Package mime reads any message, however broken, into header fields, text and
// a list of attachments. It works on the bytes in memory and never fails: what
// is wrong is listed as a defect, and over the limits of MIME-5 the message is
// marked for a person. Own code rather than a library because the strict
// readers refuse real mail (lines without a colon, unknown transfer encodings,
// missing end boundaries), and the lenient ones cost thirteen times the time.
package mime
