package preflight

// Rule is one line of a provider's check-list.
type Rule struct {
	Provider string `json:"provider"`
	Rule     string `json:"rule"`
	Level    Level  `json:"level"`
	Do       string `json:"do,omitempty"`
}

type ruleOf struct {
	provider, rule string
	by             []string // findings that decide it; none: nobody here can
	do             string   // where by is empty
}

const (
	gmail = "Gmail"
	yahoo = "Yahoo"
)

// bulk are the senders' guidelines of both as of standards section 5.
var bulk = []ruleOf{
	{gmail, "SPF and DKIM", []string{NameSPF, NameDKIM}, ""},
	{gmail, "DKIM key of 1024 bits or more, 2048 advised", []string{NameKey}, ""},
	{gmail, "DMARC with at least p=none, From aligned", []string{NameDMARC, NameAlignment}, ""},
	{gmail, "PTR record with a matching forward record", []string{NamePTR}, ""},
	{gmail, "format of RFC 5322", []string{NameOnce}, ""},
	{gmail, "one-click unsubscribe, honoured within 48 hours", []string{NameUnsubscribe, NamePost, NameCovered, NamePOST}, ""},
	{gmail, "a visible unsubscribe link in the body", []string{NameLink}, ""},
	{gmail, "spam rate under 0.10 %, never 0.30 %", nil, "watch Postmaster Tools"},
	{yahoo, "SPF and DKIM", []string{NameSPF, NameDKIM}, ""},
	{yahoo, "DMARC passes", []string{NameDMARC, NameAlignment}, ""},
	{yahoo, "one-click unsubscribe, honoured within 2 days", []string{NameUnsubscribe, NamePost, NameCovered, NamePOST}, ""},
	{yahoo, "a visible unsubscribe link in the body", []string{NameLink}, ""},
	{yahoo, "spam rate under 0.30 %", nil, "enrol the DKIM domain in the Complaint Feedback Loop"},
}

// BulkRules reads the findings as Gmail's and Yahoo's rules for bulk senders.
// A rule is as bad as the worst finding it rests on.
func BulkRules(list []Finding) []Rule {
	found := map[string]Finding{}
	for _, f := range list {
		found[f.Name] = f
	}
	out := make([]Rule, 0, len(bulk))
	for _, b := range bulk {
		r := Rule{Provider: b.provider, Rule: b.rule, Level: Pass}
		if len(b.by) == 0 {
			r.Level, r.Do = Unchecked, b.do
		}
		for _, name := range b.by {
			f, ok := found[name]
			if !ok {
				f = unchecked(name, "", "see "+NameDKIM)
			}
			if rank(f.Level) > rank(r.Level) {
				r.Level, r.Do = f.Level, f.Do
			}
		}
		out = append(out, r)
	}
	return out
}

func rank(l Level) int {
	switch l {
	case Pass:
		return 0
	case Advice:
		return 1
	case Unchecked:
		return 2
	}
	return 3
}
