// Package spool keeps accepted messages durably until each recipient has its
// outcome (design D10). A message is in the spool before its 250 is sent.
//
// The life of a message: Accept writes it and returns when it is on disk,
// many at a time sharing one fsync. It stays in memory for its first attempt;
// Take leases it to a delivery, Record and Finish write what became of its
// recipients a moment later in common batches. A message that is delivered
// within seconds is deleted before its table is flushed, so it costs one
// sequential write and is never read. What has to wait is found through an
// index by due time (keys.go) and read back when its time has come.
//
// After a crash everything accepted is there. A delivery is repeated only if
// its reply came in so shortly before the crash that it was not yet on disk.
package spool
