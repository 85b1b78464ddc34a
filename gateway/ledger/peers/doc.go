// Package peers reads the ledgers of all nodes of an installation as one: what
// was sent to a person, and by whom, is known only by the node that sent it
// (design D10, D15).
//
// A node that is asked gives its records when it is asked and keeps nothing
// elsewhere: no index to fill for each message, none that outlives the key of
// a person or the retention table. Question and answer travel through the
// publish/subscribe of the Redis that all nodes share, which writes neither to
// its disk, sealed under a key of the installation. Whoever is asked waits for
// the asker between two pages, so that no answer piles up.
//
// An answer is whole or an error: where a node of the installation does not
// answer, ErrAway names it, until it runs again or an operator retires it.
package peers
