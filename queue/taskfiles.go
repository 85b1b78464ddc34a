package queue

import (
	"errors"
	"fmt"
	"path"
	"strings"
	"unicode"

	"postern/queue/fulfil"
	"postern/queue/vault"
)

// keep notes a file of the vault with its case, so that it goes when the case
// does.
func (ch *changing) keep(id string) {
	if id != "" {
		ch.add("vault", id)
	}
}

// keepFiles seals the files that a system gave.
func (q *Queue) keepFiles(key *vault.Key, no string, files []fulfil.File) ([]TaskFile, error) {
	if len(files) > 0 && q.files == nil {
		return nil, fmt.Errorf("%w: files of case %s need a vault folder", errPermanent, no)
	}
	var out []TaskFile
	for _, f := range files {
		id, err := q.files.Put(key, no, f.Data)
		if err != nil {
			return out, errors.Join(err, q.dropFiles("", out))
		}
		out = append(out, TaskFile{id, cleanName(f.Name), f.Type, len(f.Data)})
	}
	return out, nil
}

// dropFiles deletes what was sealed for nothing.
func (q *Queue) dropFiles(file string, files []TaskFile) error {
	if q.files == nil {
		return nil
	}
	var errs []error
	for _, f := range append([]TaskFile{{ID: file}}, files...) {
		if f.ID != "" {
			errs = append(errs, q.files.Delete(f.ID))
		}
	}
	return errors.Join(errs...)
}

// cleanName makes a stranger's file name one that is only a name.
func cleanName(name string) string {
	name = path.Base(strings.ReplaceAll(name, "\\", "/"))
	name = strings.Map(func(r rune) rune {
		if r < ' ' || strings.ContainsRune(`<>:"/|?*`, r) || !unicode.IsPrint(r) {
			return '_'
		}
		return r
	}, name)
	if name = strings.Trim(name, ". "); name == "" {
		return "file"
	}
	if r := []rune(name); len(r) > 120 {
		name = string(r[len(r)-120:])
	}
	return name
}
