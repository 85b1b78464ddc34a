package main

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/redis/go-redis/v9"

	"postern/classifier"
	"postern/testmail/env"
	"postern/testmail/smarthost"
)

// benchIntake measures how fast a full mailbox becomes stored cases, through
// the built binary on a real Dovecot and a Redis that syncs every write, beside
// a client that only fetches the same mails; and the classifier alone.
func benchIntake(ctx context.Context, h *host, args []string) error {
	fs := flag.NewFlagSet("intake", flag.ExitOnError)
	mails := fs.Int("mails", 20000, "mails in the mailbox")
	corpus := fs.String("corpus", "testmail/corpus", "folder of the mails")
	if err := fs.Parse(args); err != nil {
		return err
	}
	kinds, err := mixed(*corpus)
	if err != nil {
		return err
	}
	alone, err := classifyAlone(*corpus)
	if err != nil {
		return err
	}
	sink, err := smarthost.New(smarthost.Options{Discard: true})
	if err != nil {
		return err
	}
	h.Cleanup(func() { _ = sink.Close() })
	dovecot := env.Dovecot(h)
	size, err := fillMailbox(dovecot, kinds, *mails)
	if err != nil {
		return err
	}
	floor, err := fetchOnly(dovecot, *mails, size)
	if err != nil {
		return fmt.Errorf("fetch only: %w", err)
	}
	i := install(h, build(h), sink.Addr(), dovecot)
	began := i.started
	for read := 0; read < *mails; {
		if read, err = i.readMails(ctx); err != nil {
			return err
		}
		if time.Since(began) > 10*time.Minute {
			return fmt.Errorf("%d of %d mails read after ten minutes", read, *mails)
		}
	}
	took := time.Since(began)
	used, store := groupUsage(i.proc.Pid()), groupUsage(i.redis.Pid())
	asked, err := commands(ctx, i.redis)
	if err != nil {
		return err
	}
	perMail := func(cpu time.Duration) float64 { return cpu.Seconds() * 1000 / float64(*mails) }
	rate, bare := float64(*mails)/took.Seconds(), float64(*mails)/floor.Seconds()
	fmt.Printf("%d mails, %d bytes each on average, every write of Redis synced:\n", *mails, size / *mails)
	fmt.Printf("  fetched and thrown away   %6.0f mails/s\n", bare)
	fmt.Printf("  read, stored and moved    %6.0f mails/s (%.2f of it), %.2f ms of CPU a mail, peak memory %d MB\n",
		rate, rate/bare, perMail(used.cpu), peakMemory(i.proc.Pid())>>20)
	fmt.Printf("  Redis meanwhile           %6.1f commands and %.2f ms of CPU a mail: %s\n",
		float64(asked.total)/float64(*mails), perMail(store.cpu), asked.most(*mails))
	fmt.Printf("  classifier alone, a core  %6.0f mails/s at %d bytes of text, %d MB held\n", alone.rate, alone.size, alone.held>>20)
	return nil
}

// mixed gives the mails of the corpus: letters, machine mail, and the held-out
// letters as mails.
func mixed(dir string) ([][]byte, error) {
	var out [][]byte
	for _, pattern := range []string{"*.eml", "machine/*.eml"} {
		files, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil || len(files) == 0 {
			return nil, fmt.Errorf("no mails at %s: run it from the project's folder", filepath.Join(dir, pattern))
		}
		for _, f := range files {
			raw, err := os.ReadFile(f)
			if err != nil {
				return nil, err
			}
			out = append(out, raw)
		}
	}
	letters, err := heldOut(dir)
	for n, l := range letters {
		out = append(out, fmt.Appendf(nil, "From: <person%d@example.net>\r\nTo: privacy@example.org\r\nSubject: %s\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n%s\r\n",
			n, mime.QEncoding.Encode("utf-8", l.Subject), strings.ReplaceAll(l.Body, "\n", "\r\n")))
	}
	return out, err
}

type heldOutLetter struct{ Subject, Body string }

func heldOut(dir string) ([]heldOutLetter, error) {
	files, err := filepath.Glob(filepath.Join(dir, "letters", "*.jsonl"))
	if err != nil {
		return nil, err
	}
	var out []heldOutLetter
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		lines := bufio.NewScanner(f)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			var l heldOutLetter
			if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			out = append(out, l)
		}
		_ = f.Close()
		if err := lines.Err(); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return out, nil
}

// fillMailbox writes n mails into the INBOX's maildir, each with an id of its own.
func fillMailbox(d *env.DovecotServer, kinds [][]byte, n int) (size int, err error) {
	c, err := openInbox(d) // makes the maildir
	if err != nil {
		return 0, err
	}
	_ = c.Close()
	for i := range n {
		raw := fmt.Appendf(nil, "X-Number: %d\r\nMessage-ID: <n%d@example.net>\r\n", i, i)
		raw = append(raw, kinds[i%len(kinds)]...)
		size += len(raw)
		name := fmt.Sprintf("%d.M%dP1.host", time.Now().Unix()-int64(n-i)/100, i)
		if err := os.WriteFile(filepath.Join(d.Dir, "mail", "new", name), raw, 0o644); err != nil {
			return 0, err
		}
	}
	return size, nil
}

func openInbox(d *env.DovecotServer) (*imapclient.Client, error) {
	c, err := imapclient.DialInsecure(d.Addr, nil)
	if err != nil {
		return nil, err
	}
	if err := c.Login(d.User, d.Password).Wait(); err != nil {
		return nil, err
	}
	_, err = c.Select("INBOX", &imap.SelectOptions{ReadOnly: true}).Wait()
	return c, err
}

// fetchOnly reads every body and does nothing with it. The mailbox was opened
// before, so that both sides find Dovecot's index made.
func fetchOnly(d *env.DovecotServer, n, size int) (time.Duration, error) {
	c, err := openInbox(d)
	if err != nil {
		return 0, err
	}
	defer func() { _ = c.Close() }()
	began := time.Now()
	section := &imap.FetchItemBodySection{Peek: true}
	cmd := c.Fetch(imap.SeqSet{{Start: 1}}, &imap.FetchOptions{UID: true, InternalDate: true, BodySection: []*imap.FetchItemBodySection{section}})
	got, octets := 0, 0
	for m := cmd.Next(); m != nil; m = cmd.Next() {
		mail, err := m.Collect()
		if err != nil {
			return 0, err
		}
		got, octets = got+1, octets+len(mail.FindBodySection(section))
	}
	if err := cmd.Close(); err != nil {
		return 0, err
	}
	if got != n || octets < size { // line ends may have grown
		return 0, fmt.Errorf("%d of %d mails came, %d of %d octets", got, n, octets, size)
	}
	return time.Since(began), nil
}

// readMails asks the running postern how many mails it has given an outcome.
func (i *installation) readMails(ctx context.Context) (int, error) {
	n, err := i.metric(ctx, "postern_intake_messages_total")
	return int(n), err
}

// metricEvery is how often a running postern is asked for a metric: seldom
// enough that answering costs nothing to speak of.
const metricEvery = 200 * time.Millisecond

// metric waits a moment, then sums up a metric of the running postern over all
// its labels.
func (i *installation) metric(ctx context.Context, name string) (total float64, err error) {
	select {
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-time.After(metricEvery):
	}
	resp, err := http.Get("http://" + i.Operator + "/metrics")
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err
	}
	for _, line := range strings.Split(string(body), "\n") {
		if rest, ok := strings.CutPrefix(line, name); ok && (rest[0] == ' ' || rest[0] == '{') {
			v, err := strconv.ParseFloat(line[strings.LastIndexByte(line, ' ')+1:], 64)
			if err != nil {
				return 0, err
			}
			total += v
		}
	}
	return total, nil
}

// commandCounts are how often a Redis ran each command.
type commandCounts struct {
	by    map[string]int
	total int
}

// commands asks a Redis what it ran so far; calls from within scripts count,
// too.
func commands(ctx context.Context, r *env.RedisServer) (c commandCounts, err error) {
	options, err := redis.ParseURL(r.URL())
	if err != nil {
		return c, err
	}
	rdb := redis.NewClient(options)
	defer func() { _ = rdb.Close() }()
	stats, err := rdb.Info(ctx, "commandstats").Result()
	if err != nil {
		return c, err
	}
	c.by = map[string]int{}
	for _, line := range strings.Split(stats, "\r\n") {
		name, rest, ok := strings.Cut(strings.TrimPrefix(line, "cmdstat_"), ":calls=")
		if !ok {
			continue
		}
		n, err := strconv.Atoi(rest[:strings.IndexByte(rest, ',')])
		if err != nil {
			return c, err
		}
		c.by[name], c.total = n, c.total+n
	}
	return c, nil
}

// most names the commands that ran at least once in ten mails, most first.
func (c commandCounts) most(mails int) string {
	var out []string
	names := slices.SortedFunc(maps.Keys(c.by), func(a, b string) int { return c.by[b] - c.by[a] })
	for _, name := range names {
		if n := float64(c.by[name]) / float64(mails); n >= 0.1 {
			out = append(out, fmt.Sprintf("%s %.1f", name, n))
		}
	}
	return strings.Join(out, ", ")
}

// aloneFigures are the classifier's by itself, on one core.
type aloneFigures struct {
	rate float64 // mails a second
	size int     // octets of text a mail
	held uint64  // octets the loaded classifier keeps
}

func classifyAlone(dir string) (f aloneFigures, err error) {
	letters, err := heldOut(dir)
	if err != nil || len(letters) == 0 {
		return f, fmt.Errorf("held-out letters of %s: %w", dir, err)
	}
	var texts []classifier.Input
	for n := range letters { // letters joined until a mail has about 1 KB
		text := letters[n].Body
		for m := n + 1; len(text) < 1024 && m < len(letters); m++ {
			text += "\n\n" + letters[m].Body
		}
		if len(text) < 1024 {
			break
		}
		in := classifier.Input{Subject: letters[n].Subject, Text: strings.ToValidUTF8(text[:1024], "")}
		texts = append(texts, in)
		f.size += len(in.Text)
	}
	f.size /= len(texts)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	c, err := classifier.New()
	if err != nil {
		return f, err
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	f.held = after.HeapAlloc - min(before.HeapAlloc, after.HeapAlloc)
	began, n := time.Now(), 0
	for ; time.Since(began) < 3*time.Second; n++ {
		c.Classify(texts[n%len(texts)])
	}
	f.rate = float64(n) / time.Since(began).Seconds()
	return f, nil
}
