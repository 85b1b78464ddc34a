package intake

import (
	"context"
	"errors"
	"time"
)

// ErrFenced says that another poller holds the mailbox by now (IM-9).
var ErrFenced = errors.New("another poller holds this mailbox")

// Checkpoint is how far a folder is done: every UID up to Last under Validity
// has its outcome stored (IM-1).
type Checkpoint struct {
	Validity uint32
	Last     uint32
	// Swept is the folder's HIGHESTMODSEQ at which nothing up to Last was left
	// in it undone; 0: not known. It dies with Validity (IM-8).
	Swept uint64
}

// State keeps checkpoints and the lease per mailbox, outside the process.
type State interface {
	// Acquire takes the lease of a mailbox for ttl. held is false while another
	// owner has it; fence grows with every new holder.
	Acquire(ctx context.Context, mailbox, owner string, ttl time.Duration) (fence int64, held bool, err error)
	// Renew prolongs the lease; ErrFenced if it is another's by now.
	Renew(ctx context.Context, mailbox, owner string, ttl time.Duration) error
	// Release gives the lease back if owner still has it.
	Release(ctx context.Context, mailbox, owner string) error
	// Load gives a folder's checkpoint, zero if there is none.
	Load(ctx context.Context, mailbox, folder string) (Checkpoint, error)
	// Save stores a folder's checkpoint; ErrFenced if a later holder wrote.
	Save(ctx context.Context, mailbox, folder string, fence int64, c Checkpoint) error
	// Tried counts an attempt at a mail that could not be read and gives how
	// many there were (IM-12).
	Tried(ctx context.Context, mailbox, folder string, validity, uid uint32) (int, error)
}
