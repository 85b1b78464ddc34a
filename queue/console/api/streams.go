package api

import (
	"fmt"
	"time"

	"postern/gateway"
	"postern/gateway/stream"
)

// streamRow is a stream with the mode of the file and the one in force.
type streamRow struct {
	Name       string      `json:"name"`
	Number     uint16      `json:"number"`
	Kind       stream.Kind `json:"kind"`
	Controller string      `json:"controller"`
	Purpose    string      `json:"purpose,omitempty"`
	Title      string      `json:"title,omitempty"`
	Mode       stream.Mode `json:"mode"`
	FileMode   stream.Mode `json:"file_mode"`
	Retired    bool        `json:"retired"`
}

func (c *call) streamRow(s stream.Stream) streamRow {
	return streamRow{s.Name, s.Number, s.Kind, s.Controller, s.Purpose, s.Title, c.a.d.Modes.Mode(s.Name), s.Mode, s.Retired}
}

func listStreams(c *call) (answer, error) {
	rows := []streamRow{}
	for _, s := range c.a.d.Streams().Streams() {
		rows = append(rows, c.streamRow(s))
	}
	return answer{status: 200, body: map[string]any{"streams": rows}, etag: `"` + hashOf(fmt.Sprint(rows))[:16] + `"`}, nil
}

type modeRequest struct {
	Mode string `json:"mode"`
}

// setMode steps a stream along the ladder; "file" returns to the configuration.
func setMode(c *call) (answer, error) {
	var r modeRequest
	if err := c.read(&r); err != nil {
		return answer{}, err
	}
	s, known := c.a.d.Streams().ByName(c.path("name"))
	if !known {
		return answer{}, problem("missing", "")
	}
	m := stream.Mode(r.Mode)
	switch m {
	case stream.Observe, stream.Annotate, stream.Enforce:
	case "file":
		m = ""
	default:
		return answer{}, bad("mode", "is none of observe, annotate, enforce, file")
	}
	if err := c.a.d.Modes.ChangeMode(c.ctx(), s.Name, m, c.actor()); err != nil {
		return answer{}, err
	}
	return ok(c.streamRow(s))
}

// wouldBlock tells what enforcing would have stopped: per stream, reason,
// sender's domain and day.
func wouldBlock(c *call) (answer, error) {
	until, err := c.day("until", c.now())
	if err != nil {
		return answer{}, err
	}
	since, err := c.day("since", until.AddDate(0, 0, -6))
	if err != nil {
		return answer{}, err
	}
	if until.Before(since) || until.Sub(since) > 400*24*time.Hour {
		return answer{}, bad("since", "is not before until, or more than 400 days")
	}
	if err := c.a.d.Report.Flush(c.ctx()); err != nil {
		return answer{}, err
	}
	rows, err := c.a.d.Report.WouldBlock(c.ctx(), since, until)
	if err != nil {
		return answer{}, err
	}
	if rows == nil {
		rows = []gateway.Row{}
	}
	return ok(map[string]any{"rows": rows})
}
