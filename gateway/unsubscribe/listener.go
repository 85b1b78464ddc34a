package unsubscribe

import (
	"net"
	"net/netip"
	"sync"
)

// Crowd bounds what strangers can hold open at the public listener.
type Crowd struct {
	// Most is how many connections there may be at once. Default 2048: about
	// 60 MB.
	Most int
	// PerClient is how many of them one client may have (IPv6: a /64). Default
	// 64; negative: no such bound, as behind a proxy, which is one client.
	PerClient int
}

// Limit bounds the connections of l. Those beyond are closed at once: a flood
// from one place leaves room for everybody else, and its own connections end
// by the time-outs of Server.
func Limit(l net.Listener, c Crowd) net.Listener {
	if c.Most <= 0 {
		c.Most = 2048
	}
	if c.PerClient == 0 {
		c.PerClient = 64
	}
	return &door{Listener: l, crowd: c, inside: map[netip.Prefix]int{}}
}

// door counts who is inside.
type door struct {
	net.Listener
	crowd  Crowd
	mu     sync.Mutex
	total  int
	inside map[netip.Prefix]int
}

// Accept gives the next connection that there is room for.
func (d *door) Accept() (net.Conn, error) {
	for {
		c, err := d.Listener.Accept()
		if err != nil {
			return nil, err
		}
		who := placeOf(c.RemoteAddr())
		if d.enter(who) {
			return &guest{Conn: c, leave: sync.OnceFunc(func() { d.left(who) })}, nil
		}
		_ = c.Close()
	}
}

func (d *door) enter(who netip.Prefix) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.total >= d.crowd.Most || d.crowd.PerClient > 0 && d.inside[who] >= d.crowd.PerClient {
		return false
	}
	d.total++
	d.inside[who]++
	return true
}

func (d *door) left(who netip.Prefix) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.total--
	if d.inside[who]--; d.inside[who] == 0 {
		delete(d.inside, who)
	}
}

// guest is a connection that tells when it is closed.
type guest struct {
	net.Conn
	leave func()
}

// Close closes the connection and makes room.
func (g *guest) Close() error {
	g.leave()
	return g.Conn.Close()
}

// placeOf is an IPv4 address or an IPv6 /64.
func placeOf(a net.Addr) netip.Prefix {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.Prefix{}
	}
	ip := tcp.AddrPort().Addr().Unmap().WithZone("")
	bits := ip.BitLen()
	if ip.Is6() {
		bits = 64
	}
	p, err := ip.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}
