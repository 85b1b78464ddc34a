package queue

import (
	"archive/zip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"path"
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

// maxMember bounds one file of an archive, against archives that swell.
const maxMember = 256 << 20

// VerifyExport checks an archive that Export wrote, offline: that no file was
// changed, added or left out since; that each proof holds under the log's public
// key; and that every event of every case stands in the log as the archive tells
// it. An event that had not reached the log yet counts as not proven.
func VerifyExport(name, publicKey string) (ExportReport, error) {
	r := ExportReport{Faults: []string{}}
	z, err := zip.OpenReader(name)
	if err != nil {
		return r, fmt.Errorf("open archive: %w", err)
	}
	defer z.Close()
	files := map[string][]byte{}
	for _, f := range z.File {
		if _, twice := files[f.Name]; twice {
			r.fault("%s: is in the archive twice", f.Name)
		}
		if files[f.Name], err = member(f); err != nil {
			return r, err
		}
	}
	r.sums(files)
	for file := range files {
		if path.Base(file) != "case.json" {
			continue
		}
		r.Cases++
		if err := r.proof(files, path.Dir(file), publicKey); err != nil {
			r.fault("%s: %v", path.Dir(file), err)
		}
	}
	return r, nil
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

// sums compares every file with SHA256SUMS.
func (r *ExportReport) sums(files map[string][]byte) {
	left := maps.Clone(files)
	delete(left, "SHA256SUMS")
	for _, line := range strings.Split(strings.TrimSpace(string(files["SHA256SUMS"])), "\n") {
		want, file, _ := strings.Cut(line, "  ")
		if line == "" {
			continue
		}
		raw, ok := left[file]
		got := sha256.Sum256(raw)
		switch {
		case !ok:
			r.fault("%s: is missing", file)
		case hex.EncodeToString(got[:]) != want:
			r.fault("%s: was changed", file)
		}
		delete(left, file)
	}
	for file := range left {
		r.fault("%s: was added", file)
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
