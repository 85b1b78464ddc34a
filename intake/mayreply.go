package intake

import (
	"strings"

	"postern/classifier"
	"postern/intake/mime"
	"postern/queue"
)

// mayReply says whether an automatic answer may go out (RFC 3834 section 2,
// AR-2..AR-9), and if not which condition forbids it, in a closed word. No
// condition here keeps a case from being opened (AR-7).
func mayReply(in queue.Incoming, h mime.Header, v Verdict, mb Mailbox) (bool, string) {
	why := noReply(in, h, v, mb)
	return why == "", why
}

func noReply(in queue.Incoming, h mime.Header, v Verdict, mb Mailbox) string {
	auto := strings.ToLower(strings.TrimSpace(h.Get("Auto-Submitted")))
	precedence := strings.ToLower(strings.TrimSpace(h.Get("Precedence")))
	suppress := strings.ToLower(h.Get("X-Auto-Response-Suppress"))
	switch {
	case in.ReturnPath == "":
		return "no-return-path"
	case in.ReturnPath == "<>":
		return "null-return-path"
	case in.From.IsZero():
		return "no-sender"
	case v.Aside != "":
		return "machine-mail"
	case v.Token != "":
		return "unsubscribe-address"
	case auto != "" && !strings.HasPrefix(auto, "no"):
		return "auto-submitted"
	case precedence == "bulk", precedence == "list", precedence == "junk", precedence == "auto_reply":
		return "precedence"
	case listMail(h):
		return "list"
	case h.Has("X-Autoreply"), h.Has("X-Autorespond"), h.Has("X-MS-Exchange-Generated-Message-Source"), h.Has("X-MS-Exchange-Inbox-Rules-Loop"):
		return "auto-reply"
	case suppress != "" && suppress != "none":
		return "suppress-asked"
	case h.Has("X-Postern-Trace") || h.Has("X-Postern-Case"):
		return "own-trace"
	case noPerson(localPart(in.ReturnPath)), noPerson(in.From.Local()):
		return "no-person"
	case ours(in.ReturnPath, mb), ours(in.From.Plain(), mb):
		return "own-address"
	case v.Kind == classifier.KindSpam || strings.HasPrefix(strings.ToLower(h.Get("X-Spam-Flag")), "yes"):
		return "spam"
	case in.Grade == queue.Contradicted:
		return "contradicted"
	case in.Grade == queue.Unknown && !strings.EqualFold(domainPart(in.ReturnPath), in.From.Domain()):
		return "unproven-return-path"
	}
	return ""
}

// listMail tells of mail that a list handed out. List-Unsubscribe alone is
// what newsletters bear; both get no answer.
func listMail(h mime.Header) bool {
	for _, f := range h {
		if len(f.Name) > 5 && strings.EqualFold(f.Name[:5], "list-") {
			return true
		}
	}
	return h.Has("Mailing-List") || h.Has("X-Mailing-List")
}

// noPerson tells of local-parts behind which nobody reads (RFC 3834 section 2).
func noPerson(local string) bool {
	l := strings.ToLower(local)
	for _, p := range []string{"owner-", "bounce+", "bounce-", "bounces+", "bounces-", "noreply", "no-reply", "no_reply", "donotreply", "do-not-reply", "do_not_reply", "mailer-daemon", "nepasrepondre", "ne-pas-repondre", "keineantwort"} {
		if strings.HasPrefix(l, p) {
			return true
		}
	}
	for _, s := range []string{"-request", "-owner", "-bounces", "-noreply", "-no-reply", ".noreply"} {
		if strings.HasSuffix(l, s) {
			return true
		}
	}
	return l == "postmaster" || l == "bounce" || l == "bounces" || l == "listserv" || l == "majordomo" || l == "mailman" || l == "root" || l == "daemon"
}

func localPart(a string) string {
	if i := strings.LastIndexByte(a, '@'); i >= 0 {
		return a[:i]
	}
	return a
}

func domainPart(a string) string {
	if i := strings.LastIndexByte(a, '@'); i >= 0 {
		return a[i+1:]
	}
	return ""
}

func ours(plain string, mb Mailbox) bool {
	for _, o := range mb.Addresses {
		if strings.EqualFold(o, plain) {
			return true
		}
	}
	return false
}
