package queue

import (
	"archive/zip"
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"postern/gateway/ledger"
)

// ExportReport is what VerifyExport found.
type ExportReport struct {
	Cases  int      `json:"cases"`
	Events int      `json:"events"`
	Proven int      `json:"proven"`
	Faults []string `json:"faults"`
}

// maxMember bounds one file of a case, against archives that swell.
const maxMember = 256 << 20

// VerifyExport checks an archive that Export wrote, offline: that no file was
// changed, added or left out since; that each proof holds under the log's public
// key; and that every event of every case stands in the log as the archive tells
// it. An event that had not reached the log yet counts as not proven. It reads
// one case after the other.
func VerifyExport(name, publicKey string) (ExportReport, error) {
	r := ExportReport{Faults: []string{}}
	z, err := zip.OpenReader(name)
	if err != nil {
		return r, fmt.Errorf("open archive: %w", err)
	}
	defer z.Close()
	sums, err := readSums(&z.Reader)
	if err != nil {
		return r, err
	}
	files, of := map[string][]byte{}, "" // the files of one case: they stand together
	for _, f := range z.File {
		if f.Name == sumsName {
			continue
		}
		if path.Dir(f.Name) != of {
			r.settle(files, of, publicKey)
			files, of = map[string][]byte{}, path.Dir(f.Name)
		}
		raw, err := member(f)
		if err != nil {
			return r, err
		}
		r.sum(sums, f.Name, raw)
		files[f.Name] = raw
	}
	r.settle(files, of, publicKey)
	for _, file := range slices.Sorted(maps.Keys(sums)) {
		if !sums[file].seen {
			r.fault("%s: is missing", file)
		}
	}
	return r, nil
}

// settle looks at one case once all its files were read.
func (r *ExportReport) settle(files map[string][]byte, no, publicKey string) {
	if files[no+"/case.json"] == nil {
		return
	}
	r.Cases++
	if err := r.proof(files, no, publicKey); err != nil {
		r.fault("%s: %v", no, err)
	}
}

func (r *ExportReport) fault(format string, args ...any) {
	r.Faults = append(r.Faults, fmt.Sprintf(format, args...))
}

func member(f *zip.File) ([]byte, error) {
	in, err := f.Open()
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", f.Name, err)
	}
	defer in.Close()
	raw, err := io.ReadAll(io.LimitReader(in, maxMember+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", f.Name, err)
	}
	if len(raw) > maxMember {
		return nil, fmt.Errorf("read %s: larger than 256 MiB", f.Name)
	}
	return raw, nil
}

// sumsName is the file of an archive that names all others.
const sumsName = "SHA256SUMS"

// summed is one file that SHA256SUMS names.
type summed struct {
	sum  [sha256.Size]byte
	seen bool
}

func readSums(z *zip.Reader) (map[string]*summed, error) {
	out := map[string]*summed{}
	f, err := z.Open(sumsName)
	if errors.Is(err, fs.ErrNotExist) {
		return out, nil // then every file is one too many
	}
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", sumsName, err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		want, file, _ := strings.Cut(lines.Text(), "  ")
		s := &summed{}
		if n, err := hex.Decode(s.sum[:], []byte(want[:min(len(want), hex.EncodedLen(sha256.Size))])); err == nil && n == sha256.Size {
			out[file] = s
		}
	}
	return out, wrapf(lines.Err(), "read %s", sumsName)
}

// sum compares a file with its line.
func (r *ExportReport) sum(sums map[string]*summed, file string, raw []byte) {
	s := sums[file]
	switch {
	case s == nil:
		r.fault("%s: was added", file)
	case s.seen:
		r.fault("%s: is in the archive twice", file)
	case s.sum != sha256.Sum256(raw):
		r.fault("%s: was changed", file)
	}
	if s != nil {
		s.seen = true
	}
}

// proof compares a case's events with the records of the log.
func (r *ExportReport) proof(files map[string][]byte, no, publicKey string) error {
	var events []exportedEvent
	if err := json.Unmarshal(files[no+"/events.json"], &events); err != nil {
		return fmt.Errorf("events can't be read: %w", err)
	}
	r.Events += len(events)
	raw, ok := files[no+"/proof.json"]
	if !ok {
		return fmt.Errorf("there is no proof")
	}
	var p ledger.Proof
	if err := json.Unmarshal(raw, &p); err != nil {
		return fmt.Errorf("the proof can't be read: %w", err)
	}
	if err := ledger.CheckProof(p, publicKey); err != nil {
		return err
	}
	records := map[string]ledger.Record{}
	for _, item := range p.Records {
		records[item.Record.ID] = item.Record
	}
	for _, e := range events {
		id := fmt.Sprintf("case:%s:%d", no, e.Seq)
		rec, ok := records[id]
		if !ok {
			continue
		}
		delete(records, id)
		if rec.Action != string(e.Action) || rec.Actor != e.Actor || rec.Reason != e.Reason || !rec.Time.Equal(e.Time) {
			r.fault("%s: event %d is told otherwise than the log has it", no, e.Seq)
			continue
		}
		for k, v := range e.Data {
			if rec.Data[k] != v {
				r.fault("%s: event %d is told otherwise than the log has it (%s)", no, e.Seq, k)
			}
		}
		r.Proven++
	}
	for id := range records {
		if strings.HasPrefix(id, "case:"+no+":") {
			r.fault("%s: the log knows an event that the archive leaves out: %s", no, id)
		}
	}
	return nil
}
