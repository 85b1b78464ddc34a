package intake

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"
)

// JunkFolder stands among a mailbox's folders for the one the server keeps junk
// in (RFC 6154): a request that a filter put there counts from the day it
// arrived. A server without one is no fault.
const JunkFolder = `\Junk`

// errNoJunk says that the server has no folder for junk.
var errNoJunk = errors.New("the server names no folder for junk")

// junkNames are what servers that mark nothing call it.
var junkNames = []string{"Junk", "Spam", "Junk E-mail", "Junk Email", "Bulk Mail", "INBOX.Junk", "INBOX.Spam"}

// resolve gives the server's name of a folder as configured. Errors wrap
// errNoJunk where JunkFolder stands for none.
func (b *box) resolve(c *conn, folder string) (string, error) {
	if !strings.EqualFold(folder, JunkFolder) {
		return folder, nil
	}
	done := c.guard()
	defer done()
	opts := &imap.ListOptions{ReturnSpecialUse: c.Caps().Has(imap.CapSpecialUse) && c.Caps().Has(imap.CapListExtended)}
	all, err := c.List("", "*", opts).Collect()
	if err != nil {
		return "", fmt.Errorf("look for the junk folder of mailbox %q: %w", b.Name, err)
	}
	name := junkOf(all)
	if name == "" || slices.Contains(b.Folders, name) { // the latter: read under its own name
		return "", errNoJunk
	}
	return name, nil
}

// junkOf picks the folder for junk out of a server's list, "" for none.
func junkOf(all []*imap.ListData) string {
	for _, f := range all {
		if slices.Contains(f.Attrs, imap.MailboxAttrJunk) {
			return f.Mailbox
		}
	}
	for _, name := range junkNames {
		if i := slices.IndexFunc(all, func(f *imap.ListData) bool { return strings.EqualFold(f.Mailbox, name) }); i >= 0 {
			return all[i].Mailbox
		}
	}
	return ""
}
