package reply

import (
	"embed"
	"fmt"
	"strings"

	"postern/gateway/webpage"
	"postern/queue/fulfil"
)

//go:embed staff/*.toml
var staffFiles embed.FS

// StaffTexts reads the words for those who work on a case: the mails to
// operators, the mail and the page of a colleague's task, and what is passed on
// to a company or to support. They are one catalogue, so that mail and page ask
// the same.
func StaffTexts() (*webpage.Texts, error) {
	texts, err := webpage.LoadTexts(staffFiles, "staff/*.toml")
	if err != nil {
		return nil, fmt.Errorf("texts for colleagues: %w", err)
	}
	return texts, nil
}

// TaskKey names the sentence in StaffTexts that says what a verb asks of a
// colleague.
func TaskKey(v fulfil.Verb) string {
	return "do_" + strings.NewReplacer(".", "_", "-", "_").Replace(string(v))
}
