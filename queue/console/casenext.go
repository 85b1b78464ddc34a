package console

import (
	"slices"
	"time"

	"postern/classifier"
	"postern/queue"
	"postern/queue/console/auth"
	"postern/queue/fulfil"
	"postern/queue/reply"
)

const exportVerb = fulfil.Export

// nextStep is the one card that says what to do now: a sentence why, one
// button, at most one other act as text. A wait says for whom and until when.
type nextStep struct {
	Why    string
	Button string // text of the primary act
	Href   string // where it leads, or
	Post   string // what it posts to
	Act    string // value of the field act
	Other  string // text of the second act
	OtherTo,
	OtherPost string
	Field  string // name and value of one more hidden field
	Value  string
	Wait   string // for whom
	Until  time.Time
	Danger bool
}

// needIdentity are the rights that are given only to who is sure to ask
// (design D13).
var needIdentity = []classifier.Label{classifier.Access, classifier.Portability, classifier.Erasure}

// nextStep finds the first thing that stands in the way of the answer.
func (v *visit) nextStep(cv *caseView) nextStep {
	k := cv.Case
	base := casePath(k.Number)
	has := func(flag string) bool { return slices.Contains(k.Flags, flag) }
	asks := func(of ...classifier.Label) bool {
		return slices.ContainsFunc(of, func(l classifier.Label) bool { return slices.Contains(k.Labels, l) })
	}
	say := func(key string, pairs ...string) string { return v.say("next."+key, pairs...) }
	for _, l := range cv.Letters {
		if l.State == "waiting" && l.Held {
			return nextStep{Why: say("held", "time", l.At.Format("15:04:05")), Button: say("take_back"), Post: base + "/letters/" + l.No + "/take-back"}
		}
	}
	switch {
	case k.State == queue.Merged:
		n := nextStep{Why: say("merged")}
		if len(k.Linked) > 0 {
			n.Button, n.Href = say("see_other", "case", k.Linked[0]), casePath(k.Linked[0])
		}
		return n
	case k.State == queue.Answered:
		return nextStep{Why: say("answered"), Button: say("close"), Post: base + "/move", Act: "close", Field: "reason", Value: "done"}
	case !k.State.Live():
		return nextStep{Why: say("ended_" + string(k.State)), Other: say("reopen"), OtherTo: "#reopen"}
	case cv.Approval != nil && cv.Approval.What == queue.EyesErase && v.mayApprove(cv):
		return nextStep{Why: say("approve_erasure", "who", cv.Approval.Who), Button: say("look_erasure"), Href: base + "/erase"}
	case cv.Approval != nil && cv.Approval.What == queue.EyesDeny && v.mayApprove(cv):
		return nextStep{Why: say("approve_denial", "who", cv.Approval.Who), Button: say("look_denial"), Href: base + "/denial"}
	case cv.Approval != nil:
		return nextStep{Why: say("approval_asked"), Wait: say("an_approver"), Other: say("withdraw_wish"), OtherPost: base + "/approval"}
	case has(queue.FlagUndeliverable):
		return nextStep{Why: say("came_back"), Button: say("write_again"), Href: "#reply"}
	case has(queue.FlagNotMe):
		return nextStep{Why: say("not_me"), Button: say("deny"), Href: "#deny"}
	case has(queue.FlagAlert) && k.State == queue.Received:
		return nextStep{Why: say("alert"), Button: say("take_up"), Post: base + "/move", Act: "start"}
	case k.Abstain || has(queue.FlagManual) && k.State == queue.Received:
		return nextStep{Why: say("read"), Button: say("say_what"), Href: "#label"}
	case has(queue.FlagProcessor):
		return nextStep{Why: say("pass_on", "company", cv.Company), Button: say("pass_on_button"), Post: base + "/forward"}
	}
	for _, h := range cv.Holds {
		if h.Decided == "" {
			return nextStep{Why: say("hold"), Button: say("decide"), Href: "#holds"}
		}
	}
	if n, ok := v.identityStep(cv, asks(needIdentity...) && !has(queue.FlagIdentified)); ok {
		return n
	}
	if n, ok := v.taskStep(cv, asks); ok {
		return n
	}
	if has(queue.FlagWeighed) {
		return nextStep{Why: say("weighed"), Button: say("uphold"), Href: "?text=" + string(reply.Upheld) + "#reply", Other: say("refuse_grounds"), OtherTo: "#deny"}
	}
	if asks(classifier.Objection, classifier.WithdrawConsent, classifier.Unsubscribe, classifier.OptOutSale) && !asks(needIdentity...) {
		return nextStep{Why: say("stopped"), Button: say("write"), Href: "#reply"}
	}
	return nextStep{Why: say("answer"), Button: say("write"), Href: "#reply"}
}

// mayApprove tells whether this visitor may approve what is wanted: an
// approver, and another one where the controller asks for four eyes.
func (v *visit) mayApprove(cv *caseView) bool {
	return v.user.Is(auth.Approver) && (!cv.Approval.Mine || !v.c.d.Cases.FourEyes(cv.Case.Controller, cv.Approval.What))
}

func (v *visit) identityStep(cv *caseView, needed bool) (nextStep, bool) {
	base := casePath(cv.Case.Number)
	switch {
	case cv.Case.State == queue.Identity:
		n := nextStep{Why: v.say("next.identity_asked"), Wait: v.say("next.the_person"), Button: v.say("next.remind"), Post: base + "/challenge", Other: v.say("next.waive"), OtherTo: "#identify"}
		if !cv.Acts["ask"] && !v.c.d.Cases.CanChallenge(cv.Case.Controller) {
			n.Button, n.Post = "", ""
		}
		return n, true
	case needed && cv.Acts["ask"]:
		return nextStep{Why: v.say("next.identity"), Button: v.say("next.ask_person"), Post: base + "/challenge", Other: v.say("next.waive"), OtherTo: "#identify"}, true
	case needed && cv.Acts["identify"]:
		return nextStep{Why: v.say("next.identity_by_hand"), Button: v.say("next.waive"), Href: "#identify"}, true
	}
	return nextStep{}, false
}

func (v *visit) taskStep(cv *caseView, asks func(...classifier.Label) bool) (nextStep, bool) {
	base := casePath(cv.Case.Number)
	open, failed, asked := 0, 0, map[fulfil.Verb]bool{}
	var until time.Time
	for _, t := range cv.Tasks {
		if t.DryRun {
			continue
		}
		asked[t.Verb] = true
		switch {
		case t.Status == fulfil.Failed:
			failed++
		case !t.Done():
			open++
			if !t.Due.IsZero() && (until.IsZero() || t.Due.Before(until)) {
				until = t.Due
			}
		}
	}
	switch {
	case failed > 0:
		return nextStep{Why: v.say("next.task_failed"), Button: v.say("next.look_tasks"), Href: "#tasks"}, true
	case open > 0:
		return nextStep{Why: v.say("next.tasks_open"), Wait: v.words.count("next.systems", open), Until: until, Button: v.say("next.look_tasks"), Href: "#tasks"}, true
	case cv.Case.State == queue.Waiting && len(asked) == 0:
		return nextStep{Why: v.say("next.waiting"), Button: v.say("next.resume"), Post: base + "/move", Act: "resume"}, true
	case asks(classifier.Erasure) && !asked[fulfil.Erase]:
		return nextStep{Why: v.say("next.erase"), Button: v.say("next.see_erasure"), Href: base + "/erase"}, true
	case asks(classifier.Access, classifier.Portability) && cv.Acts["collect"] && !asked[fulfil.Export]:
		return nextStep{Why: v.say("next.collect"), Button: v.say("next.collect_button"), Post: base + "/collect", Other: v.say("next.write"), OtherTo: "#reply"}, true
	case asks(classifier.Access, classifier.Portability) && asked[fulfil.Export]:
		return nextStep{Why: v.say("next.package"), Button: v.say("next.package_button"), Href: base + "/package", Other: v.say("next.write"), OtherTo: "#reply"}, true
	}
	return nextStep{}, false
}
