package clock

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func berlin(t *testing.T) *time.Location {
	t.Helper()
	loc, err := time.LoadLocation("Europe/Berlin")
	require.NoError(t, err)
	return loc
}

// TestOneMonth is the examples table of standards.md section 8.
func TestOneMonth(t *testing.T) {
	cases := []struct{ country, received, want, extended string }{
		{"DE", "2026-11-24", "2026-12-24", ""},
		{"DE", "2026-11-25", "2026-12-28", ""},
		{"GB", "2026-11-25", "2026-12-29", ""},
		{"DE", "2026-11-26", "2026-12-28", ""},
		{"GB", "2026-11-26", "2026-12-29", ""},
		{"DE", "2026-11-28", "2026-12-28", "2027-03-01"},
		{"DE", "2026-11-29", "2026-12-29", ""},
		{"DE", "2026-12-31", "2027-02-01", ""},
		{"DE", "2027-01-29", "2027-03-01", ""},
		{"DE", "2027-01-30", "2027-03-01", ""},
		{"DE", "2027-01-31", "2027-03-01", ""},
		{"DE", "2028-01-31", "2028-02-29", ""},
		{"DE", "2027-02-26", "2027-03-30", ""},
		{"DE", "2027-02-27", "2027-03-30", ""},
		{"DE", "2026-08-31", "2026-09-30", "2026-11-30"},
	}
	for _, c := range cases {
		t.Run(c.country+" "+c.received, func(t *testing.T) {
			loc := berlin(t)
			if c.country == "GB" {
				var err error
				loc, err = time.LoadLocation("Europe/London")
				require.NoError(t, err)
			}
			calendar, err := For(c.country)
			require.NoError(t, err)
			day, err := time.ParseInLocation(time.DateOnly, c.received, loc)
			require.NoError(t, err)
			for _, hour := range []time.Duration{0, 12 * time.Hour, 23*time.Hour + 59*time.Minute} {
				rule, ok := Find(OfCountry(c.country), Answer, day)
				require.True(t, ok)
				end := rule.End(day.Add(hour).UTC(), calendar, loc)
				require.Equal(t, c.want+" 23:59:59", end.Format(time.DateTime))
				if c.extended != "" {
					end, ok = rule.ExtendedEnd(day.Add(hour).UTC(), calendar, loc)
					require.True(t, ok)
					require.Equal(t, c.extended+" 23:59:59", end.Format(time.DateTime))
				}
			}
		})
	}
}

// TestTable2 checks each regime's periods on one receipt.
func TestTable2(t *testing.T) {
	received := time.Date(2026, 3, 2, 10, 0, 0, 0, time.UTC) // a Monday
	cases := []struct {
		regime         Regime
		duty           Duty
		country        string
		want, extended string
	}{
		{EU, Answer, "DE", "2026-04-02 23:59:59", "2026-06-02 23:59:59"},
		{EU, BreachAuthority, "DE", "2026-03-05 10:00:00", ""},
		{EU, Stop, "DE", "2026-03-02 10:00:00", ""},
		{EU, Forward, "DE", "2026-03-04 23:59:59", ""},
		{UK, Answer, "GB", "2026-04-02 23:59:59", "2026-06-02 23:59:59"},
		{CH, Answer, "CH", "2026-04-01 23:59:59", ""},
		{CA, Acknowledge, "US", "2026-03-16 23:59:59", ""},
		{CA, Answer, "US", "2026-04-15 23:59:59", "2026-05-30 23:59:59"},
		{CA, Stop, "US", "2026-03-23 23:59:59", ""},
		{CA, BreachPerson, "US", "2026-04-01 23:59:59", ""},
		{BR, Answer, "BR", "2026-03-17 23:59:59", ""},
		{BR, BreachAuthority, "BR", "2026-03-05 23:59:59", ""},
		{Canada, Stop, "US", "2026-03-16 23:59:59", ""},
	}
	for _, c := range cases {
		t.Run(string(c.regime)+" "+string(c.duty), func(t *testing.T) {
			calendar, err := For(c.country)
			require.NoError(t, err)
			rule, ok := Find(c.regime, c.duty, received)
			require.True(t, ok)
			require.Equal(t, c.want, rule.End(received, calendar, time.UTC).Format(time.DateTime))
			end, ok := rule.ExtendedEnd(received, calendar, time.UTC)
			require.Equal(t, c.extended != "", ok)
			if ok {
				require.Equal(t, c.extended, end.Format(time.DateTime))
			}
			again, ok := ByID(rule.ID)
			require.True(t, ok)
			require.Equal(t, rule, again)
		})
	}
}

func TestRuleInForceByDate(t *testing.T) {
	_, ok := Find(UK, Complaint, time.Date(2026, 6, 18, 12, 0, 0, 0, time.UTC))
	require.False(t, ok, "the duty starts on 19 June 2026")
	rule, ok := Find(UK, Complaint, time.Date(2026, 6, 19, 12, 0, 0, 0, time.UTC))
	require.True(t, ok)
	require.Equal(t, "UK-COMPLAINT", rule.ID)
}

// TestReceiptInControllersZone: 23:30 UTC on 30 November is 1 December in Berlin.
func TestReceiptInControllersZone(t *testing.T) {
	calendar, err := For("DE")
	require.NoError(t, err)
	rule, _ := Find(EU, Answer, date(2026, 1, 1))
	end := rule.End(time.Date(2026, 11, 30, 23, 30, 0, 0, time.UTC), calendar, berlin(t))
	require.Equal(t, "2027-01-04 23:59:59", end.Format(time.DateTime), "1 Jan is a holiday, 2 and 3 a weekend")
}

func TestCalendars(t *testing.T) {
	eu := []string{"AT", "BE", "BG", "HR", "CY", "CZ", "DK", "EE", "FI", "FR", "DE", "GR", "HU", "IE", "IT", "LV", "LT", "LU", "MT", "NL", "PL", "PT", "RO", "SK", "SI", "ES", "SE"}
	require.Subset(t, Countries(), eu)
	closed := map[string][]string{
		"CY": {"2026-02-23", "2026-04-10", "2026-04-13", "2026-06-01", "2026-10-28"},
		"EE": {"2026-02-24", "2026-04-03", "2026-06-23", "2026-12-24"},
		"FI": {"2026-01-06", "2026-05-14", "2026-06-19", "2027-06-25", "2028-06-23"},
		"HU": {"2026-10-23", "2026-05-25", "2026-04-06"},
		"LU": {"2026-06-23", "2025-05-09"},
		"MT": {"2026-02-10", "2026-06-29", "2027-09-21"},
		"PT": {"2026-06-04", "2026-10-05", "2026-12-01", "2026-12-08"},
		"DE": {"2026-10-03", "2026-05-14", "2027-03-26"},
		"GB": {"2026-12-28", "2027-12-27", "2027-12-28"},
	}
	for country, days := range closed {
		calendar, err := For(country)
		require.NoError(t, err)
		for _, d := range days {
			at, err := time.Parse(time.DateOnly, d)
			require.NoError(t, err)
			require.False(t, calendar.Working(at), "%s %s", country, d)
			require.True(t, calendar.Working(calendar.Next(at)))
		}
	}
	_, err := For("XX")
	require.Error(t, err)
}

func TestExtraDays(t *testing.T) {
	calendar, err := For("DE")
	require.NoError(t, err)
	munich, err := calendar.WithDays("2026-08-15", "2026-12-24")
	require.NoError(t, err)
	at := time.Date(2026, 12, 24, 9, 0, 0, 0, time.UTC)
	require.True(t, calendar.Working(at))
	require.False(t, munich.Working(at))
	_, err = calendar.WithDays("24.12.2026")
	require.Error(t, err)
	require.Equal(t, 3, calendar.Between(date(2026, 12, 21), date(2026, 12, 24)))
	require.Equal(t, "2026-12-21", calendar.Add(date(2026, 12, 24), -3).Format(time.DateOnly))
}
