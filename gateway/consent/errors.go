package consent

import "errors"

// Errors of the registry. Inspect with errors.Is.
var (
	// ErrStoreUnavailable says that Redis does not answer or may have
	// forgotten something: nobody may be mailed on its word (design D4).
	ErrStoreUnavailable = errors.New("consent store is unavailable")
	// ErrForgotten says, beside ErrStoreUnavailable, that Redis forgot opt-outs
	// that another node wrote and only that node can bring back (design D11).
	ErrForgotten = errors.New("redis forgot opt-outs of another node")
	// ErrRefused says that an event lacks what the law asks of it (CON-2, CON-4).
	ErrRefused = errors.New("consent record refused")
	// ErrNotFound says that no such event or suppression is known.
	ErrNotFound = errors.New("no such consent event or suppression")
	// ErrUndoOver says that the time for a plain undo is over, or that this
	// suppression has none (design D7).
	ErrUndoOver = errors.New("this suppression can't be undone by a link any more")
	// ErrForeignKey says that the node's subject-id keys are not those of the
	// store: it would not see what others suppressed (design D8).
	ErrForeignKey = errors.New("subject-id keys do not fit this consent store")
	// ErrVolatile says that Redis may lose or evict what it holds (design D11).
	ErrVolatile = errors.New("redis is not set up as a system of record")
	// ErrDamaged says that a stored value can't be read; the person counts as
	// not mailable.
	ErrDamaged = errors.New("consent value is damaged")
)
