package portal

import (
	"context"
	"net/http"
	"strings"
	"time"

	"postern/gateway/stream"
	"postern/gateway/webpage"
	"postern/queue"
)

// pickNotice serves /notice.
func (h *handler) pickNotice(w http.ResponseWriter, r *http.Request) {
	h.pick(w, r, "notice", "/notice", func(c stream.Controller) bool { _, ok := h.cases.Notice(c.ID, ""); return ok }, h.noticeOf)
}

// notice serves /notice/CONTROLLER: how the controller handles data, in the
// version in force, and by ?version=DAY each earlier one.
func (h *handler) notice(w http.ResponseWriter, r *http.Request) {
	c, ok := h.streams().Controller(r.PathValue("controller"))
	if !ok || h.streams().Elsewhere(r.Host, c.ID) {
		h.nothing(h.stranger(w, r, "/"), http.StatusNotFound)
		return
	}
	h.noticeOf(h.Ask(w, r, &c, "/notice/"+c.ID, ""))
}

func (h *handler) noticeOf(a *webpage.Ask) {
	if !h.allowed(a) {
		return
	}
	ctx, cancel := h.working(a.R)
	defer cancel()
	n, versions, err := h.noticeWanted(ctx, a)
	if err != nil {
		h.failed(a, "notice", err, webpage.Form{})
		return
	}
	if n.Version == "" {
		h.nothing(a, http.StatusNotFound)
		return
	}
	if words := h.texts.Find(n.Language); words != nil {
		a.Words = words // one language on a page
	}
	title, parts, err := h.cases.NoticeParts(n)
	if err != nil {
		h.failed(a, "notice", err, webpage.Form{})
		return
	}
	pg := webpage.Page{Status: http.StatusOK, Heading: title, Lead: []string{a.Say("notice_since", "date", day(a, n.Version))}}
	for _, p := range parts {
		pg.Parts = append(pg.Parts, webpage.Part(p))
	}
	pg.Links = append(pg.Links, webpage.Anchor{Text: a.Say("form_heading", "controller", a.Who.Name), Href: h.o.BasePath + "/request/" + a.Who.ID + a.LangQuery()})
	for _, v := range versions {
		if v.Version != n.Version {
			pg.Links = append(pg.Links, webpage.Anchor{Text: a.Say("notice_version", "date", day(a, v.Version)), Href: a.Here + "?lang=" + a.Words.Tag() + "&version=" + v.Version})
		}
	}
	h.show(a, "notice", "shown", pg)
}

// noticeWanted is the version asked for, or the one in force, and the versions
// there are in its language; those of days to come are not told yet.
func (h *handler) noticeWanted(ctx context.Context, a *webpage.Ask) (queue.ProcessingNotice, []queue.PublishedNotice, error) {
	now, ok := h.cases.Notice(a.Who.ID, a.Words.Tag())
	if !ok {
		return queue.ProcessingNotice{}, nil, nil
	}
	all, err := h.cases.NoticeVersions(ctx, a.Who.ID)
	if err != nil {
		return now, nil, err
	}
	var versions []queue.PublishedNotice
	wanted, found := a.R.URL.Query().Get("version"), now
	if wanted != "" {
		found = queue.ProcessingNotice{}
	}
	for _, v := range all {
		if !strings.EqualFold(v.Language, now.Language) || v.Version > now.Version {
			continue
		}
		versions = append(versions, v)
		if v.Version == wanted {
			found = v.ProcessingNotice
		}
	}
	if wanted == now.Version {
		found = now
	}
	return found, versions, nil
}

// day writes a date of a version as the language does.
func day(a *webpage.Ask, version string) string {
	t, err := time.Parse(time.DateOnly, version)
	if err != nil {
		return version
	}
	return t.Format(a.Say("date_layout"))
}
