package console

import (
	"io/fs"
	"path"
	"regexp"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"postern/queue"
)

var placeholder = regexp.MustCompile(`\{[a-z_]+\}`)

// Every language has every text, with the same placeholders.
func TestLanguagesAgree(t *testing.T) {
	ts, err := loadTexts(textFiles)
	require.NoError(t, err)
	english := ts.byTag["en"]
	require.Same(t, english, ts.list[0])
	for _, w := range ts.list {
		for key, text := range english.text {
			require.Contains(t, w.text, key, w.tag)
			if key == "date.short" || key == "date.long" {
				continue
			}
			want, got := placeholder.FindAllString(text, -1), placeholder.FindAllString(w.text[key], -1)
			sort.Strings(want)
			sort.Strings(got)
			require.Equal(t, want, got, "%s: %s", w.tag, key)
		}
	}
}

var textCall = regexp.MustCompile(`\{\{[^}]*?\b(t|n) "([a-z0-9_.-]+)"`)

// Every text that a template names is there, and each page parses, which is
// not done before it is asked for.
func TestTemplatesNameTexts(t *testing.T) {
	ts, err := loadTexts(textFiles)
	require.NoError(t, err)
	files, err := fs.Glob(pageFiles, "page/*.html")
	require.NoError(t, err)
	n := 0
	for _, f := range files {
		b, err := fs.ReadFile(pageFiles, f)
		require.NoError(t, err)
		for _, m := range textCall.FindAllStringSubmatch(string(b), -1) {
			key := m[2]
			if m[1] == "n" {
				key += ".other"
			}
			require.True(t, ts.list[0].has(key), "%s: %s", f, key)
			n++
		}
	}
	require.Greater(t, n, 50)
	c := &Console{texts: ts}
	for _, w := range ts.list {
		set := &pageSet{c: c, words: w}
		for _, f := range files {
			_, err := set.parsed(strings.TrimSuffix(path.Base(f), ".html"))
			require.NoError(t, err, "%s: %s", w.tag, f)
		}
	}
}

// Counts and dates read as the language writes them.
func TestWords(t *testing.T) {
	ts, err := loadTexts(textFiles)
	require.NoError(t, err)
	en, de := ts.byTag["en"], ts.byTag["de"]
	require.Equal(t, "1 day late", en.count("due.late", 1))
	require.Equal(t, "2 Tage zu spät", de.count("due.late", 2))
	require.Equal(t, "10,000", en.number(10000))
	require.Equal(t, "10.000", de.number(10000))
	require.Equal(t, "3.5", en.decimal(3.5))
	require.Equal(t, "3,0", de.decimal(3))
	now := time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC)
	require.Equal(t, "Fri 27 Nov", en.date(now.AddDate(0, 0, 3), now))
	require.Equal(t, "Fr. 27. Nov.", de.date(now.AddDate(0, 0, 3), now))
	require.Equal(t, "Mon 1 Mar 2027", en.date(time.Date(2027, 3, 1, 0, 0, 0, 0, time.UTC), now))
	require.Equal(t, "some new word", en.say("badge.some_new_word"), "a word without text is better than a hole")
}

// An operator who picks a reason need not speak the person's language.
func TestReasonsOfLettersAreSaid(t *testing.T) {
	for _, reason := range append(slices.Clone(denyReasons), extendReasons...) {
		require.True(t, queue.SaysReason(reason), reason)
	}
}
