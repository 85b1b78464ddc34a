// Package queue turns mails at privacy@ into cases with legal clocks and acts
// on them. It owns the Redis key prefix "pq:" under the hash tag {queue}.
package queue
