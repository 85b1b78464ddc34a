package address

import (
	"fmt"
	"net/netip"
	"strings"

	"golang.org/x/net/idna"
)

// MaxLabel is the longest label of a domain, in octets (RFC 1035 section 2.3.4).
const MaxLabel = 63

// international maps U-labels as a look-up does (RFC 5891 section 5, UTS #46
// without transitional mapping).
var international = idna.New(idna.MapForLookup(), idna.BidiRule(), idna.CheckJoiners(true),
	idna.StrictDomainName(true), idna.Transitional(false), idna.VerifyDNSLength(true))

// parseDomain gives lower-case A-labels, or the normal form of an address
// literal. It may have one label: what can be delivered is the next hop's to say.
func parseDomain(s string) (string, error) {
	if s[0] == '[' {
		return parseLiteral(s)
	}
	d := s
	if !isASCII(s) || strings.Contains(strings.ToLower(s), "xn--") {
		var err error
		if d, err = international.ToASCII(s); err != nil {
			return "", fmt.Errorf("%w: bad international domain", ErrSyntax)
		}
	}
	d = strings.ToLower(d)
	if len(d) > MaxDomain {
		return "", fmt.Errorf("%w: domain over %d octets", ErrSyntax, MaxDomain)
	}
	for label := range strings.SplitSeq(d, ".") {
		if !validLabel(label) {
			return "", fmt.Errorf("%w: bad domain", ErrSyntax)
		}
	}
	return d, nil
}

// validLabel is sub-domain of RFC 5321 section 4.1.2, letters, digits and
// hyphens inside, and the underscore, which hosts inside companies do have.
func validLabel(s string) bool {
	if s == "" || len(s) > MaxLabel || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c != '-' && c != '_' && (c < '0' || c > '9') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return true
}

// parseLiteral reads [192.0.2.1] and [IPv6:2001:db8::1] (RFC 5321 section
// 4.1.3); no other tag is registered.
func parseLiteral(s string) (string, error) {
	bad := fmt.Errorf("%w: bad address literal", ErrSyntax)
	if s[len(s)-1] != ']' {
		return "", bad
	}
	inner := s[1 : len(s)-1]
	const tag = "ipv6:"
	six := len(inner) > len(tag) && strings.EqualFold(inner[:len(tag)], tag)
	if six {
		inner = inner[len(tag):]
	}
	ip, err := netip.ParseAddr(inner)
	if err != nil || ip.Zone() != "" || ip.Is4() == six {
		return "", bad
	}
	if six {
		return "[ipv6:" + ip.String() + "]", nil
	}
	return "[" + ip.String() + "]", nil
}
