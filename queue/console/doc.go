// Package console is the operators' view: server-rendered pages over the case
// queue, with one style sheet, one small script, and no request to anywhere
// else. routes.go is the table of what there is and who may use it; each page
// has its file, its template in page/ and its table of words in text/.
//
// Addresses of persons never stand in a URL, and every look at what a person
// wrote is a record of the ledger.
package console
