package vault

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Markers and half-written files of the folder, by the begin of their names.
const (
	newPrefix    = ".new-"
	orphanPrefix = ".orphan-"
)

// Stale is what Orphans found and did.
type Stale struct {
	Files   int // sealed files in the folder
	Found   int // that nobody names, seen for the first time
	Deleted int // that nobody named since they were found
}

// ErrImplausible says that so many files are named by nobody that the store
// asked is more likely another one than that of the folder.
var ErrImplausible = errors.New("too many sealed files that no case names: is this the store of this folder?")

// Orphans deletes what a crash left: files that no case names. A file written
// in the last day is left alone, as its case may be about to name it. One that
// nobody names is marked, and deleted where it is still so after wait, so that a
// store restored from an older copy can be mended before. named tells which of
// the ids a case names. Errors wrap ErrImplausible, and nothing was marked then.
func (f *Files) Orphans(wait time.Duration, named func(ids []string) (map[string]bool, error)) (Stale, error) {
	var s Stale
	entries, err := os.ReadDir(f.dir)
	if err != nil {
		return s, fmt.Errorf("look through the vault folder: %w", err)
	}
	marked, old := map[string]time.Time{}, []string{}
	var faults []error
	for _, e := range entries {
		info, err := e.Info()
		if err != nil { // deleted meanwhile
			continue
		}
		age := time.Since(info.ModTime())
		if id, ok := strings.CutPrefix(e.Name(), orphanPrefix); ok {
			marked[id] = info.ModTime()
		}
		switch {
		case strings.HasPrefix(e.Name(), newPrefix) && age > day: // of a process that died while it wrote
			faults = append(faults, f.drop(e.Name()))
		case validID(e.Name()):
			if s.Files++; age > day {
				old = append(old, e.Name())
			}
		}
	}
	known, err := named(old)
	if err != nil {
		return s, errors.Join(append(faults, err)...)
	}
	var fresh []string
	for _, id := range old {
		since, before := marked[id]
		switch {
		case known[id]:
			continue // its marker, if any, goes below
		case !before:
			fresh = append(fresh, id)
		case time.Since(since) > wait:
			faults = append(faults, f.drop(id), f.drop(orphanPrefix+id))
			s.Deleted++
		}
		delete(marked, id)
	}
	for id := range marked { // named again, or gone
		faults = append(faults, f.drop(orphanPrefix+id))
	}
	if len(fresh) > plausible && len(fresh)*10 > s.Files {
		return s, errors.Join(append(faults, fmt.Errorf("%d of %d: %w", len(fresh), s.Files, ErrImplausible))...)
	}
	for _, id := range fresh {
		faults = append(faults, os.WriteFile(filepath.Join(f.dir, orphanPrefix+id), nil, 0o600))
	}
	s.Found = len(fresh)
	return s, errors.Join(append(faults, syncDir(f.dir))...)
}

const (
	day = 24 * time.Hour
	// plausible is how many files crashes may well have left since the last run.
	plausible = 20
)

func (f *Files) drop(name string) error {
	if err := os.Remove(filepath.Join(f.dir, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("delete from the vault folder: %w", err)
	}
	return nil
}
