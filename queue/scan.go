package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"postern/queue/fulfil"
)

// CaseFile is a file that operators put with a case: the scan of a letter, a
// power of attorney, a signed agreement. It is sealed in the vault.
type CaseFile struct {
	ID   string    `json:"id"`
	Name string    `json:"name"`
	Type string    `json:"type"`
	Size int       `json:"size"`
	By   string    `json:"by"`
	At   time.Time `json:"at"`
}

// AddFile puts a file with a case. Errors wrap ErrOrder where it is empty, over
// 32 MiB, or there is no vault folder.
func (q *Queue) AddFile(ctx context.Context, number string, f fulfil.File, actor string) (CaseFile, error) {
	no := FindCaseNo(number)
	switch {
	case q.files == nil:
		return CaseFile{}, fmt.Errorf("%w: there is no vault folder", ErrOrder)
	case len(f.Data) == 0 || len(f.Data) > maxUpload:
		return CaseFile{}, fmt.Errorf("%w: a file has 1 octet to 32 MiB", ErrOrder)
	case !strings.HasPrefix(actor, "operator:"):
		return CaseFile{}, fmt.Errorf("%w: an operator has to", ErrOrder)
	}
	_, _, key, err := q.load(ctx, no)
	if err != nil {
		return CaseFile{}, err
	}
	sealed, err := q.keepFiles(key, no, []fulfil.File{f})
	if err != nil {
		return CaseFile{}, err
	}
	out := CaseFile{sealed[0].ID, sealed[0].Name, f.Type, len(f.Data), actor, q.o.Now()}
	_, _, err = q.change(ctx, no, "", func(_ *Case, ch *changing) error {
		list, err := q.caseFiles(ch.before, no)
		if err != nil {
			return err
		}
		raw, err := json.Marshal(append(list, out))
		if err != nil {
			return fmt.Errorf("encode files of case %s: %w", no, err)
		}
		ch.keep(out.ID)
		ch.extra["files"] = key.Seal(raw, "files:"+no)
		ch.events = append(ch.events, Event{Actor: actor, Action: ActNote, Reason: "file", Data: map[string]string{"size": fmt.Sprint(out.Size)}})
		return nil
	})
	if err != nil {
		return CaseFile{}, errors.Join(err, q.dropFiles("", sealed))
	}
	return out, nil
}

func (q *Queue) caseFiles(f map[string]string, no string) ([]CaseFile, error) {
	var list []CaseFile
	if f["files"] == "" {
		return nil, nil
	}
	key, err := q.vault.Unwrap(no, f["key"])
	if err != nil {
		return nil, err
	}
	raw, err := key.Open(f["files"], "files:"+no)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(raw, &list); err != nil {
		return nil, fmt.Errorf("decode files of case %s: %w", no, err)
	}
	return list, nil
}

// Files lists the files that operators put with a case.
func (q *Queue) Files(ctx context.Context, number string) ([]CaseFile, error) {
	no := FindCaseNo(number)
	_, f, _, err := q.load(ctx, no)
	if err != nil {
		return nil, err
	}
	return q.caseFiles(f, no)
}

// File opens one of them. Errors wrap ErrUnknown.
func (q *Queue) File(ctx context.Context, number, id string) (CaseFile, []byte, error) {
	no := FindCaseNo(number)
	_, f, key, err := q.load(ctx, no)
	if err != nil {
		return CaseFile{}, nil, err
	}
	list, err := q.caseFiles(f, no)
	if err != nil {
		return CaseFile{}, nil, err
	}
	i := slices.IndexFunc(list, func(c CaseFile) bool { return c.ID == id })
	if i < 0 || q.files == nil {
		return CaseFile{}, nil, fmt.Errorf("file of case %s: %w", no, ErrUnknown)
	}
	data, err := q.files.Get(key, no, id)
	return list[i], data, err
}

// sweepFiles deletes the files of a case whose own time is over, which is
// shorter than the case's: scans, data of systems, packages (ST-1).
func (q *Queue) sweepFiles(ctx context.Context, no string) (int, error) {
	list, err := q.rdb.HGet(ctx, keyCase(no), "vault").Result()
	if errors.Is(err, redis.Nil) || err == nil && list == "" {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("files of case %s: %w", no, err)
	}
	var ids []string
	// The list first: a case that came to life again since it was found keeps
	// its files. What a crash leaves of them opens to nobody once the key of the
	// case is gone.
	_, _, err = q.change(ctx, no, "", func(c *Case, ch *changing) error {
		ids = nil
		_, held := q.heldByLaw(c.Controller)
		if held || c.State.Live() || slices.Contains(c.Flags, FlagLegalHold) || ch.before["vault"] == "" {
			return nil
		}
		ids = splitWords(ch.before["vault"])
		ch.extra["vault"], ch.extra["files"] = "", ""
		ch.events = append(ch.events, Event{Actor: "rule", Action: ActNote, Reason: "files-deleted", Data: map[string]string{"files": fmt.Sprint(len(ids))}})
		return nil
	})
	if err != nil {
		return 0, err
	}
	for _, id := range ids {
		if q.files != nil {
			if err := q.files.Delete(id); err != nil {
				return 0, err
			}
		}
	}
	return len(ids), nil
}
