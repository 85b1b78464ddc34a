package consent

import (
	"errors"
	"strings"
	"time"
)

// Exports of other tools. Column names are compared without case, spaces,
// hyphens and underscores. What an export leaves open is never guessed in
// favour of sending.
const (
	FormatMailchimp Format = "mailchimp" // audience export: subscribed_, unsubscribed_, cleaned_, nonsubscribed_ files
	FormatBrevo     Format = "brevo"     // contact export, with subscription status where chosen
	FormatSendGrid  Format = "sendgrid"  // contacts, and each kind of suppression
	FormatListmonk  Format = "listmonk"  // subscriber export
	FormatMailjet   Format = "mailjet"   // contact list with the fields of contact and listrecipient
)

// row gives a row's fields by column name, and what is known of the file.
type row struct {
	get  func(string) string
	has  func(string) bool
	name string // of the file, lower case
}

func (r row) first(names ...string) string {
	for _, n := range names {
		if v := r.get(n); v != "" {
			return v
		}
	}
	return ""
}

// moment reads the first of the columns that holds something.
func (r row) moment(names ...string) (time.Time, error) {
	t, err := parseTime(r.first(names...))
	if err != nil {
		return t, errors.New(strings.Join(names, " or ") + ": " + err.Error())
	}
	return t, nil
}

func yes(s string) bool {
	switch strings.ToLower(s) {
	case "1", "true", "yes", "y", "t", "oui", "ja", "si", "sí":
		return true
	}
	return false
}

func no(s string) bool {
	switch strings.ToLower(s) {
	case "0", "false", "no", "n", "f", "non", "nein":
		return true
	}
	return false
}

func isMailchimp(has func(string) bool) bool { return has("emailaddress") && has("euid") }

// readMailchimp tells the four files apart by their columns, and the one of
// contacts who never subscribed by its name alone.
func readMailchimp(r row) (x importRow, err error) {
	x.address = r.get("emailaddress")
	switch {
	case r.has("cleantime") || strings.HasPrefix(r.name, "cleaned"):
		x.optOut(Bounced)
		x.time, err = r.moment("cleantime", "lastchanged")
	case r.has("unsubtime") || strings.HasPrefix(r.name, "unsubscribed"):
		x.optOut(Unsubscribed)
		if reason := strings.ToLower(r.get("unsubreason")); strings.Contains(reason, "spam") || strings.Contains(reason, "abuse") {
			x.reason = Complained
		}
		x.time, err = r.moment("unsubtime", "lastchanged")
	case strings.HasPrefix(r.name, "nonsubscribed"):
		return x, errors.New("the file holds contacts who never subscribed")
	default:
		x.time, err = r.moment("optintime", "confirmtime")
		x.ip = r.first("optinip", "confirmip")
		if at, e := r.moment("confirmtime"); e == nil && !at.IsZero() && r.get("confirmip") != "" && !x.time.IsZero() {
			x.confirmed, x.time, x.ip = true, at, r.get("confirmip")
		}
	}
	return x, err
}

var brevoStatus = []string{"emailblacklisted", "blacklisted", "emailblocklisted", "blocklisted", "emailmarketing", "emailsubscriptionstatus", "emailstatus"}

func isBrevo(has func(string) bool) bool {
	return has("email") && has("addedtime") && (has("modifiedtime") || has("contactid"))
}

// readBrevo needs a status column to call anybody subscribed.
func readBrevo(r row) (x importRow, err error) {
	x.address = r.get("email")
	x.time, err = r.moment("addedtime")
	status := strings.ToLower(r.first(brevoStatus...))
	switch {
	case strings.Contains(status, "unsubscribed") || strings.Contains(status, "block") || strings.Contains(status, "black"):
		x.optOut(Unsubscribed)
	case r.has("emailmarketing") && no(status), !r.has("emailmarketing") && yes(status):
		x.optOut(Unsubscribed)
	case status == "":
		x.unclear = true
	}
	if x.state == rowOptOut {
		if at, e := r.moment("unsubscribedtime", "modifiedtime"); e == nil {
			x.time = at
		}
		return x, err
	}
	doi := r.get("doubleoptin")
	x.confirmed = yes(doi)
	if no(doi) || doi == "2" {
		x.state = rowUnconfirmed
	}
	return x, err
}

func isSendGrid(has func(string) bool) bool {
	return has("email") && (has("contactid") && has("createdat") || has("created"))
}

// readSendGrid tells contacts and the lists of suppressions apart by columns:
// bounces have status and reason, spam reports an ip, global unsubscribes
// neither, blocks and invalid addresses a reason.
func readSendGrid(r row) (x importRow, err error) {
	x.address = r.get("email")
	if r.has("contactid") {
		x.time, err = r.moment("createdat")
		return x, err
	}
	switch {
	case r.has("status") && r.has("reason"):
		x.optOut(Bounced)
	case r.has("ip") || strings.Contains(r.name, "spam"):
		x.optOut(Complained)
	case strings.Contains(r.name, "invalid"):
		x.optOut(Bounced)
	case r.has("reason"):
		return x, errors.New("blocks are temporary and not taken over; name the file invalid_emails.csv if it holds those")
	default:
		x.optOut(Unsubscribed)
		x.everything = true
	}
	x.time, err = r.moment("created")
	return x, err
}

func isListmonk(has func(string) bool) bool {
	return has("uuid") && has("email") && has("attributes") && has("status")
}

// readListmonk: the export tells of the subscriber, not whether a list's
// double opt-in was confirmed.
func readListmonk(r row) (x importRow, err error) {
	x.address = r.get("email")
	switch strings.ToLower(r.get("status")) {
	case "enabled":
		x.unclear = true
		x.time, err = r.moment("createdat")
	case "disabled", "blocklisted", "blacklisted":
		x.optOut(Unsubscribed)
		x.everything = true
		x.time, err = r.moment("updatedat", "createdat")
	default:
		err = errors.New("status: none of enabled, disabled, blocklisted")
	}
	return x, err
}

func isMailjet(has func(string) bool) bool {
	return has("email") && (has("isunsubscribed") || has("isexcludedfromcampaigns") || has("unsubscribedat"))
}

func readMailjet(r row) (x importRow, err error) {
	x.address = r.get("email")
	switch {
	case yes(r.get("isspamcomplaining")):
		x.optOut(Complained)
	case yes(r.get("isexcludedfromcampaigns")):
		x.optOut(Unsubscribed)
		x.everything = true
	case yes(r.get("isunsubscribed")), r.get("unsubscribedat") != "" && !no(r.get("isunsubscribed")):
		x.optOut(Unsubscribed)
	case yes(r.get("isoptinpending")):
		x.state = rowUnconfirmed
	case r.has("isactive") && !yes(r.get("isactive")):
		return x, errors.New("isactive: the contact is not active in the list")
	}
	if x.state == rowOptOut {
		x.time, err = r.moment("unsubscribedat", "exclusionfromcampaignsupdatedat")
		return x, err
	}
	x.time, err = r.moment("subscribedat", "createdat")
	return x, err
}
