package console

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"postern/classifier"
	"postern/queue"
	"postern/queue/console/api"
	"postern/queue/console/auth"
	"postern/queue/fulfil"
	"postern/testmail/browser"
)

// inViews runs show on a phone and at a desk, in light and dark, English and
// German; with no pictures wanted in two of these.
func inViews(t *testing.T, w *world, b *browser.Browser, user string, show func(p *browser.Page, name func(string) string)) {
	t.Helper()
	for _, lang := range []string{"en", "de"} {
		u, err := w.users.User(t.Context(), user)
		require.NoError(t, err)
		u.Language = lang
		require.NoError(t, w.users.Prefer(t.Context(), u))
		for _, width := range []int64{390, 1440} {
			for _, scheme := range []browser.Scheme{browser.Light, browser.Dark} {
				usual := width == 390 && scheme == browser.Dark && lang == "de" || width == 1440 && scheme == browser.Light && lang == "en"
				if shots() == "" && !usual {
					continue
				}
				p := b.Page(browser.View{Width: width, Height: 900, Scheme: scheme, Language: lang})
				signIn(w, p, user)
				show(p, func(page string) string { return fmt.Sprintf("console-%s-%d-%s-%s.png", page, width, scheme, lang) })
			}
		}
	}
}

// TestFurtherPagesInBrowser opens the pages that come up in the middle of work:
// a package looked through, an erasure that waits for approval, a colleague
// asked, an objection weighed, a paper to be destroyed and one that is, a heap that could not be done,
// tokens.
func TestFurtherPagesInBrowser(t *testing.T) {
	w := newWorld(t, func(_ *Options, q *queue.Options) {
		q.Connections = []queue.Connection{{Verbs: []fulfil.Verb{fulfil.Export}, Connector: giver{}}, {Verbs: []fulfil.Verb{fulfil.Erase}, Connector: &eraser{}}}
		q.Handling = map[string]queue.Handling{"shop": {FourEyes: []string{queue.EyesErase}}}
	})
	w.c.d.Tokens = api.NewTokens(w.rdb, w, w.Now)
	anna, otto := w.signedIn("anna", auth.Operator, auth.Approver, auth.Admin), w.signedIn("otto", auth.Operator)

	access := w.open(w.mail("alice@example.com", "Which data do you hold about me?", classifier.Access))
	path := "/cases/" + access
	anna.done(path+"/move", url.Values{"act": {"identify"}, "reason": {"called-back"}, "note": {"ok"}})
	anna.done(path+"/collect", nil)
	w.work(func() bool { tasks, _ := w.q.Tasks(t.Context(), access); return len(tasks) == 1 && tasks[0].Done() })
	anna.done(path+"/package/build", nil)
	files, err := w.q.PackageFiles(t.Context(), access)
	require.NoError(t, err)
	require.NoError(t, w.q.ReplaceFile(t.Context(), access, files[0].ID, []byte("A. and [redacted]"), "operator:anna", "another person is named"))
	anna.done(path+"/package/tick", url.Values{"file": {files[0].ID}, "act": {"keep"}})
	anna.done(path+"/colleague", url.Values{"who": {"sales archive"}, "mail": {"archive@example.org"}, "words": {"Are there old orders?"}, "due": {"2026-11-30"}})

	erase := w.open(w.mail("bob@example.com", "Please delete my data.", classifier.Erasure))
	anna.done("/cases/"+erase+"/move", url.Values{"act": {"identify"}, "reason": {"called-back"}, "note": {"ok"}})
	anna.done("/cases/"+erase+"/erase/dry", nil)
	w.work(func() bool { tasks, _ := w.q.Tasks(t.Context(), erase); return len(tasks) == 1 && tasks[0].Done() })
	otto.done("/cases/"+erase+"/erase/ask", url.Values{"note": {"The last invoice is paid."}})

	in := w.mail("maria@example.net", "Please delete my data. My passport is attached.", classifier.Erasure)
	in.Attachments = []queue.Attachment{{Name: "passport.png", Type: "image/png", Size: 912_000}, {Name: "passport-back.pdf", Type: "application/pdf", Size: 70_000, Text: "Surname"}, {Name: "letter.pdf", Type: "application/pdf", Size: 30_000, Text: "Please delete"}}
	var picture bytes.Buffer
	img := image.NewRGBA(image.Rect(0, 0, 40, 30))
	img.Set(3, 3, color.White)
	require.NoError(t, png.Encode(&picture, img))
	w.raw[in.ContentHash] = []byte("Content-Type: image/png; name=passport.png\r\nContent-Transfer-Encoding: base64\r\n\r\n" + base64Lines(picture.Bytes()))
	paper := w.open(in)
	anna.done("/cases/"+paper+"/mails/0/files/1/destroy", url.Values{"reason": {"identity-paper"}})
	w.work(func() bool {
		k, _, _ := w.q.Show(t.Context(), paper)
		return k.Mails[0].Attachments[1].Left == "no-mailbox"
	})
	stopped := w.open(w.mail("carla@example.com", "Please delete me from the list of speakers.", classifier.Erasure))
	anna.done("/cases/"+stopped+"/move", url.Values{"act": {"close"}, "reason": {"no-request"}})
	for _, name := range []string{"crm", "newsletter-tool-with-a-long-name"} {
		resp, _ := anna.post("/tokens", url.Values{"name": {name}, "days": {"30"}, "scope": {"consent:read", "consent:write"}})
		require.Equal(t, http.StatusOK, resp.StatusCode)
	}
	tasks, err := w.q.Tasks(t.Context(), access)
	require.NoError(t, err)

	made := 0
	inViews(t, w, browser.Start(t), "anna", func(p *browser.Page, name func(string) string) {
		for _, page := range []struct{ name, path string }{
			{"package-filled", path + "/package"}, {"erase-asked", "/cases/" + erase + "/erase"}, {"destroy", "/cases/" + paper + "/mails/0/files/0/destroy"},
			{"case-destroyed", "/cases/" + paper}, {"case-tasks", path}, {"tokens", "/tokens"},
			{"stop", "/cases/" + erase + "/marketing"}, {"stop-lift", "/cases/" + stopped + "/marketing"}, {"case-stopped", "/cases/" + stopped},
		} {
			require.EqualValues(t, 200, p.Open(w.srv.URL+page.path), page.name)
			look(t, p, name(page.name))
		}
		p.Open(w.srv.URL + path + "#colleague")
		p.Do(chromedp.SendKeys(chromedp.CSS("#col-w"), "warehouse"))
		look(t, p, name("colleague"))
		p.Open(w.srv.URL + path)
		p.Submit(fmt.Sprintf(`form[action*="/tasks/%d/link"] button`, tasks[len(tasks)-1].Index))
		look(t, p, name("colleague-link"))
		weighed := w.open(w.mail(fmt.Sprintf("dora-%d@example.com", made), "I object to the scoring of my orders.", classifier.Objection))
		p.Open(w.srv.URL + "/cases/" + weighed + "#weigh")
		p.Do(chromedp.SendKeys(chromedp.CSS("#wei-n"), "the scoring of orders"))
		look(t, p, name("weigh"))
		p.Submit("#weigh button")
		k, _, err := w.q.Show(t.Context(), weighed)
		require.NoError(t, err)
		require.Contains(t, k.Flags, queue.FlagWeighed)
		p.Open(w.srv.URL + "/tokens")
		p.Do(chromedp.SendKeys(chromedp.CSS("main input[name=name]"), fmt.Sprintf("reader-%d", made)), chromedp.Click(chromedp.CSS("main input[name=scope]")))
		made++
		p.Submit("main button.first")
		require.NotEmpty(t, browser.Read(p, chromedp.Evaluate[string](`document.querySelector("code.once")?.innerText || ""`)))
		look(t, p, name("token-made"))
		p.Open(w.srv.URL + "/cases")
		p.Do(chromedp.Evaluate[chromedp.Void](`document.querySelectorAll("input[form=bulk][name=case]").forEach(b => b.checked || b.click())`))
		look(t, p, name("cases-marked"))
		p.Submit(`.bulk button[value="merge"]`)
		require.Regexp(t, `(?s)PC-\w{4}-\w{4}.+PC-\w{4}-\w{4}`, p.Text(), "cases of three persons: all but the one they were to go into stay")
		look(t, p, name("bulk-failed"))
	})
}

// A user signs in at the provider by the button of the log-in page; who has no
// role there is told so.
func TestOIDCInBrowser(t *testing.T) {
	w, provider := oidcWorld(t)
	provider.back = w.srv.URL
	b := browser.Start(t)
	for _, v := range []browser.View{{Width: 390, Height: 844, Scheme: browser.Dark, Language: "de"}, {Language: "en"}} {
		p := b.Page(v)
		name := func(page string) string {
			return fmt.Sprintf("console-%s-%d-%s-%s.png", page, max(v.Width, 390), v.Scheme, v.Language)
		}
		provider.says(map[string]any{"groups": []string{"kitchen"}})
		p.Open(w.srv.URL + "/login")
		look(t, p, name("login-oidc"))
		p.Submit(`a[href^="/login/oidc"]`)
		look(t, p, name("login-oidc-refused"))
		require.NotContains(t, p.Text(), "erika")
		provider.says(nil)
		p.Open(w.srv.URL + "/cases")
		p.Submit(`a[href^="/login/oidc"]`)
		require.Contains(t, browser.Read(p, chromedp.Location()), "/cases", "led on to where they wanted to go")
		p.Open(w.srv.URL + "/account")
		require.Contains(t, p.Text(), "erika")
		look(t, p, name("account-oidc"))
	}
}

// The page that makes the first administrator, on both widths.
func TestSetupInBrowser(t *testing.T) {
	w := newWorld(t)
	b := browser.Start(t)
	for _, v := range []browser.View{{Width: 390, Height: 844, Language: "de"}, {Language: "en", Scheme: browser.Dark}} {
		p := b.Page(v)
		p.Open(w.srv.URL + "/")
		look(t, p, fmt.Sprintf("console-setup-%d-%s.png", max(v.Width, 390), v.Language))
		p.Do(chromedp.SendKeys(chromedp.CSS("#code"), "0000-0000"), chromedp.SendKeys(chromedp.CSS("#name"), "anna"), chromedp.SendKeys(chromedp.CSS("#password"), testPassword))
		p.Submit("button.first")
		look(t, p, fmt.Sprintf("console-setup-wrong-%d-%s.png", max(v.Width, 390), v.Language))
	}
}

// stretched is a world whose lists are long and whose words are hard to set: no
// spaces, other directions, 300 signs.
func stretched(t *testing.T) (*world, map[string]string) {
	w := newWorld(t)
	no := staged(w)
	open := func(name, from, lang, subject, text string, labels ...classifier.Label) {
		in := w.mail(from, text, labels...)
		in.Result.Language, in.Subject, in.FromName = lang, subject, subject
		in.Attachments = []queue.Attachment{{Name: strings.Repeat("sehrlangerdateiname", 12) + ".pdf", Type: "application/pdf", Size: 1_234_567, Text: text}}
		in.Result.Reasons = []classifier.Reason{reason(labels[0], strings.Fields(text)[0], text)}
		no[name] = w.open(in)
	}
	open("arabic", "layla@example.com", "ar", "طلب حذف البيانات", "أطلب منكم حذف جميع بياناتي الشخصية وتأكيد ذلك كتابيا. رقم العميل 12345.", classifier.Erasure)
	open("hebrew", "noa@example.com", "he", "בקשה למחיקה", "אני מבקשת למחוק את כל המידע שלי, כולל account@example.com.", classifier.Erasure)
	open("words", strings.Repeat("a", 60)+"@"+strings.Repeat("b", 60)+".example.com", "de", strings.Repeat("Donaudampfschifffahrtsgesellschaft", 8), strings.Repeat("Datenschutzgrundverordnungsauskunft", 20), classifier.Access)
	for i := range 300 {
		in := w.mail(fmt.Sprintf("many%d@example.com", i), "Please delete my account.", classifier.Erasure)
		in.Received = w.Now().AddDate(0, 0, -i%60)
		w.open(in)
	}
	return w, no
}

// TestWidthsInBrowser shows what is long and what is written the other way at
// 320 to 2560 pixels and with text at 200 % (WCAG 1.4.4, 1.4.10). Without
// pictures axe-core looks at both ends and at the text enlarged on a phone; at
// the widths between only whether all fits.
func TestWidthsInBrowser(t *testing.T) {
	w, no := stretched(t)
	w.user("anna", auth.Operator, auth.Approver, auth.Admin)
	p := browser.Start(t).Page(browser.View{})
	signIn(w, p, "anna")
	between := fits
	if shots() != "" {
		between = look
	}
	for _, v := range []struct {
		width int64
		zoom  string
		check func(*testing.T, *browser.Page, string)
	}{{320, "", look}, {360, "", between}, {720, "", between}, {1200, "", between}, {2560, "", look}, {390, "200%", look}, {1440, "200%", between}} {
		p.Show(browser.View{Width: v.width, Height: 900})
		for _, page := range []struct{ name, path string }{
			{"today", "/"}, {"cases", "/cases"}, {"case", "/cases/" + no["access"]}, {"case-long", "/cases/" + no["long"]}, {"case-arabic", "/cases/" + no["arabic"]}, {"case-hebrew", "/cases/" + no["hebrew"]},
			{"case-words", "/cases/" + no["words"]}, {"case-held", "/cases/" + no["objection1"]}, {"erase", "/cases/" + no["late"] + "/erase"}, {"aside", "/aside"}, {"users", "/users"}, {"byhand", "/cases/new"},
		} {
			require.EqualValues(t, 200, p.Open(w.srv.URL+page.path), page.name)
			if v.zoom != "" {
				p.Do(chromedp.Evaluate[chromedp.Void](`document.documentElement.style.fontSize = "` + v.zoom + `"`))
			}
			v.check(t, p, fmt.Sprintf("console-%s-at-%d%s.png", page.name, v.width, strings.TrimSuffix(v.zoom, "%")))
		}
	}
}
