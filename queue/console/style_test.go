package console

import (
	"math"
	"regexp"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

// The colours of the style sheet are readable in light and dark: text at least
// 4.5 to 1, controls and focus 3 to 1 (WCAG 2.2, 1.4.3 and 1.4.11).
func TestContrast(t *testing.T) {
	b, err := staticFiles.ReadFile("static/style.css")
	require.NoError(t, err)
	token := regexp.MustCompile(`--([a-z-]+): light-dark\((#[0-9A-F]{6}), (#[0-9A-F]{6})\);`)
	colours := [2]map[string]float64{{}, {}}
	for _, m := range token.FindAllStringSubmatch(string(b), -1) {
		colours[0][m[1]], colours[1][m[1]] = luminance(t, m[2]), luminance(t, m[3])
	}
	require.Len(t, colours[0], 16)
	type pair struct {
		fore, back string
		least      float64
	}
	var pairs []pair
	for _, back := range []string{"bg", "surface", "sunken", "accent-tint", "danger-tint", "warn-tint", "ok-tint"} {
		pairs = append(pairs, pair{"ink", back, 4.5})
	}
	for _, fore := range []string{"muted", "accent", "danger", "warn", "ok"} {
		pairs = append(pairs, pair{fore, "surface", 4.5}, pair{fore, "bg", 4.5}, pair{fore, "sunken", 4.5})
	}
	for _, tone := range []string{"accent", "danger", "warn", "ok"} {
		pairs = append(pairs, pair{tone, tone + "-tint", 4.5})
	}
	pairs = append(pairs, pair{"on-accent", "accent", 4.5}, pair{"on-accent", "danger", 4.5},
		pair{"control", "surface", 3}, pair{"control", "sunken", 3}, pair{"control", "bg", 3}, pair{"accent", "surface", 3})
	for i, c := range colours {
		for _, p := range pairs {
			a, z := c[p.fore], c[p.back]
			ratio := (math.Max(a, z) + 0.05) / (math.Min(a, z) + 0.05)
			require.GreaterOrEqual(t, ratio, p.least, "%d: %s on %s", i, p.fore, p.back)
		}
	}
	require.NotRegexp(t, `(?i)gradient\(|text-transform`, string(b))
}

// luminance is the relative luminance of WCAG 2.2.
func luminance(t *testing.T, hex string) float64 {
	sum := 0.0
	for i, weight := range []float64{0.2126, 0.7152, 0.0722} {
		n, err := strconv.ParseUint(hex[1+2*i:3+2*i], 16, 8)
		require.NoError(t, err)
		v := float64(n) / 255
		if v <= 0.04045 {
			v /= 12.92
		} else {
			v = math.Pow((v+0.055)/1.055, 2.4)
		}
		sum += weight * v
	}
	return sum
}
