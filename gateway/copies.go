package gateway

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"postern/gateway/address"
	"postern/gateway/delivery"
	"postern/gateway/dkim"
	"postern/gateway/stream"
)

// build makes the copies of all jobs, on all cores where they are signed.
func (e *Engine) build(ctx context.Context, jobs []*job) {
	type work struct {
		j    *job
		g    []addressee
		copy delivery.Copy
		err  error
	}
	var pending []*work
	workers := 1
	for _, j := range jobs {
		for _, g := range j.groups {
			pending = append(pending, &work{j: j, g: g})
		}
		if j.st.Sign == signDKIM && len(j.groups) > 0 {
			workers = signSlots()
		}
	}
	var next atomic.Int64
	run := func() {
		for i := next.Add(1) - 1; i < int64(len(pending)); i = next.Add(1) - 1 {
			w := pending[i]
			w.copy, w.err = w.j.guarded(ctx, w.g)
		}
	}
	var wg sync.WaitGroup
	for range min(workers, len(pending)) - 1 {
		wg.Go(run)
	}
	run()
	wg.Wait()
	for _, w := range pending {
		if w.err == nil {
			w.j.out.Copies = append(w.j.out.Copies, w.copy)
			continue
		}
		e.opts.Log.Error("copy not signed", "message", w.j.m.ID, "stream", w.j.st.Name, "err", w.err)
		for _, a := range w.g {
			w.j.out.Refusals = append(w.j.out.Refusals, refuse(a.index, &Denial{Reason: SignerFailed, Defer: true}))
		}
	}
}

// guarded is copy, with a panic as an error: it may run beside the goroutine
// that would notice.
func (j *job) guarded(ctx context.Context, g []addressee) (c delivery.Copy, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("building a copy panicked: %v", r)
		}
	}()
	return j.copy(ctx, g)
}

// grouped are the recipients that share a copy: one by one in marketing and
// with a reverse-path of their own, else by what is annotated.
func (j *job) grouped() (out [][]addressee) {
	if j.st.Kind == stream.Marketing || (j.st.Bounce == bounceVERP && !j.m.ReversePath.IsZero()) {
		for _, a := range j.allowed {
			out = append(out, []addressee{a})
		}
		return out
	}
	if j.mode != stream.Annotate {
		return [][]addressee{j.allowed}
	}
	index := map[string]int{}
	for _, a := range j.allowed {
		key := string(j.annotation(a))
		i, ok := index[key]
		if !ok {
			i = len(out)
			index[key] = i
			out = append(out, nil)
		}
		out[i] = append(out[i], a)
	}
	return out
}

// annotation is the field by which annotate shows what enforcing would do.
func (j *job) annotation(a addressee) []byte {
	if j.mode != stream.Annotate || a.verdict.Would == nil {
		return nil
	}
	return []byte("X-Postern-Verdict: would-deny; reason=" + a.verdict.Would.label() + "\r\n")
}

// copy builds one copy for the recipients of g.
func (j *job) copy(ctx context.Context, g []addressee) (delivery.Copy, error) {
	c := delivery.Copy{ReversePath: j.m.ReversePath, Header: j.m.Header, Body: j.m.Body, UTF8: j.m.UTF8, EightBit: j.m.EightBit}
	for _, a := range g {
		c.Recipients = append(c.Recipients, a.index)
	}
	extra := j.annotation(g[0])
	if j.st.Kind == stream.Marketing {
		token := j.e.deps.Tokens.Seal(g[0].answer.Subject, j.st.Number, j.now)
		c.Header = j.marketingHeader(token, extra)
		if j.subst != nil {
			c.Body = j.subst.apply(j.m.Body, j.e.linksOf(j.st, token))
		}
	} else if len(extra) > 0 {
		c.Header = j.msg.hdr.Edit().Insert(j.at, extra).Bytes()
	}
	if err := j.bounceTo(&c, g[0]); err != nil {
		return c, err
	}
	if !j.signs() {
		return c, nil
	}
	return j.signed(ctx, c)
}

// signs tells whether the copy gets our signature: always in a stream that
// wants it, but for a foreign From that a mode let pass.
func (j *job) signs() bool {
	if j.st.Sign != signDKIM {
		return false
	}
	d := j.msg.fromDomain()
	return j.e.canSign(d) || closeness(j.own, d) > 0
}

// bounceTo puts a reverse-path of ours in place of the client's where the
// stream says so (design D19).
func (j *job) bounceTo(c *delivery.Copy, a addressee) error {
	if j.st.Bounce != bounceVERP || c.ReversePath.IsZero() || a.answer.Subject.IsZero() {
		return nil
	}
	path, err := address.Parse("b+" + j.e.deps.Tokens.Seal(a.answer.Subject, j.st.Number, j.now) + "@" + j.e.opts.BounceDomain)
	if err != nil {
		return fmt.Errorf("make bounce address: %w", err)
	}
	c.ReversePath = path
	return nil
}

// signed puts the signatures before the copy's header.
func (j *job) signed(ctx context.Context, c delivery.Copy) (delivery.Copy, error) {
	select {
	case j.e.sign <- struct{}{}:
		defer func() { <-j.e.sign }()
	case <-ctx.Done():
		return c, ctx.Err()
	}
	sum := dkim.BodyHash{}
	if j.subst != nil {
		sum = dkim.HashBody(c.Body)
	} else {
		sum = j.body()
	}
	sig, err := j.e.deps.Signer.Sign(c.Header, sum, j.msg.fromDomain())
	if err == nil && j.st.Kind == stream.Marketing {
		err = dkim.CoversUnsubscribe(sig) // a one-click nobody vouches for must not leave (UNS-2)
	}
	if err != nil {
		j.e.met.signed.WithLabelValues("error").Inc()
		return c, err
	}
	j.e.met.signed.WithLabelValues("ok").Inc()
	c.Header = append(sig, c.Header...)
	return c, nil
}

// marketingHeader is the common header with this recipient's own fields.
func (j *job) marketingHeader(token string, extra []byte) []byte {
	e, m := j.e, j.msg
	edit := m.hdr.Edit()
	if j.asIs {
		return edit.Insert(j.at, extra).Bytes()
	}
	for _, s := range j.broken {
		edit.Remove(s)
	}
	own := make([]byte, 0, 640)
	if !keepsUnsubscribe(j.st, m) {
		edit.RemoveAll("List-Unsubscribe").RemoveAll("List-Unsubscribe-Post")
		own = append(own, "List-Unsubscribe: <"+e.unsubscribeURL(j.st, token)+">,\r\n\t<mailto:u+"+token+"@"+e.opts.MailtoDomain+">\r\n"+oneClick...)
	} else if !oneClickOnly(m) {
		edit.RemoveAll("List-Unsubscribe-Post")
		own = append(own, oneClick...)
	}
	if !keepsListID(j.st, m) {
		edit.RemoveAll("List-Id")
		own = append(own, "List-Id: "+listTitle(j.st.Title)+"<"+j.st.ListID+">\r\n"...)
	}
	if j.st.FeedbackID != "" {
		edit.RemoveAll("Feedback-ID")
		own = append(own, "Feedback-ID: "+j.st.FeedbackID+"\r\n"...)
	}
	return edit.Insert(j.at, append(own, extra...)).Bytes()
}

const oneClick = "List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"

func oneClickOnly(m *message) bool {
	return m.count[fieldListUnsubscribePost] == 1 && m.value(fieldListUnsubscribePost) == "List-Unsubscribe=One-Click"
}

// publicURL is the base of the links in a stream's mail.
func (e *Engine) publicURL(st stream.Stream) string {
	return e.Streams().PublicURL(st.Controller, e.opts.PublicURL)
}

func (e *Engine) unsubscribeURL(st stream.Stream, token string) string {
	return e.publicURL(st) + "/u/" + token
}
func (e *Engine) preferencesURL(st stream.Stream, token string) string {
	return e.publicURL(st) + "/p/" + token
}

// linksOf are the texts that stand for the placeholders.
func (e *Engine) linksOf(st stream.Stream, token string) links {
	return links{e.unsubscribeURL(st, token), e.preferencesURL(st, token)}
}
