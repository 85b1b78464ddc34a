// Package node opens the one durable store of a relay node. Spool, ledger
// outbox and consent journal share it, so that what belongs together commits
// in one batch and one fsync (design D10, D15).
package node

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/cockroachdb/pebble/v2"
)

// Key spaces of the rooms that share the store: each room's keys start with
// its own byte. Never renumbered.
const (
	SpaceSpool   byte = 's'
	SpaceLedger  byte = 'l'
	SpaceJournal byte = 'j'
	SpaceMeta    byte = 'm'
)

// ErrBusy says that another process owns the data folder (design D22).
var ErrBusy = errors.New("the data folder is in use by a running postern")

// Open opens or creates the store in dir/state; directories are made 0700.
// The caller closes the store last. Errors wrap ErrBusy where another process
// holds the folder.
func Open(dir string) (*pebble.DB, error) {
	path := filepath.Join(dir, "state")
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("make data folder: %w", err)
	}
	db, err := pebble.Open(path, Options())
	if err != nil {
		return nil, fmt.Errorf("open node store in %s: %w", path, err)
	}
	return db, nil
}

// Options are the store's settings, for Open and for in-memory stores in tests
// (set FS to vfs.NewMem()).
func Options() *pebble.Options {
	return &pebble.Options{
		Logger: quiet{},
	}
}

// quiet keeps the store's chatter out of the log; its errors come back from calls.
type quiet struct{}

func (quiet) Infof(string, ...any)  {}
func (quiet) Errorf(string, ...any) {}
func (quiet) Fatalf(format string, args ...any) {
	panic(fmt.Sprintf("node store: "+format, args...))
}
