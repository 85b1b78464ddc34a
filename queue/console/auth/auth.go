package auth

import (
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"postern/queue/vault"
)

// Errors of the room. Texts are for logs; pages say their own words.
var (
	ErrWrong  = errors.New("name, password or code is wrong")
	ErrLimit  = errors.New("too many failed tries")
	ErrNone   = errors.New("no such session")
	ErrInput  = errors.New("not acceptable")
	ErrExists = errors.New("exists already")
	ErrLast   = errors.New("the last admin has to stay")
)

// Options of a Store. Key is needed, all else has a default.
type Options struct {
	Key     []byte   // 32 bytes outside Redis: seals secrets of one-time codes
	OldKeys [][]byte // former ones, newest first; they only open

	Idle time.Duration // a session unused this long ends; default 30 min
	Max  time.Duration // a session ends this long after log-in; default 12 h

	Window    time.Duration // in which failed log-ins are counted; default 15 min
	PerPair   int           // failures of one name from one network; default 5
	PerClient int           // failures from one network; default 30
	PerName   int           // failures of one name from anywhere; default 100
	Parallel  int           // passwords hashed at once; default 2

	Now func() time.Time // default time.Now
}

func (o Options) withDefaults() Options {
	def(&o.Idle, 30*time.Minute)
	def(&o.Max, 12*time.Hour)
	def(&o.Window, 15*time.Minute)
	def(&o.PerPair, 5)
	def(&o.PerClient, 30)
	def(&o.PerName, 100)
	def(&o.Parallel, 2)
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

func def[T int | time.Duration](v *T, d T) {
	if *v <= 0 {
		*v = d
	}
}

// Store keeps accounts and sessions in Redis, shared by all nodes. It is safe
// for concurrent use.
type Store struct {
	rdb   redis.UniversalClient
	o     Options
	seals *vault.Keys
	slots chan struct{}
	decoy string // a hash that no password matches
}

// New makes a Store; it neither reads nor writes yet.
func New(rdb redis.UniversalClient, o Options) (*Store, error) {
	o = o.withDefaults()
	seals, err := vault.New(append([][]byte{o.Key}, o.OldKeys...)...)
	if err != nil {
		return nil, fmt.Errorf("console accounts: %w", err)
	}
	s := &Store{rdb: rdb, o: o, seals: seals, slots: make(chan struct{}, o.Parallel)}
	s.decoy = hashOf(randomText(20))
	return s, nil
}
