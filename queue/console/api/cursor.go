package api

import (
	"encoding/base64"
	"strconv"
	"strings"

	"postern/queue"
)

// A cursor names the last entry of a page by its place in the order, so that
// what comes or goes meanwhile moves no page. To clients it is opaque.

func writeCursor(parts ...string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(strings.Join(parts, " ")))
}

func readCursor(text string, parts int) ([]string, error) {
	raw, err := base64.RawURLEncoding.DecodeString(text)
	list := strings.Split(string(raw), " ")
	if err != nil || len(list) != parts {
		return nil, bad("cursor", "is none of this list")
	}
	return list, nil
}

// caseCursor is the place of a case in queue.Snapshot's order: live ones by
// what is due first, then ended ones newest first, then by number.
func caseCursor(k *queue.Case) string {
	ended, at := placeOf(k)
	return writeCursor(strconv.FormatBool(ended), strconv.FormatInt(at, 10), k.Number)
}

func placeOf(k *queue.Case) (ended bool, at int64) {
	if k.State.Live() {
		return false, k.Due.UnixMilli()
	}
	return true, -max(k.EndedAt.UnixMilli(), 0)
}

// casesAfter tells whether a case stands behind the cursor.
func casesAfter(text string) (func(*queue.Case) bool, error) {
	if text == "" {
		return func(*queue.Case) bool { return true }, nil
	}
	parts, err := readCursor(text, 3)
	if err != nil {
		return nil, err
	}
	ended, endedErr := strconv.ParseBool(parts[0])
	at, atErr := strconv.ParseInt(parts[1], 10, 64)
	if endedErr != nil || atErr != nil {
		return nil, bad("cursor", "is none of this list")
	}
	return func(k *queue.Case) bool {
		kEnded, kAt := placeOf(k)
		switch {
		case kEnded != ended:
			return kEnded
		case kAt != at:
			return kAt > at
		}
		return k.Number > parts[2]
	}, nil
}
