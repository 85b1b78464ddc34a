package webpage

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// Client names who asks, for limits: an IPv4 address or an IPv6 /64. Behind a
// proxy that the operator trusts it is the last address of X-Forwarded-For, the
// one that proxy itself added.
func Client(r *http.Request, trustProxy bool) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	if trustProxy {
		if fields := r.Header.Values("X-Forwarded-For"); len(fields) > 0 {
			list := strings.Split(fields[len(fields)-1], ",")
			host = strings.TrimSpace(list[len(list)-1])
		}
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return "unknown"
	}
	if ip = ip.Unmap(); ip.Is6() {
		p, err := ip.WithZone("").Prefix(64)
		if err == nil {
			return p.String()
		}
	}
	return ip.String()
}
