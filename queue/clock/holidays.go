package clock

import (
	"time"

	"github.com/rickar/cal/v2"
	"github.com/rickar/cal/v2/aa"
	"github.com/rickar/cal/v2/at"
	"github.com/rickar/cal/v2/be"
	"github.com/rickar/cal/v2/bg"
	"github.com/rickar/cal/v2/br"
	"github.com/rickar/cal/v2/ch"
	"github.com/rickar/cal/v2/cz"
	"github.com/rickar/cal/v2/de"
	"github.com/rickar/cal/v2/dk"
	"github.com/rickar/cal/v2/es"
	"github.com/rickar/cal/v2/fr"
	"github.com/rickar/cal/v2/gb"
	"github.com/rickar/cal/v2/gr"
	"github.com/rickar/cal/v2/hr"
	"github.com/rickar/cal/v2/ie"
	"github.com/rickar/cal/v2/it"
	"github.com/rickar/cal/v2/lt"
	"github.com/rickar/cal/v2/lv"
	"github.com/rickar/cal/v2/nl"
	"github.com/rickar/cal/v2/no"
	"github.com/rickar/cal/v2/pl"
	"github.com/rickar/cal/v2/ro"
	"github.com/rickar/cal/v2/se"
	"github.com/rickar/cal/v2/si"
	"github.com/rickar/cal/v2/sk"
	"github.com/rickar/cal/v2/us"
)

// holidays holds the nation-wide public holidays by country. Seven states the
// library lacks are written down here from their holiday laws.
var holidays = map[string][]*cal.Holiday{
	"AT": at.Holidays, "BE": be.Holidays, "BG": bg.Holidays, "BR": br.Holidays,
	"CH": ch.Holidays, "CZ": cz.Holidays, "DE": de.Holidays, "DK": dk.Holidays,
	"ES": es.Holidays, "FR": fr.Holidays, "GB": gb.Holidays, "GR": gr.Holidays,
	"HR": hr.Holidays, "IE": ie.Holidays, "IT": it.Holidays, "LT": lt.Holidays,
	"LV": lv.Holidays, "NL": nl.Holidays, "NO": no.Holidays, "PL": pl.Holidays,
	"RO": ro.Holidays, "SE": se.Holidays, "SI": si.Holidays, "SK": sk.Holidays,
	"US": us.Holidays,

	// Cyprus: Green Monday and the Easter days follow the Orthodox calendar.
	"CY": {
		aa.NewYear, aa.Epiphany, orthodox("Green Monday", -48), day("Greek Independence Day", time.March, 25),
		day("National Day", time.April, 1), orthodox("Good Friday", -2), orthodox("Easter Monday", 1), aa.WorkersDay,
		orthodox("Whit Monday", 50), aa.AssumptionOfMary, day("Independence Day", time.October, 1),
		day("Ochi Day", time.October, 28), aa.ChristmasDay, aa.ChristmasDay2,
	},
	// Estonia.
	"EE": {
		aa.NewYear, day("Iseseisvuspäev", time.February, 24), aa.GoodFriday, aa.WorkersDay,
		day("Võidupüha", time.June, 23), day("Jaanipäev", time.June, 24),
		day("Taasiseseisvumispäev", time.August, 20), day("Jõululaupäev", time.December, 24),
		aa.ChristmasDay, aa.ChristmasDay2,
	},
	// Finland: Midsummer Eve and Christmas Eve close the authorities as well.
	"FI": {
		aa.NewYear, aa.Epiphany, aa.GoodFriday, aa.EasterMonday, aa.WorkersDay, aa.AscensionDay,
		midsummerEve, day("Itsenäisyyspäivä", time.December, 6), day("Jouluaatto", time.December, 24),
		aa.ChristmasDay, aa.ChristmasDay2,
	},
	// Hungary.
	"HU": {
		aa.NewYear, day("1848-as forradalom", time.March, 15), aa.GoodFriday, aa.EasterMonday, aa.WorkersDay,
		aa.PentecostMonday, day("Szent István", time.August, 20), day("1956-os forradalom", time.October, 23),
		aa.AllSaintsDay, aa.ChristmasDay, aa.ChristmasDay2,
	},
	// Luxembourg.
	"LU": {
		aa.NewYear, aa.EasterMonday, aa.WorkersDay, day("Europadag", time.May, 9), aa.AscensionDay, aa.PentecostMonday,
		day("Nationalfeierdag", time.June, 23), aa.AssumptionOfMary, aa.AllSaintsDay, aa.ChristmasDay, aa.ChristmasDay2,
	},
	// Malta.
	"MT": {
		aa.NewYear, day("San Pawl", time.February, 10), day("San Ġużepp", time.March, 19), aa.GoodFriday,
		day("Jum il-Ħelsien", time.March, 31), aa.WorkersDay, day("Sette Giugno", time.June, 7),
		day("L-Imnarja", time.June, 29), aa.AssumptionOfMary, day("Jum il-Vitorja", time.September, 8),
		day("Jum l-Indipendenza", time.September, 21), day("L-Immakulata", time.December, 8),
		day("Jum ir-Repubblika", time.December, 13), aa.ChristmasDay,
	},
	// Portugal.
	"PT": {
		aa.NewYear, aa.GoodFriday, day("Dia da Liberdade", time.April, 25), aa.WorkersDay, aa.CorpusChristi,
		day("Dia de Portugal", time.June, 10), aa.AssumptionOfMary, day("Implantação da República", time.October, 5),
		aa.AllSaintsDay, day("Restauração da Independência", time.December, 1),
		day("Imaculada Conceição", time.December, 8), aa.ChristmasDay,
	},
}

// midsummerEve is the Friday between 19 and 25 June.
var midsummerEve = &cal.Holiday{
	Name: "Juhannusaatto", Type: cal.ObservancePublic, Month: time.June, Day: 19,
	Weekday: time.Friday, Offset: 1, Func: cal.CalcWeekdayFrom,
}

func day(name string, m time.Month, d int) *cal.Holiday {
	return &cal.Holiday{Name: name, Type: cal.ObservancePublic, Month: m, Day: d, Func: cal.CalcDayOfMonth}
}

// orthodox is a day counted from Orthodox Easter.
func orthodox(name string, offset int) *cal.Holiday {
	return &cal.Holiday{Name: name, Type: cal.ObservancePublic, Julian: true, Offset: offset, Func: cal.CalcEasterOffset}
}
