// Package queue turns mails at privacy@ into cases with legal clocks and acts
// on them. It owns the Redis key prefix "pq:" under the hash tag {queue}.
//
// A mail becomes a case by Open, durable before Open returns; opt-outs in it
// bind the relay before Open returns too, and a worker repeats that should the
// process die in between. Everything else (receipt, ledger, reminders) is work
// read from one Redis stream by any number of workers. Redis holds ids,
// states and dates; what people wrote and their addresses are sealed under a
// key per case (design D12, D12b, D13).
package queue
