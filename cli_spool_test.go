package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"postern/gateway/spool"
)

// TestLastReplyOfAMessage: a listing says why a message waits, by the reply to
// whom it is tried for next, or for whom it is held.
func TestLastReplyOfAMessage(t *testing.T) {
	m := &spool.Message{Recipients: []spool.Recipient{
		{State: spool.Delivered, Code: 250, Status: "2.0.0", Reply: "OK"},
		{State: spool.Held, Code: 451, Reply: "Greylisted"},
	}}
	row := waitingRow(m)
	require.Equal(t, "451 Greylisted", lastReply(row.Code, row.Status, row.Reply))
	m.Recipients = append(m.Recipients, spool.Recipient{State: spool.Queued, Code: 450, Status: "4.2.1", Reply: "mailbox busy"})
	row = waitingRow(m)
	require.Equal(t, "450 4.2.1 mailbox busy", lastReply(row.Code, row.Status, row.Reply))
	require.Empty(t, lastReply(0, "", ""))
}
