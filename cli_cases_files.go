package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"postern/queue"
)

// destroyVerb destroys files that came with the mails of a case.
func (c *cli) destroyVerb() *cobra.Command {
	var removed bool
	reasons := strings.Join(queue.DestroyReasons(), "|")
	cmd, order := c.act("destroy NUMBER [MAIL FILE]", "Destroy a file that came with a mail, as an identity paper; without MAIL and FILE lists them", cobra.RangeArgs(1, 3), "cases/destroy",
		func(args []string, o *caseOrder) (err error) {
			o.Number, o.Index = args[0], -1
			switch {
			case len(args) == 2 || len(args) == 1 && (removed || o.Reason != ""):
				return errors.New("name the mail and the file, as `postern cases destroy NUMBER` lists them")
			case len(args) == 1:
				return nil
			case removed && o.Reason != "":
				return errors.New("--removed takes no --reason: it notes what was done in the mailbox")
			case !removed && o.Reason == "":
				return fmt.Errorf("say why: --reason %s", reasons)
			case removed:
				o.Status = "removed"
			}
			for i, to := range []*int{&o.Index, &o.File} {
				if *to, err = strconv.Atoi(args[i+1]); err != nil || *to < 0 {
					return fmt.Errorf("%q is no place in the list of `postern cases destroy %s`", args[i+1], args[0])
				}
			}
			return nil
		})
	cmd.Long = "Destroy what a file that came with a mail holds: in the case at once, in the mailbox by a worker. Nobody can bring it back. The ledger keeps who did it and why, and the hashes of the mail before and after. A legal hold forbids it."
	f := cmd.Flags()
	f.StringVar(&order.Reason, "reason", "", reasons)
	f.BoolVar(&removed, "removed", false, "note that it was deleted in the mailbox by hand, where Postern could not")
	f.StringVar(&order.Note, "note", "", "remark for the record")
	return cmd
}
