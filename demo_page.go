package main

import (
	"context"
	_ "embed"
	"fmt"
	"html/template"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"postern/gateway/address"
	"postern/queue"
)

//go:embed deploy/demo.html
var demoHTML string

var demoPage = template.Must(template.New("page").Parse(demoHTML))

// demoView is what the demo's page shows.
type demoView struct {
	SMTP  string
	Mails []demoMail // newest first
	Cases []queue.Case
}

type demoMail struct {
	Number  int
	At      time.Time
	From    string
	To      string
	Subject string
	Data    string
}

// servePage serves the demo's page on a free loopback port and gives its
// address.
func (s *demoStage) servePage(ctx context.Context) (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("demo page: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", s.showPage)
	mux.HandleFunc("POST /letter", s.takeLetter)
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = serveHTTP(ctx, srv, l, s.node.log) }()
	return l.Addr().String(), nil
}

func (s *demoStage) showPage(w http.ResponseWriter, r *http.Request) {
	cases, err := s.node.queue.List(r.Context(), queue.Filter{})
	if err != nil {
		http.Error(w, "the cases can't be read", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'")
	_ = demoPage.Execute(w, demoView{s.smtp, s.mails(), cases})
}

func (s *demoStage) mails() []demoMail {
	list := s.sink.Messages()
	out := make([]demoMail, len(list))
	for i, m := range list {
		head, _, _ := strings.Cut(string(m.Data), "\r\n\r\n")
		out[len(list)-1-i] = demoMail{
			Number: i + 1, At: m.At, From: "<" + m.From + ">", To: strings.Join(m.To, ", "),
			Subject: strings.TrimPrefix(fieldOf(head, "Subject"), "Subject: "), Data: string(m.Data),
		}
	}
	return out
}

// takeLetter delivers what the form holds to privacy@.
func (s *demoStage) takeLetter(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
	from, err := address.Parse(strings.TrimSpace(r.FormValue("from")))
	if err != nil {
		http.Error(w, "the sender is not a mail address", http.StatusBadRequest)
		return
	}
	now := time.Now()
	text := strings.ReplaceAll(strings.ReplaceAll(r.FormValue("text"), "\r\n", "\n"), "\n", "\r\n")
	raw := fmt.Sprintf("Return-Path: <%[1]s>\r\nFrom: <%[1]s>\r\nTo: privacy@example.org\r\nSubject: letter\r\nMessage-ID: <%[2]s@demo.example.net>\r\nDate: %[3]s\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n%[4]s\r\n",
		from.Plain(), strconv.FormatInt(now.UnixNano(), 36), now.Format(time.RFC1123Z), text)
	if err := s.box.Deliver("INBOX", []byte(raw), now); err != nil {
		http.Error(w, "the mailbox did not take it", http.StatusInternalServerError)
		return
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
}
