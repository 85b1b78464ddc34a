package queue

import (
	"strconv"
	"time"
)

// Every key of this room; all share the hash tag {queue}, so that one script
// may touch several of them on a Redis Cluster. No key of an open case has a
// time to live.
const (
	prefix = "pq:{queue}:"

	keySeen    = prefix + "seen"    // hash: "u:mailbox/folder/uidvalidity/uid" or "b:content hash" → case number, or "aside"
	keyMID     = prefix + "mid"     // hash: keyed hash of a Message-ID → case number
	keyAll     = prefix + "all"     // sorted set: case number by receipt, Unix ms
	keyDue     = prefix + "due"     // sorted set: open case number by due date, Unix ms
	keyRemind  = prefix + "remind"  // sorted set: "number kind" by time, Unix ms
	keyWork    = prefix + "work"    // stream: case, do, n, try; consumer group "workers"
	keyLater   = prefix + "later"   // sorted set: work to be tried again, as JSON, by time, Unix ms
	keyDead    = prefix + "dead"    // stream: work given up on, for an operator
	keyOptOut  = prefix + "optout"  // sorted set: "number index source" of mails whose opt-outs bound, by time, Unix ms
	keyLinks   = prefix + "links"   // hash: keyed hash of a one-time link's token → "number purpose"
	keyNotices = prefix + "notices" // hash: "controller version language" → a published processing notice, as JSON
	keyDPA     = prefix + "dpa"     // hash: controller, customer and day → a signed processing agreement, as JSON
	keyAway    = prefix + "away"    // hash: operator → absence, as JSON
	keyAside   = prefix + "aside"   // sorted set: id of set-aside mail by receipt, Unix ms

	keyTouched = prefix + "touched" // sorted set: case number by the number of its last change, see Index
	keyTick    = prefix + "tick"    // string: counts changes of cases

	group = "workers"
)

// keyCase is the hash of a case: fields as in record.go.
func keyCase(no string) string { return prefix + "case:" + no }

// keyMails is the list of a case's mails, each sealed.
func keyMails(no string) string { return prefix + "mails:" + no }

// keyLog is the list of a case's events as JSON; an event's number is its index.
func keyLog(no string) string { return prefix + "log:" + no }

// keyOut is the list of a case's letters, each sealed; the field "out:index"
// of the case says how far one is.
func keyOut(no string) string { return prefix + "out:" + no }

// keyPerson is the set of case numbers of one subject id.
func keyPerson(subject string) string { return prefix + "person:" + subject }

// keyAsideMail is the hash of one set-aside mail: key, mail (sealed), why, received.
func keyAsideMail(id string) string { return prefix + "aside:" + id }

// keyNoticed is the hash of who was told of a processing notice's change:
// "version subject" → when, Unix ms.
func keyNoticed(controller string) string { return prefix + "noticed:" + controller }

// keyQuiet holds that a sender got a receipt; lives 7 days (AR-4).
func keyQuiet(sender string) string { return prefix + "quiet:" + sender }

// keySenderDay counts receipts to a sender on one day; lives 48 hours.
func keySenderDay(sender string, t time.Time) string {
	return prefix + "day:" + sender + ":" + t.UTC().Format("20060102")
}

// keyHour counts all receipts of one hour; lives 2 hours.
func keyHour(t time.Time) string { return prefix + "hour:" + t.UTC().Format("2006010215") }

// keyFlood is the sorted set of a source's opt-outs, "number index" by time; it
// lives 2 days behind the last one, keyOptOut keeps them longer.
func keyFlood(source string) string { return prefix + "flood:" + source }

// keyAlarm holds that the alarm on a source rang; lives for the window.
func keyAlarm(source string) string { return prefix + "alarm:" + source }

// keyNotice holds that a subject got an opt-out notice; lives 30 days (design D13).
func keyNotice(subject string) string { return prefix + "notice:" + subject }

// seenField names one message in one folder.
func seenField(in Incoming) string {
	return "u:" + in.Controller + "/" + in.Mailbox + "/" + in.Folder + "/" + strconv.FormatUint(uint64(in.UIDValidity), 10) + "/" + strconv.FormatUint(uint64(in.UID), 10)
}
