package stream

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func good() Stream {
	return Stream{Name: "news", Number: 1, Kind: Marketing, Controller: "shop", Purpose: "newsletter", ListID: "News.example.org", Title: "News", Mode: Observe,
		FromDomains: []string{"example.org"}, FeedbackID: "a:b:c:shop1"}
}

var shop = []Controller{{ID: "shop"}}

func TestSetFinds(t *testing.T) {
	old := Stream{Name: "old", Number: 7, Kind: Transactional, Controller: "shop", Mode: Enforce, Retired: true}
	s, err := NewSet(append(shop, Controller{ID: "a"}), []Stream{old, good()})
	require.NoError(t, err)
	st, ok := s.ByName("news")
	require.True(t, ok)
	require.EqualValues(t, 1, st.Number)
	st, ok = s.ByNumber(7)
	require.True(t, ok, "retired streams resolve")
	require.True(t, st.Retired)
	st, ok = s.ByListID("NEWS.Example.Org")
	require.True(t, ok)
	require.Equal(t, "news", st.Name)
	_, ok = s.ByName("none")
	require.False(t, ok)
	_, ok = s.Controller("shop")
	require.True(t, ok)
	require.Equal(t, []string{"news", "old"}, []string{s.Streams()[0].Name, s.Streams()[1].Name})
	require.Equal(t, "a", s.Controllers()[0].ID)
}

func TestSetRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		edit func(*Stream)
		want string
	}{
		"no name":            {func(s *Stream) { s.Name = "" }, "name is empty"},
		"name with line end": {func(s *Stream) { s.Name = "a\r\nb" }, "header field"},
		"number 0":           {func(s *Stream) { s.Number = 0 }, "permanent"},
		"controller":         {func(s *Stream) { s.Controller = "x" }, "not configured"},
		"kind":               {func(s *Stream) { s.Kind = "bulk" }, "none of marketing"},
		"mode":               {func(s *Stream) { s.Mode = "" }, "none of observe"},
		"no purpose":         {func(s *Stream) { s.Purpose = "" }, "needs purpose"},
		"list id":            {func(s *Stream) { s.ListID = "news" }, "RFC 2919"},
		"list id injected":   {func(s *Stream) { s.ListID = "a.b>\r\nX: y" }, "RFC 2919"},
		"list id too long":   {func(s *Stream) { s.ListID = strings.Repeat("a.", 128) + "a" }, "RFC 2919"},
		"transactional list": {func(s *Stream) { s.Kind = Transactional }, "UNS-10"},
		"feedback id":        {func(s *Stream) { s.FeedbackID = "a:b:c" }, "feedback_id"},
		"feedback injected":  {func(s *Stream) { s.FeedbackID = "a:b:c\r\nX:sender" }, "feedback_id"},
		"domain":             {func(s *Stream) { s.FromDomains = []string{"Example.org"} }, "from_domains"},
		"sign":               {func(s *Stream) { s.Sign = "yes" }, "sign"},
		"mixed":              {func(s *Stream) { s.Mixed = "yes" }, "mixed"},
		"bounce":             {func(s *Stream) { s.Bounce = "yes" }, "bounce"},
		"unsubscribe":        {func(s *Stream) { s.Unsubscribe = "yes" }, "unsubscribe"},
		"signed":             {func(s *Stream) { s.Signed = "yes" }, "signed"},
		"store_down":         {func(s *Stream) { s.StoreDown = "yes" }, "store_down"},
		"advisory":           {func(s *Stream) { s.Advisory = "yes" }, "advisory"},
	} {
		t.Run(name, func(t *testing.T) {
			st := good()
			c.edit(&st)
			_, err := NewSet(shop, []Stream{st})
			require.ErrorContains(t, err, c.want)
		})
	}
}

func TestSetTellsAllFaults(t *testing.T) {
	twin, other := good(), good()
	other.Name, other.Number = "other", 2
	_, err := NewSet(append(shop, shop...), []Stream{good(), twin, other})
	for _, want := range []string{"id is empty or given twice", "name is empty or given twice", "number 1", "used by another stream"} {
		require.ErrorContains(t, err, want)
	}
}

func TestFormerStreams(t *testing.T) {
	list := func(name string, number uint16, purpose string, retired bool) Stream {
		return Stream{Name: name, Number: number, Kind: Marketing, Controller: "shop", Purpose: purpose, ListID: name + ".example.org", Title: name, Mode: Enforce, Retired: retired}
	}
	other := list("theirs", 5, "news", true)
	other.Controller = "other"
	set, err := NewSet([]Controller{{ID: "shop"}, {ID: "other"}}, []Stream{
		list("old", 1, "news", true), list("new", 2, "news", false), list("offers", 3, "offers", false), list("older", 4, "news", true), other,
		{Name: "orders", Number: 6, Kind: Transactional, Controller: "shop", Mode: Enforce},
	})
	require.NoError(t, err)
	require.Equal(t, []uint16{1, 4}, set.Former(2))
	require.Empty(t, set.Former(3))
	require.Empty(t, set.Former(6))
}

// A controller's own host names it and keeps the others' pages out; every other
// host is the installation's.
func TestOwnHost(t *testing.T) {
	set, err := NewSet([]Controller{{ID: "a", PublicURL: "https://mail.a.example"}, {ID: "b", PublicURL: "https://Mail.B.example:8443"}, {ID: "c"}}, nil)
	require.NoError(t, err)
	for host, want := range map[string]string{"mail.a.example": "a", "MAIL.A.example.:443": "a", "mail.b.example": "b", "mail.example.org": "", "": "", "[::1]:80": ""} {
		c, ok := set.ByHost(host)
		require.Equal(t, want != "", ok, host)
		require.Equal(t, want, c.ID, host)
		require.Equal(t, want != "" && want != "a", set.Elsewhere(host, "a"), host)
		if who := set.Speaking(host); want == "" {
			require.Nil(t, who, host)
		} else {
			require.Equal(t, want, who.ID)
		}
	}
	require.Equal(t, "https://mail.a.example", set.PublicURL("a", "https://mail.example.org"))
	require.Equal(t, "https://mail.example.org", set.PublicURL("c", "https://mail.example.org"))
	alone, err := NewSet([]Controller{{ID: "c"}}, nil)
	require.NoError(t, err)
	require.Equal(t, "c", alone.Speaking("any.example").ID)
	for _, wrong := range []string{"https://MAIL.a.example:444", "no host"} {
		_, err := NewSet([]Controller{{ID: "a", PublicURL: "https://mail.a.example"}, {ID: "b", PublicURL: wrong}}, nil)
		require.ErrorContains(t, err, "public URL", wrong)
	}
}
