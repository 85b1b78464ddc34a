// Package queue turns mails at privacy@ into cases with legal clocks and acts
// on them. It owns the Redis key prefix "pq:" under the hash tag {queue}.
//
// A mail becomes a case by Open, durable before Open returns; opt-outs in it
// bind the relay before Open returns too, and a worker repeats that should the
// process die in between. Everything else (receipt, ledger, reminders, systems,
// hooks) is work read from one Redis stream by any number of workers. Redis
// holds ids, states and dates; what people wrote and their addresses are sealed
// under a key per case, files in the vault folder (design D12, D12b, D13).
//
// From there: Challenge and Confirm find out who asks; Fulfil has systems and
// colleagues act (AskColleague, AnswerTask, TakeResult, Retry); BuildPackage,
// TickFile and ReleasePackage bring a copy of data to the person, who gets it by
// FetchPackage; Reply writes letters, whose effect happens when they left; Move
// does the rest. Propose is the first half of an act that takes two operators.
// LinkKind tells the pages behind mailed links which of them a token is for.
package queue
