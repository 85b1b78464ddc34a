// Package spool keeps accepted messages durably until each recipient has its
// outcome (design D10). A message is in the spool before its 250 is sent.
package spool
