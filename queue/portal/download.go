package portal

import (
	"context"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"strconv"
	"time"

	"postern/gateway/webpage"
	"postern/queue"
)

// download shows a package and gives it for the code that came another way.
// Only a POST with the right code fetches it; whatever else is asked shows the
// page.
func (h *handler) download(ctx context.Context, a *webpage.Ask, token string) {
	p, err := h.cases.OpenPackage(ctx, token)
	if err != nil {
		h.failed(a, "download", err, webpage.Form{})
		return
	}
	a = h.about(a, p.Controller, token, p.Language)
	if p.Locked {
		h.locked(a)
		return
	}
	pg := downloadPage(a, p)
	v := h.posted(a)
	if v.Get(act) != "fetch" {
		h.show(a, "download", "shown", pg)
		return
	}
	d, err := h.cases.FetchPackage(ctx, token, v.Get("code"))
	switch {
	case errors.Is(err, queue.ErrCode) && p.Left <= 1, errors.Is(err, queue.ErrLocked):
		h.locked(a)
	case errors.Is(err, queue.ErrCode):
		pg.Status, pg.Heading = http.StatusUnprocessableEntity, a.Say("get_wrong_heading")
		pg.Lead = []string{a.Say("get_wrong_lead", "n", strconv.Itoa(p.Left-1))}
		h.show(a, "download", "refused", pg)
	case err != nil:
		h.failed(a, "download", err, webpage.Form{})
	default:
		h.send(a, d)
	}
}

func downloadPage(a *webpage.Ask, p queue.PackageFacts) webpage.Page {
	pg := webpage.Page{Status: http.StatusOK, Heading: a.Say("get_heading"), Lead: []string{a.Say("get_lead")}, Facts: []webpage.Fact{
		{Name: a.Say("find_number"), Value: p.Number},
		{Name: a.Say("get_size"), Value: size(p.Size)},
		{Name: a.Say("get_until"), Value: a.Date(p.Until)},
	}}
	if p.Fetched > 0 {
		pg.Facts = append(pg.Facts, webpage.Fact{Name: a.Say("get_fetched"), Value: a.Date(p.FetchedAt)})
	}
	pg.Forms = []webpage.Form{{Action: a.Action(), Hidden: does("fetch"), Button: a.Say("get_button"),
		Fields: []webpage.Field{{Name: "code", Label: a.Say("get_code"), Type: "text", Note: a.Say("get_code_note"), Most: 20}}}}
	return pg
}

func (h *handler) locked(a *webpage.Ask) {
	h.show(a, "download", "refused", webpage.Page{Status: http.StatusForbidden, Heading: a.Say("get_locked_heading"), Lead: []string{a.Say("get_locked_lead")}})
}

// slowest is the rate in bytes a second below which a client is cut off.
const slowest = 16 << 10

// send gives the file as one that is kept, never shown: no browser guesses what
// it is, and no cache keeps it.
func (h *handler) send(a *webpage.Ask, d queue.Download) {
	h.count.WithLabelValues("download", "acted").Inc()
	head := a.W.Header()
	head.Set("Content-Type", d.Type)
	head.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": d.Name}))
	head.Set("Content-Length", strconv.Itoa(len(d.Data)))
	head.Set("Content-Security-Policy", "default-src 'none'; sandbox; frame-ancestors 'none'")
	head.Set("Accept-Ranges", "none")
	// The listener's limit is for pages: a large file may take longer.
	more := time.Duration(len(d.Data)/slowest+30) * time.Second
	if err := http.NewResponseController(a.W).SetWriteDeadline(time.Now().Add(more)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		h.o.Log.Warn("time for a download could not be set", "error", err)
	}
	a.W.WriteHeader(http.StatusOK)
	_, _ = a.W.Write(d.Data) // the client is gone: it may fetch again
}

// size writes a number of bytes for people.
func size(n int) string {
	switch {
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MB", float64(n)/(1<<20))
	case n >= 1<<10:
		return fmt.Sprintf("%d kB", (n+1<<9)>>10)
	}
	return fmt.Sprintf("%d B", n)
}
