// Package intake reads privacy mailboxes over IMAP and turns every mail into
// facts, then into a case, an opt-out, a bounce, a complaint, or mail set
// aside. What a mail becomes is stored before the mailbox is touched (DSR-17),
// so a crash at any point repeats work and loses none. It owns the Redis key
// prefix "pi:".
package intake
