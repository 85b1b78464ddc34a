package console

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// presenceLife is how long somebody counts as writing after the last sign.
const presenceLife = 90 * time.Second

// editing notes that the visitor writes in a case. The script sends it with
// the first key.
func (c *Console) editing(v *visit) error {
	k, _, err := v.load()
	if err != nil {
		return err
	}
	if err := c.d.Users.Editing(v.ctx(), k.Number, v.user.Name, presenceLife); err != nil {
		return err
	}
	v.w.WriteHeader(http.StatusNoContent)
	return nil
}

// editedBy names who else writes in a case now, "" where nobody does.
func (c *Console) editedBy(ctx context.Context, no, but string) (string, error) {
	names, err := c.d.Users.Editors(ctx, no, presenceLife)
	if err != nil {
		return "", fmt.Errorf("who writes in case %s: %w", no, err)
	}
	var others []string
	for _, n := range names {
		if n != but {
			others = append(others, n)
		}
	}
	return strings.Join(others, ", "), nil
}
