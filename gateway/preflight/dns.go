package preflight

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/mail"
	"strings"

	"blitiri.com.ar/go/spf"
	"github.com/emersion/go-msgauth/dmarc"
)

// checkDNS looks at the records receivers ask for (AUTHN-4, AUTHN-5).
func checkDNS(ctx context.Context, m *message, o Options) []Finding {
	if o.Resolver == nil {
		const do = "run again with DNS"
		return []Finding{
			unchecked(NameSPF, "SPF was not looked up", do),
			unchecked(NameDMARC, "DMARC was not looked up", do),
			unchecked(NamePTR, "reverse DNS was not looked up", do),
		}
	}
	ctx, cancel := context.WithTimeout(ctx, 3*o.Timeout)
	defer cancel()
	return []Finding{checkSPF(ctx, m, o), checkDMARC(ctx, m, o), checkPTR(ctx, o)}
}

// nobody is an address no SPF record names (RFC 5737): what is left is
// whether the record can be evaluated to its end.
var nobody = net.IPv4(192, 0, 2, 1)

// checkSPF evaluates the record of the bounce domain, as receivers do.
func checkSPF(ctx context.Context, m *message, o Options) Finding {
	domain := o.ReversePath
	if domain == "" {
		domain = returnDomain(m)
	}
	if domain == "" {
		domain = m.from
	}
	if domain == "" {
		return fail(NameSPF, "neither Return-Path nor From tells a domain", "send with a reverse-path")
	}
	ip, known := nobody, o.SendingIP.IsValid()
	if known {
		ip = o.SendingIP.Unmap().AsSlice()
	}
	res, err := spf.CheckHostWithSender(ip, domain, "postmaster@"+domain, spf.WithContext(ctx), spf.WithResolver(o.Resolver))
	do := "publish one TXT record at " + domain + " that names the smarthost's addresses, as its provider tells: v=spf1 include:... -all"
	switch res {
	case spf.None:
		return fail(NameSPF, "no SPF record at "+domain, do)
	case spf.PermError:
		return fail(NameSPF, fmt.Sprintf("the SPF record of %s can't be evaluated: %v (RFC 7208 section 4.6.4)", domain, err), do)
	case spf.TempError:
		return unchecked(NameSPF, "DNS did not answer for "+domain, "run again when DNS answers")
	}
	switch {
	case known && res != spf.Pass:
		return fail(NameSPF, fmt.Sprintf("SPF of %s gives %s for the sending address", domain, res), do)
	case known:
		return pass(NameSPF, "SPF of "+domain+" passes for the sending address")
	case res == spf.Pass:
		return fail(NameSPF, "the SPF record of "+domain+" lets every address send", do)
	}
	return advise(NameSPF, "the SPF record of "+domain+" can be evaluated; whether it names the smarthost was not checked", "give the smarthost's sending address by --sending-ip")
}

func returnDomain(m *message) string {
	v, _ := m.head.Get("Return-Path")
	a, err := mail.ParseAddress(v)
	if err != nil {
		return ""
	}
	return domainOf(a.Address)
}

// checkDMARC walks up from the From domain to its organisational domain and
// takes the first record (RFC 9989; RFC 7489 asks these two names only).
func checkDMARC(ctx context.Context, m *message, o Options) Finding {
	from := m.from
	if from == "" {
		return fail(NameDMARC, "there is no one From domain", "send with one From address")
	}
	do := "publish a TXT record at _dmarc." + orgDomain(from) + ", for a start: v=DMARC1; p=none; rua=mailto:an address of yours"
	for _, name := range walk(from) {
		txt, err := o.Resolver.LookupTXT(ctx, "_dmarc."+name)
		var dns *net.DNSError
		if err != nil && !(errors.As(err, &dns) && dns.IsNotFound) {
			return unchecked(NameDMARC, "DNS did not answer for _dmarc."+name, "run again when DNS answers")
		}
		var records []string
		for _, t := range txt {
			if strings.HasPrefix(strings.ReplaceAll(strings.TrimSpace(t), " ", ""), "v=DMARC1") {
				records = append(records, t)
			}
		}
		switch len(records) {
		case 0:
			continue
		case 1:
			return judgeDMARC(m, name, records[0], do)
		default:
			return fail(NameDMARC, fmt.Sprintf("_dmarc.%s has %d DMARC records: receivers then use none", name, len(records)), do)
		}
	}
	return fail(NameDMARC, "no DMARC record for "+from, do)
}

// walk lists the names to ask: at most eight (RFC 9989, tree walk).
func walk(from string) (names []string) {
	org := orgDomain(from)
	names = append(names, from)
	labels := strings.Split(from, ".")
	for i := max(1, len(labels)-7); i < len(labels); i++ {
		name := strings.Join(labels[i:], ".")
		if len(name) < len(org) {
			break
		}
		names = append(names, name)
	}
	return names
}

func judgeDMARC(m *message, name, txt, do string) Finding {
	r, err := dmarc.Parse(txt)
	if err != nil {
		return fail(NameDMARC, "the DMARC record of "+name+" can't be read", do)
	}
	if r.DKIMAlignment == dmarc.AlignmentStrict && !signedBy(m, m.from) {
		return fail(NameDMARC, "the record of "+name+" wants strict alignment (adkim=s), no valid signature is of "+m.from+" itself", "sign with d="+m.from+", or drop adkim=s")
	}
	if len(r.ReportURIAggregate) == 0 {
		return advise(NameDMARC, fmt.Sprintf("p=%s at %s, without rua: nobody tells you of forged or unaligned mail", r.Policy, name), "add rua=mailto: with an address of yours")
	}
	return pass(NameDMARC, fmt.Sprintf("p=%s at %s", r.Policy, name))
}

// signedBy tells whether a valid signature, or one that could not be verified
// at all, is of that very domain.
func signedBy(m *message, domain string) bool {
	for _, s := range m.sigs {
		if s.domain == domain && s.fault == "" {
			return true
		}
	}
	return false
}

// checkPTR wants a name for the sending address that leads back to it.
func checkPTR(ctx context.Context, o Options) Finding {
	if !o.SendingIP.IsValid() {
		return unchecked(NamePTR, "the smarthost's sending address is not known", "give it by --sending-ip")
	}
	ip := o.SendingIP.Unmap()
	names, err := o.Resolver.LookupAddr(ctx, ip.String())
	if err != nil && temporary(err) {
		return unchecked(NamePTR, "DNS did not answer for the sending address", "run again when DNS answers")
	}
	for _, n := range names {
		addrs, err := o.Resolver.LookupIPAddr(ctx, strings.TrimSuffix(n, "."))
		if err != nil {
			continue
		}
		for _, a := range addrs {
			if a.IP.Equal(ip.AsSlice()) {
				return pass(NamePTR, "the sending address and "+strings.TrimSuffix(n, ".")+" lead to each other")
			}
		}
	}
	return fail(NamePTR, "the sending address has no name that leads back to it", "have its operator set a PTR record and the matching A or AAAA record")
}

func temporary(err error) bool {
	var dns *net.DNSError
	return !errors.As(err, &dns) || !dns.IsNotFound
}
