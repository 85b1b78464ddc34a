package main

import (
	"time"

	"postern/gateway/stream"
)

// LedgerConfig says where anchors of the ledger go and how long it keeps what
// (design D15).
type LedgerConfig struct {
	AnchorFile    string   `toml:"anchor_file"`    // each day's signed checkpoint is added to it; best on another machine's disk
	AnchorMail    []string `toml:"anchor_mail"`    // outside addresses that get it each day
	AnchorStream  string   `toml:"anchor_stream"`  // service stream of that mail; default the first one
	KeepVerdicts  Duration `toml:"keep_verdicts"`  // of mail that is not marketing; default 90d
	KeepMarketing int      `toml:"keep_marketing"` // ends of years that verdicts on marketing are kept; default 3
	KeepPersons   int      `toml:"keep_persons"`   // ends of years after the last send that a person's records can be read; default keep_marketing
}

func (c *Config) ledgerDefaults() {
	set(&c.Ledger.KeepVerdicts, Duration(90*24*time.Hour))
	set(&c.Ledger.KeepMarketing, 3)
	set(&c.Ledger.KeepPersons, c.Ledger.KeepMarketing)
	for _, s := range c.Streams {
		if stream.Kind(s.Kind) == stream.Service && !s.Retired {
			set(&c.Ledger.AnchorStream, s.Name)
		}
	}
}

// ledger checks the section of that name.
func (k *checker) ledger() {
	l := k.c.Ledger
	k.addresses("ledger.anchor_mail", l.AnchorMail)
	if l.KeepVerdicts != 0 && l.KeepVerdicts < Duration(24*time.Hour) {
		k.add("ledger.keep_verdicts", "is under a day")
	}
	if l.KeepMarketing < 0 || l.KeepMarketing > 30 {
		k.add("ledger.keep_marketing", "%d is not between 1 and 30 years", l.KeepMarketing)
	}
	if l.KeepPersons < l.KeepMarketing || l.KeepPersons > 30 {
		k.add("ledger.keep_persons", "%d is not between keep_marketing (%d) and 30 years: what is kept could not be read", l.KeepPersons, l.KeepMarketing)
	}
	if len(l.AnchorMail) == 0 {
		return
	}
	for _, s := range k.c.Streams {
		if s.Name == l.AnchorStream && stream.Kind(s.Kind) == stream.Service && !s.Retired {
			return
		}
	}
	k.add("ledger.anchor_stream", "%q is not a stream of kind \"service\"; anchors are mailed in one", l.AnchorStream)
}
