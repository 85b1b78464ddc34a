package console

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"

	"postern/queue"
)

// corrections hands out what operators corrected, a JSON document a line, to
// train the classifier with: without the words people wrote, unless the
// configuration says so.
func (c *Console) corrections(v *visit) error {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	n := 0
	err := c.d.Cases.Corrections(v.ctx(), c.o.CorrectionTexts, func(k queue.Correction) error { n++; return enc.Encode(k) })
	if err != nil {
		return fmt.Errorf("gather corrections: %w", err)
	}
	if c.o.CorrectionTexts {
		if err := v.saw("corrections", nil, map[string]string{"mails": strconv.Itoa(n)}); err != nil {
			return err
		}
	}
	v.attachment("corrections.jsonl", "application/x-ndjson", out.Bytes())
	return nil
}
