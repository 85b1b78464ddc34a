// Package stream names what a company sends: controllers, their mail streams
// and the ladder of modes. It holds values only; matching a message to a
// stream is the gateway's.
package stream

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"sort"
	"strings"
	"time"
)

// Kind says by which rules a stream is judged (design D1).
type Kind string

const (
	Marketing     Kind = "marketing"     // needs consent and unsubscribe (ePrivacy Art. 13)
	Transactional Kind = "transactional" // contract, security, legal notice, delivery
	Service       Kind = "service"       // confirmations, bounces, answers to requests: pass a suppression (CON-18)
	Personal      Kind = "personal"      // a person's ordinary mail
)

// Mode is a step of the ladder from watching to refusing (design D2).
type Mode string

const (
	Observe  Mode = "observe"
	Annotate Mode = "annotate"
	Enforce  Mode = "enforce"
)

// Controller is the company that decides why a person is mailed (GDPR Art. 4(7)).
type Controller struct {
	ID         string   // short and stable: it goes into subject ids
	Name       string   // as persons know it
	Postal     string   // one line, for foot texts (UWG, CAN-SPAM)
	Contact    string   // mail address of the privacy contact
	PrivacyURL string   // the notice (GDPR Art. 13)
	Authority  string   // supervisory authority to complain to (Art. 77)
	Country    string   // ISO 3166 code of the seat: calendar and regime
	Language   string   // BCP 47, fallback for pages and replies
	TimeZone   string   // IANA name, for receipt dates (Reg. 1182/71)
	Domains    []string // its own mail domains, lower-case A-labels
	PublicURL  string   // https base of its pages and mailed links, without the last slash; "": the installation's
}

// Base is the https base of the controller's pages and mailed links, without the
// last slash; installation is that of all who have none of their own.
func (c Controller) Base(installation string) string {
	if c.PublicURL != "" {
		return c.PublicURL
	}
	return installation
}

// Stream is one flow of mail with one purpose (design D1).
type Stream struct {
	Name        string
	Number      uint16 // permanent, never used again: tokens carry it
	Kind        Kind
	Controller  string // Controller.ID
	Purpose     string // what consent is given for; "" unless marketing
	ListID      string // RFC 2919 identifier without brackets
	Title       string // as persons know it, for pages
	FromDomains []string
	Sign        string // "", "dkim" or "smarthost"
	Mode        Mode
	Mixed       string        // "dsn" or "refuse" (design D3)
	Bounce      string        // "keep" or "verp" (design D19)
	Unsubscribe string        // what to do with the client's own List-Unsubscribe: "replace" or "keep"
	Signed      string        // a signature already there: "resign" or "refuse"
	StoreDown   string        // transactional with the store away: "pass" or "defer" (design D4)
	FeedbackID  string        // a:b:c:SenderId, or ""
	Advisory    string        // undeclared marketing seen in this stream: "count", "header" or "refuse"
	Language    string        // BCP 47, of its unsubscribe pages; "" asks the browser
	Expire      time.Duration // gives up after this; 0: five days
	Retired     bool          // takes no mail; its tokens still work
}

// Set is the immutable table of controllers and streams.
type Set struct {
	controllers map[string]Controller
	byName      map[string]Stream
	byNumber    map[uint16]Stream
	byListID    map[string]Stream
	former      map[uint16][]uint16
	byHost      map[string]string // host of a public URL → controller
}

// NewSet checks and indexes. All faults are reported at once, joined.
func NewSet(controllers []Controller, streams []Stream) (*Set, error) {
	s := &Set{map[string]Controller{}, map[string]Stream{}, map[uint16]Stream{}, map[string]Stream{}, map[uint16][]uint16{}, map[string]string{}}
	var errs []error
	for _, c := range controllers {
		if _, dup := s.controllers[c.ID]; dup || c.ID == "" {
			errs = append(errs, fmt.Errorf("controller %q: the id is empty or given twice", c.ID))
		}
		s.controllers[c.ID] = c
		if c.PublicURL == "" {
			continue
		}
		u, err := url.Parse(c.PublicURL)
		if err != nil || u.Hostname() == "" || s.byHost[hostname(u.Host)] != "" {
			errs = append(errs, fmt.Errorf("controller %q: the public URL has no host, or that of another controller", c.ID))
			continue
		}
		s.byHost[hostname(u.Host)] = c.ID
	}
	for _, st := range streams {
		errs = append(errs, s.add(st)...)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	for _, st := range streams {
		for _, old := range streams {
			if old.Retired && old.Number != st.Number && st.Kind == Marketing && old.Kind == Marketing && old.Controller == st.Controller && old.Purpose == st.Purpose {
				s.former[st.Number] = append(s.former[st.Number], old.Number)
			}
		}
	}
	return s, nil
}

// ByName finds a stream by its configured name.
func (s *Set) ByName(name string) (Stream, bool) { st, ok := s.byName[name]; return st, ok }

// ByNumber finds a stream by the number a token carries, retired ones too.
func (s *Set) ByNumber(n uint16) (Stream, bool) { st, ok := s.byNumber[n]; return st, ok }

// Former gives the numbers of the retired marketing streams that had the
// controller and purpose of a stream. It mails whom they mailed, so who
// unsubscribed from one of them has unsubscribed from it. The slice is not to
// be changed.
func (s *Set) Former(number uint16) []uint16 { return s.former[number] }

// ByListID finds a stream by List-Id, compared without case (RFC 2919 section 6).
func (s *Set) ByListID(id string) (Stream, bool) {
	st, ok := s.byListID[strings.ToLower(id)]
	return st, ok
}

// Controller finds a controller by id.
func (s *Set) Controller(id string) (Controller, bool) { c, ok := s.controllers[id]; return c, ok }

// PublicURL is Controller.Base of a controller by id.
func (s *Set) PublicURL(id, installation string) string { return s.controllers[id].Base(installation) }

// ByHost finds the controller whose own public URL has this host (with or
// without port), as a request names it.
func (s *Set) ByHost(host string) (Controller, bool) {
	c, ok := s.controllers[s.byHost[hostname(host)]]
	return c, ok
}

// Speaking is for whom a page at a host speaks before more is known: the
// controller whose host it is, else the only one there is, else nobody.
func (s *Set) Speaking(host string) *Controller {
	if c, ok := s.ByHost(host); ok {
		return &c
	}
	if all := s.Controllers(); len(all) == 1 {
		return &all[0]
	}
	return nil
}

// Elsewhere tells that a host is another controller's own: pages that anybody
// may ask for by name are not shown there. Links that were mailed work at every
// host.
func (s *Set) Elsewhere(host, controller string) bool {
	c, ok := s.ByHost(host)
	return ok && c.ID != controller
}

// hostname is a host without port and last dot, in lower case.
func hostname(host string) string {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	return strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
}

// Streams lists all streams by number.
func (s *Set) Streams() []Stream {
	out := make([]Stream, 0, len(s.byNumber))
	for _, st := range s.byNumber {
		out = append(out, st)
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Number < out[j].Number })
	return out
}

// Controllers lists all controllers by id.
func (s *Set) Controllers() []Controller {
	out := make([]Controller, 0, len(s.controllers))
	for _, c := range s.controllers {
		out = append(out, c)
	}
	sort.Slice(out, func(i, j int) bool { return out[i].ID < out[j].ID })
	return out
}
