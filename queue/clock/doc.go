// Package clock knows the legal periods: how long an answer may take under
// each law, when a period ends, and which days are holidays where
// (Regulation 1182/71; standards.md DSR-2 to DSR-6, DSR-14, DSR-15, table 2).
// It is pure: dates in, dates out.
package clock
