package queue

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"postern/classifier"
	"postern/gateway/address"
	"postern/queue/fulfil"
	"postern/queue/reply"
)

// Purpose of the link to a package, and the reminder at its end.
const (
	linkDownload  = "download"
	remindPackage = "package"
)

// maxCodes bounds how often a wrong code may be given.
const maxCodes = 5

// Errors of a download.
var (
	ErrCode   = errors.New("the code is not right")
	ErrLocked = errors.New("the download is locked after too many wrong codes")
)

// CodeWays are the ways by which a download code reaches the person: never by
// the mail that holds the link.
var CodeWays = []string{"post", "phone", "person"}

// Release says how a package is handed over.
type Release struct {
	Actor   string          // "operator:<name>"
	CodeWay string          // of CodeWays
	To      address.Address // gets the link; the zero Address takes the person's
	Note    string
}

// Handover is a released package: the link leaves by mail, the code is told by
// the operator by another way. Both are shown once.
type Handover struct {
	Link   string
	Token  string
	Code   string
	Until  time.Time
	Letter int // for TakeBack
}

// ReleasePackage seals the package, once every file is ticked, and takes up the
// letter with its link; the case is answered when that letter left. It may be
// repeated, with another link and code, where that letter was taken back or did
// not arrive. Errors wrap ErrOrder.
func (q *Queue) ReleasePackage(ctx context.Context, number string, r Release) (Handover, error) {
	no := FindCaseNo(number)
	c, _, err := q.Show(ctx, no)
	if err != nil {
		return Handover{}, err
	}
	p, err := q.Package(ctx, no)
	if err != nil {
		return Handover{}, err
	}
	_, f, _, err := q.load(ctx, no)
	if err != nil {
		return Handover{}, err
	}
	base, err := q.mayRelease(&c, p, r, f)
	if err != nil {
		return Handover{}, fmt.Errorf("case %s: %w", no, err)
	}
	shown, sealed := c.Mails, p
	archive, size, err := q.sealPackage(ctx, &c, p)
	if err != nil {
		return Handover{}, err
	}
	h, l, err := q.handover(&c, p, r, base)
	if err != nil {
		return Handover{}, errors.Join(err, q.dropFiles(archive, nil))
	}
	hash := q.vault.Lookups("link", h.Token)[0]
	if err := q.rdb.HSet(ctx, keyLinks, hash, no+" "+linkDownload).Err(); err != nil {
		return Handover{}, errors.Join(fmt.Errorf("download link of case %s: %w", no, err), q.dropFiles(archive, nil))
	}
	err = q.putPackage(ctx, no, func(c *Case, ch *changing, p *Package) error {
		if _, err := next(c.State, ActAnswer); err != nil {
			return err
		}
		c.Mails = shown
		if _, err := q.mayRelease(c, *p, r, ch.before); err != nil { // it may have changed meanwhile
			return err
		}
		if !sealed.same(*p) {
			return fmt.Errorf("case %s: %w: the package changed while it was sealed", no, ErrOrder)
		}
		letters, err := q.rdb.LLen(ctx, keyOut(no)).Result()
		if err != nil {
			return fmt.Errorf("count letters of case %s: %w", no, err)
		}
		p.Letter = strconv.FormatInt(letters, 10)
		ch.keep(archive)
		p.Archive, p.Size, p.Released, p.ReleasedBy, p.Until, p.CodeWay = archive, size, q.o.Now(), r.Actor, h.Until, r.CodeWay
		p.Tries, p.Fetched, p.Gone, p.Code = 0, nil, false, q.codeHash(no, h.Code)
		ch.extra[linkDownload], ch.extra[linkDownload+"-until"] = hash, millis(h.Until)
		ch.letter = &l
		ch.remind = append(ch.remind, [2]string{no + " " + remindPackage, millis(h.Until)})
		ch.events = append(ch.events, Event{Actor: r.Actor, Action: ActPackage, Reason: "released", Note: r.Note, Data: map[string]string{"code_way": r.CodeWay, "until": millis(h.Until), "size": fmt.Sprint(size)}})
		return nil
	})
	if err != nil {
		return Handover{}, errors.Join(err, q.dropFiles(archive, nil))
	}
	letters, _, err := q.Letters(ctx, no)
	h.Letter = len(letters) - 1
	return h, err
}

// same tells whether what goes to the person is the same in two readings of a
// package.
func (p Package) same(now Package) bool {
	return p.Built.Equal(now.Built) && slices.Equal(p.Checklist, now.Checklist) && slices.EqualFunc(p.Files, now.Files, func(a, b PackageFile) bool {
		return a.ID == b.ID && a.Tick == b.Tick && a.Instead == b.Instead
	})
}

func (q *Queue) mayRelease(c *Case, p Package, r Release, f map[string]string) (string, error) {
	base, to := q.rules().LinkBase[c.Controller], r.To
	if to.IsZero() {
		to = q.Person(c)
	}
	open := slices.IndexFunc(p.Files, func(f PackageFile) bool { return f.Tick == "" })
	empty := slices.IndexFunc(p.Checklist, func(i CheckItem) bool { return i.Text == "" })
	switch {
	case !strings.HasPrefix(r.Actor, "operator:"):
		return "", fmt.Errorf("%w: an operator has to", ErrOrder)
	case !slices.Contains(c.Flags, FlagIdentified) || slices.Contains(c.Flags, FlagNotMe):
		return "", fmt.Errorf("%w: identity is neither shown nor waived", ErrOrder)
	case !q.covers(c, to):
		return "", fmt.Errorf("%w: identity was shown for another address than the one that gets the link", ErrOrder)
	case slices.Contains(c.Flags, FlagNews):
		return "", fmt.Errorf("%w: the person wrote again and nobody acted on it yet: read that first", ErrOrder)
	case !slices.Contains(CodeWays, r.CodeWay):
		return "", fmt.Errorf("%w: the code goes to the person by %s, not with the link", ErrOrder, strings.Join(CodeWays, ", "))
	case base == "":
		return "", fmt.Errorf("%w: no address of the download page is configured", ErrOrder)
	case p.Built.IsZero():
		return "", fmt.Errorf("%w: the package is not built", ErrOrder)
	case !p.Released.IsZero() && !p.Gone && !p.cameBack(c, f):
		return "", fmt.Errorf("%w: the package is released already", ErrOrder)
	case open >= 0:
		return "", fmt.Errorf("%w: %s of %s is not looked through yet (Art. 15(4))", ErrOrder, p.Files[open].Name, p.Files[open].System)
	case empty >= 0 && slices.Contains(c.Labels, classifier.Access):
		return "", fmt.Errorf("%w: the checklist of Art. 15(1) has no answer for %q", ErrOrder, p.Checklist[empty].Key)
	}
	return base, nil
}

// handover draws link and code and writes the letter.
func (q *Queue) handover(c *Case, p Package, r Release, base string) (Handover, Letter, error) {
	token, err := newToken()
	if err != nil {
		return Handover{}, Letter{}, err
	}
	code, err := newCode()
	if err != nil {
		return Handover{}, Letter{}, err
	}
	h := Handover{Token: token, Link: strings.TrimSuffix(base, "/") + "/" + token, Code: code, Until: q.o.Now().Add(q.rules().DownloadFor)}
	_, loc := q.seat(q.controller(c.Controller))
	way, err := q.texts().Phrase(p.Language, "code_"+r.CodeWay, nil)
	if err != nil {
		return Handover{}, Letter{}, err
	}
	l, err := q.write(c, Draft{Step: reply.Ready, To: r.To, Language: p.Language, Effect: ActAnswer, Reason: "package", Actor: r.Actor, Values: reply.Values{
		"link": h.Link, "until": q.texts().Date(p.Language, h.Until.In(loc)), "code_way": way}})
	l.At = q.o.Now().Add(q.rules().SendHold)
	return h, l, err
}

// sealPackage writes the archive the person gets.
func (q *Queue) sealPackage(ctx context.Context, c *Case, p Package) (string, int, error) {
	controller := q.controller(c.Controller)
	_, loc := q.seat(controller)
	b := fulfil.Bundle{
		Language: p.Language, Controller: controller.Name, Case: c.Number, Made: q.o.Now().In(loc),
		Words: func(name string) string {
			s, err := q.texts().Phrase(p.Language, name, nil)
			if err != nil {
				return name
			}
			return s
		},
	}
	if slices.Contains(c.Labels, classifier.Access) {
		for _, i := range p.Checklist {
			b.Checklist = append(b.Checklist, [2]string{b.Words("art15_" + i.Key), i.Text})
		}
	}
	for _, f := range p.Files {
		if f.Tick == TickExclude {
			continue
		}
		_, data, err := q.PackageFile(ctx, c.Number, f.ID, f.Tick == TickRedact)
		if err != nil {
			return "", 0, err
		}
		b.Parts = append(b.Parts, fulfil.Part{System: f.System, Name: f.Name, Type: f.Type, Data: data})
	}
	raw, err := b.Zip()
	if err != nil {
		return "", 0, fmt.Errorf("package of case %s: %w", c.Number, err)
	}
	_, _, key, err := q.load(ctx, c.Number)
	if err != nil {
		return "", 0, err
	}
	id, err := q.files.Put(key, c.Number, raw)
	return id, len(raw), err
}

func (q *Queue) codeHash(no, code string) string {
	clean := strings.ToUpper(strings.Map(func(r rune) rune {
		if r == '-' || r == ' ' {
			return -1
		}
		return r
	}, code))
	return q.vault.Lookups("code", no+"\x00"+clean)[0]
}

// newCode draws 40 bits, written so that they can be told by telephone.
func newCode() (string, error) {
	const signs = "ABCDEFGHJKMNPQRSTUVWXYZ23456789" // 31, none that look alike
	out := make([]byte, 0, 9)
	one := make([]byte, 1)
	for len(out) < 9 {
		if _, err := rand.Read(one); err != nil {
			return "", fmt.Errorf("draw code: %w", err)
		}
		if int(one[0]) >= 256/len(signs)*len(signs) { // keeps all signs equally likely
			continue
		}
		if out = append(out, signs[int(one[0])%len(signs)]); len(out) == 4 {
			out = append(out, '-')
		}
	}
	return string(out), nil
}

// PackageFacts is what the page of a download shows before the code is given:
// nothing that is held about the person.
type PackageFacts struct {
	Number     string
	Controller string
	Language   string
	Until      time.Time
	Size       int
	Left       int // tries
	Fetched    int // how often it was fetched
	Locked     bool
	FetchedAt  time.Time // the last time, zero for never
}

// OpenPackage reads the link of a download. Unknown, replaced and expired ones
// are one and the same ErrUnknown.
func (q *Queue) OpenPackage(ctx context.Context, token string) (PackageFacts, error) {
	c, f, err := q.byLink(ctx, linkDownload, token)
	if err != nil {
		return PackageFacts{}, err
	}
	key, err := q.vault.Unwrap(c.Number, f["key"])
	if err != nil {
		return PackageFacts{}, err
	}
	p, err := packageOf(key, f, c.Number)
	if err != nil {
		return PackageFacts{}, err
	}
	if p.Gone {
		return PackageFacts{}, fmt.Errorf("download: %w", ErrUnknown)
	}
	facts := PackageFacts{Number: c.Number, Controller: c.Controller, Language: p.Language, Until: p.Until, Size: p.Size,
		Left: max(0, maxCodes-p.Tries), Fetched: len(p.Fetched), Locked: p.Tries >= maxCodes}
	if len(p.Fetched) > 0 {
		facts.FetchedAt = p.Fetched[len(p.Fetched)-1]
	}
	return facts, nil
}

// Download is what the person gets.
type Download struct {
	Name string
	Type string
	Data []byte
}

// FetchPackage gives the archive for the right code. Each wrong one counts;
// after five the download is locked and the operators are told. Errors wrap
// ErrUnknown, ErrCode or ErrLocked.
func (q *Queue) FetchPackage(ctx context.Context, token, code string) (Download, error) {
	c, _, err := q.byLink(ctx, linkDownload, token)
	if err != nil {
		return Download{}, err
	}
	no := c.Number
	var said error
	var archive string
	locked := false
	err = q.putPackage(ctx, no, func(c *Case, ch *changing, p *Package) error {
		said, locked = nil, false
		archive = p.Archive
		switch {
		case p.Gone || p.Archive == "":
			said = fmt.Errorf("download: %w", ErrUnknown)
		case p.Tries >= maxCodes:
			said = ErrLocked
		case !hmac.Equal([]byte(q.codeHash(no, code)), []byte(p.Code)):
			said = ErrCode
			p.Tries++
			ch.events = append(ch.events, Event{Actor: "link", Action: ActFetched, Reason: "wrong-code", Data: map[string]string{"tries": fmt.Sprint(p.Tries)}})
			if locked = p.Tries >= maxCodes; locked {
				c.addFlag(FlagAlert)
			}
		default:
			p.Fetched = append(p.Fetched, q.o.Now())
			ch.events = append(ch.events, Event{Actor: "link", Action: ActFetched, Reason: "fetched"})
		}
		return nil
	})
	if locked {
		q.tell(ctx, Notice{Kind: "code-locked", Case: no, Controller: c.Controller})
	}
	if err != nil || said != nil {
		return Download{}, errors.Join(err, said)
	}
	_, _, key, err := q.load(ctx, no)
	if err != nil {
		return Download{}, err
	}
	data, err := q.files.Get(key, no, archive)
	return Download{Name: no + ".zip", Type: "application/zip", Data: data}, err
}

// NewCode gives a released package another code and unlocks it, where the first
// was lost or guessed at. The code is shown once.
func (q *Queue) NewCode(ctx context.Context, number, actor string) (string, error) {
	no := FindCaseNo(number)
	if !strings.HasPrefix(actor, "operator:") {
		return "", fmt.Errorf("case %s: %w: an operator has to", no, ErrOrder)
	}
	code, err := newCode()
	if err != nil {
		return "", err
	}
	err = q.putPackage(ctx, no, func(_ *Case, ch *changing, p *Package) error {
		if p.Released.IsZero() || p.Gone {
			return fmt.Errorf("package of case %s is not released, or at its end: %w", no, ErrOrder)
		}
		p.Code, p.Tries = q.codeHash(no, code), 0
		ch.events = append(ch.events, Event{Actor: actor, Action: ActPackage, Reason: "new-code"})
		return nil
	})
	return code, err
}

// endPackage deletes the archive when its link has ended, and tells the
// operators if it was never fetched.
func (q *Queue) endPackage(ctx context.Context, no string) error {
	var archive, controller string
	missed := false
	err := q.putPackage(ctx, no, func(c *Case, ch *changing, p *Package) error {
		archive, missed, controller = "", false, c.Controller
		if p.Archive == "" || p.Gone || q.o.Now().Before(p.Until) {
			return nil
		}
		archive, missed = p.Archive, len(p.Fetched) == 0
		p.Gone = true
		ch.events = append(ch.events, Event{Actor: "rule", Action: ActPackage, Reason: "ended", Data: map[string]string{"fetched": fmt.Sprint(len(p.Fetched))}})
		return nil
	})
	if err != nil {
		return err
	}
	if missed {
		q.tell(ctx, Notice{Kind: "not-fetched", Case: no, Controller: controller})
	}
	return q.dropFiles(archive, nil)
}
