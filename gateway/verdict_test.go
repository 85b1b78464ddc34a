package gateway

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"postern/gateway/consent"
	"postern/gateway/stream"
)

func TestJudge(t *testing.T) {
	active := consent.Answer{Status: consent.StatusActive}
	status := func(s consent.Status) consent.Answer { return consent.Answer{Status: s} }
	stopped := func(r consent.Reason, s consent.Scope) consent.Answer {
		return consent.Answer{Status: consent.StatusActive, Suppressed: r, Scope: s}
	}
	const (
		m, tr, sv, pe = stream.Marketing, stream.Transactional, stream.Service, stream.Personal
		obs, ann, enf = stream.Observe, stream.Annotate, stream.Enforce
	)
	allow, would := "allow", "would "
	for _, c := range []struct {
		name string
		q    question
		want string
	}{
		{"active consent", question{Kind: m, Mode: enf, Answer: active}, allow},
		{"nothing known", question{Kind: m, Mode: enf}, "deny no-consent"},
		{"nothing known, annotate", question{Kind: m, Mode: ann}, would + "no-consent"},
		{"nothing known, observe", question{Kind: m, Mode: obs}, would + "no-consent"},
		{"unconfirmed", question{Kind: m, Mode: enf, Answer: status(consent.StatusPending)}, "deny unconfirmed"},
		{"unconfirmed, observe", question{Kind: m, Mode: obs, Answer: status(consent.StatusPending)}, would + "unconfirmed"},
		{"expired", question{Kind: m, Mode: enf, Answer: status(consent.StatusExpired)}, "deny expired"},
		{"expired, observe", question{Kind: m, Mode: obs, Answer: status(consent.StatusExpired)}, would + "expired"},
		{"unproven", question{Kind: m, Mode: enf, Answer: status(consent.StatusUnproven)}, "deny unproven-import"},
		{"a status of the future", question{Kind: m, Mode: enf, Answer: status("maybe")}, "deny no-consent"},
		{"withdrawn", question{Kind: m, Mode: enf, Answer: status(consent.StatusWithdrawn)}, "deny withdrawn"},
		{"withdrawn binds in observe", question{Kind: m, Mode: obs, Answer: status(consent.StatusWithdrawn)}, "deny withdrawn"},
		{"objected binds in annotate", question{Kind: m, Mode: ann, Answer: status(consent.StatusObjected)}, "deny withdrawn"},

		{"unsubscribed beats consent", question{Kind: m, Mode: enf, Answer: stopped(consent.Unsubscribed, consent.ScopeStream)}, "deny suppressed:unsubscribed"},
		{"unsubscribed in observe", question{Kind: m, Mode: obs, Answer: stopped(consent.Unsubscribed, consent.ScopeStream)}, "deny suppressed:unsubscribed"},
		{"complaint in observe", question{Kind: m, Mode: obs, Answer: stopped(consent.Complained, consent.ScopeController)}, "deny suppressed:complaint"},
		{"erased in observe", question{Kind: m, Mode: obs, Answer: stopped(consent.Erased, consent.ScopeAll)}, "deny suppressed:erased"},
		{"erasure pending in annotate", question{Kind: m, Mode: ann, Answer: stopped(consent.ErasurePending, consent.ScopeController)}, "deny suppressed:erasure-pending"},
		{"held in observe", question{Kind: m, Mode: obs, Answer: stopped(consent.Held, consent.ScopeController)}, "deny suppressed:hold"},
		{"a bounce in observe: it may hide a no", question{Kind: m, Mode: obs, Answer: stopped(consent.Bounced, consent.ScopeController)}, "deny suppressed:bounce"},
		{"a bounce, enforced", question{Kind: m, Mode: enf, Answer: stopped(consent.Bounced, consent.ScopeAll)}, "deny suppressed:bounce"},

		{"an order to who wants no marketing", question{Kind: tr, Mode: enf, Answer: stopped(consent.ObjectedTo, consent.ScopeController)}, allow},
		{"an order to who is erased", question{Kind: tr, Mode: enf, Answer: stopped(consent.Erased, consent.ScopeAll)}, "deny suppressed:erased"},
		{"an order needs no consent", question{Kind: tr, Mode: enf}, allow},
		{"a letter to who is erased", question{Kind: pe, Mode: enf, Answer: stopped(consent.Erased, consent.ScopeAll)}, "deny suppressed:erased"},
		{"service mail passes all", question{Kind: sv, Mode: enf, Answer: stopped(consent.Erased, consent.ScopeAll)}, allow},

		{"store away", question{Kind: m, Mode: enf, Unknown: true}, "defer store-unavailable"},
		{"store away, observe: a no may be there", question{Kind: m, Mode: obs, Unknown: true}, "defer store-unavailable"},
		{"store away, order", question{Kind: tr, Mode: enf, Unknown: true}, allow},
		{"store away, order that waits", question{Kind: tr, Mode: enf, Unknown: true, StoreDown: "defer"}, "defer store-unavailable"},
		{"store away, service", question{Kind: sv, Mode: enf, Unknown: true, StoreDown: "defer"}, allow},

		{"marketing from <>", question{Kind: m, Mode: enf, Null: true, Answer: active}, "deny null-reverse-path"},
		{"marketing from <>, observe", question{Kind: m, Mode: obs, Null: true, Answer: active}, would + "null-reverse-path"},
		{"an order from <>", question{Kind: tr, Mode: enf, Null: true}, allow},
		{"foreign sender", question{Kind: tr, Mode: enf, Sender: &Denial{Reason: FromDenied, Detail: "From"}}, "deny from-not-allowed:From"},
		{"foreign sender, annotate", question{Kind: tr, Mode: ann, Sender: &Denial{Reason: FromDenied, Detail: "From"}}, would + "from-not-allowed:From"},
		{"foreign sender of service mail", question{Kind: sv, Mode: enf, Sender: &Denial{Reason: FromDenied}}, "deny from-not-allowed"},
		{"a no beats a foreign sender in observe", question{Kind: m, Mode: obs, Sender: &Denial{Reason: FromDenied}, Answer: status(consent.StatusWithdrawn)}, "deny withdrawn"},
	} {
		t.Run(c.name, func(t *testing.T) {
			require.Equal(t, c.want, describe(judge(c.q)))
		})
	}
}

func describe(v verdict) string {
	switch {
	case v.Deny != nil && v.Deny.Defer:
		return "defer " + v.Deny.label()
	case v.Deny != nil:
		return "deny " + v.Deny.label()
	case v.Would != nil:
		return "would " + v.Would.label()
	}
	return "allow"
}

// drawQuestion draws any question at all.
func drawQuestion(t *rapid.T) question {
	q := question{
		Kind:      rapid.SampledFrom([]stream.Kind{stream.Marketing, stream.Transactional, stream.Service, stream.Personal}).Draw(t, "kind"),
		Mode:      rapid.SampledFrom([]stream.Mode{stream.Observe, stream.Annotate, stream.Enforce}).Draw(t, "mode"),
		StoreDown: rapid.SampledFrom([]string{"", "pass", "defer"}).Draw(t, "down"),
		Null:      rapid.Bool().Draw(t, "null"),
		Unknown:   rapid.Bool().Draw(t, "unknown"),
		Answer: consent.Answer{
			Status: rapid.SampledFrom([]consent.Status{"", consent.StatusPending, consent.StatusActive, consent.StatusWithdrawn,
				consent.StatusExpired, consent.StatusUnproven, consent.StatusObjected, "new"}).Draw(t, "status"),
			Suppressed: rapid.SampledFrom([]consent.Reason{"", consent.Unsubscribed, consent.Complained, consent.Bounced, consent.ErasurePending,
				consent.Erased, consent.ObjectedTo, consent.WithdrawnBy, consent.Manual, consent.Held, "new"}).Draw(t, "suppressed"),
			Scope: rapid.SampledFrom([]consent.Scope{consent.ScopeStream, consent.ScopePurpose, consent.ScopeController, consent.ScopeAll}).Draw(t, "scope"),
		},
	}
	if rapid.Bool().Draw(t, "sender") {
		q.Sender = &Denial{Reason: FromDenied}
	}
	return q
}

func TestJudgeNeverMailsANo(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q := drawQuestion(t)
		v := judge(q)
		require.False(t, v.Deny != nil && v.Would != nil, "denied and allowed at once")
		if q.Kind == stream.Marketing && q.Unknown {
			require.NotNil(t, v.Deny, "what is not known is not sent")
			require.True(t, v.Deny.Defer)
			return
		}
		a := q.Answer
		saidNo := a.Status == consent.StatusWithdrawn || a.Status == consent.StatusObjected || a.Suppressed != ""
		if q.Kind == stream.Marketing && saidNo {
			require.NotNil(t, v.Deny, "a no binds in every mode")
			require.False(t, v.Deny.Defer)
		}
		if q.Kind == stream.Marketing && v == (verdict{}) {
			require.Equal(t, consent.StatusActive, a.Status)
			require.Empty(t, a.Suppressed)
			require.False(t, q.Null)
			require.Nil(t, q.Sender)
		}
		if q.Kind == stream.Service && q.Sender == nil {
			require.Equal(t, verdict{}, v, "service mail always passes")
		}
		if q.Mode == stream.Enforce {
			require.Nil(t, v.Would)
		}
	})
}
