package queue

import (
	"fmt"
	"sort"
	"strings"
)

// Diagram draws the table of legal moves as a Mermaid state diagram; states.md
// holds it.
func Diagram() string {
	var lines []string
	for a, m := range moves {
		for _, from := range m.from {
			to := m.to
			if to == "" {
				to = from
			}
			lines = append(lines, fmt.Sprintf("    %s --> %s: %s", from, to, a))
		}
	}
	sort.Strings(lines)
	return "# States of a case\n\nDrawn from the table in state.go; a test keeps the two alike. In received, identity,\nopen and waiting the clock runs; in the others it has ended.\n\n" +
		"```mermaid\nstateDiagram-v2\n    [*] --> received\n" + strings.Join(lines, "\n") + "\n```\n"
}
