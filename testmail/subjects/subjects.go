// Package subjects makes data subjects by the million for benchmarks and
// tests: addresses of reserved domains and a CSV file in Postern's own import
// format, written as it is read. The same number gives the same person.
package subjects

import (
	"fmt"
	"io"
	"strconv"
	"time"

	"postern/gateway/address"
)

// places and wordings are what many persons share: where consent was asked and
// the words they agreed to.
const (
	places   = 40
	wordings = 12
)

// Address is that of subject i. Domains repeat as those of mailbox providers do.
func Address(i int) address.Address {
	return address.MustParse(plain(i))
}

func plain(i int) string {
	return "subject" + strconv.Itoa(i) + "@mail" + strconv.Itoa(i%97) + ".example.org"
}

// file is a CSV file of subjects from to to, header first.
type file struct {
	next, to int
	faulty   int // every how many rows one is unusable; 0: none
	end      time.Time
	buf      []byte
}

// CSV gives the subjects from (inclusive) to to (exclusive) as an import file:
// one consent each, confirmed by double opt-in in the two years before end,
// with source, wording and version. With faulty n, every n-th row lacks what
// an import needs.
func CSV(from, to, faulty int, end time.Time) io.Reader {
	return &file{next: from, to: to, faulty: faulty, end: end.UTC(), buf: []byte("address,action,time,source,wording,wording_version,language,jurisdiction\n")}
}

// Read is io.Reader.
func (f *file) Read(p []byte) (int, error) {
	for len(f.buf) < len(p) && f.next < f.to {
		f.row(f.next)
		f.next++
	}
	if len(f.buf) == 0 {
		return 0, io.EOF
	}
	n := copy(p, f.buf)
	f.buf = f.buf[:copy(f.buf, f.buf[n:])]
	return n, nil
}

func (f *file) row(i int) {
	who := plain(i)
	if f.faulty > 0 && i%f.faulty == f.faulty-1 {
		who = "subject" + strconv.Itoa(i) // no domain
	}
	at := f.end.Add(-time.Duration(i%(2*365*24*60)) * time.Minute)
	f.buf = fmt.Appendf(f.buf, "%s,confirmed,%s,https://shop%d.example.org/newsletter,%q,v%d,en,EU\n", who, at.Format(time.RFC3339),
		i%places, "Yes, send me the newsletter by e-mail. I can take this back at any time with the link in each mail.", i%wordings)
}
