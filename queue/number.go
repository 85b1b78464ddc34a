package queue

import (
	"crypto/rand"
	"fmt"
	"math/big"
	"regexp"
	"strings"
)

// digits of case numbers: no 0, I, L, O, U. Their count is prime, so that one
// weighted check digit finds every single wrong sign and every swap of two.
const digits = "123456789ABCDEFGHJKMNPQRSTVWXYZ"

// numberLen is the count of random digits before the check digit: 31^7 numbers,
// so that a number can't be guessed and tells nothing of how many there are.
const numberLen = 7

var numberPattern = regexp.MustCompile(`(?i)(?:^|[^0-9a-z])PC-([0-9a-z]{4})-?([0-9a-z]{4})(?:$|[^0-9a-z])`)

// newNumber draws a case number such as "PC-7K3Q-X9MD".
func newNumber() (string, error) {
	d := make([]int, numberLen)
	for i := range d {
		n, err := rand.Int(rand.Reader, big.NewInt(int64(len(digits))))
		if err != nil {
			return "", fmt.Errorf("draw case number: %w", err)
		}
		d[i] = int(n.Int64())
	}
	return format(append(d, check(d))), nil
}

// check is the digit that makes the weighted sum a multiple of the base.
func check(d []int) int {
	sum := 0
	for i, v := range d {
		sum += (i + 2) * v
	}
	return (len(digits) - sum%len(digits)) % len(digits)
}

func format(d []int) string {
	b := make([]byte, len(d))
	for i, v := range d {
		b[i] = digits[v]
	}
	return "PC-" + string(b[:4]) + "-" + string(b[4:])
}

// FindCaseNo gives the first case number in text whose check digit is right,
// in its canonical form, or "" if there is none. I and L are read as 1.
func FindCaseNo(text string) string {
	for text != "" {
		m := numberPattern.FindStringSubmatchIndex(text)
		if m == nil {
			return ""
		}
		if no := canonical(text[m[2]:m[3]] + text[m[4]:m[5]]); no != "" {
			return no
		}
		text = text[m[3]:]
	}
	return ""
}

func canonical(s string) string {
	d := make([]int, 0, numberLen+1)
	for _, r := range strings.NewReplacer("I", "1", "L", "1").Replace(strings.ToUpper(s)) {
		i := strings.IndexRune(digits, r)
		if i < 0 {
			return ""
		}
		d = append(d, i)
	}
	if len(d) != numberLen+1 || check(d[:numberLen]) != d[numberLen] {
		return ""
	}
	return format(d)
}
