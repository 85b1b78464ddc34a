package webpage

import (
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The colours of the style sheet are readable in light and dark: text at least
// 4.5 to 1, controls and focus 3 to 1 (WCAG 2.2, 1.4.3 and 1.4.11).
func TestContrast(t *testing.T) {
	b, err := pageFiles.ReadFile("page/style.css")
	require.NoError(t, err)
	token := regexp.MustCompile(`--([a-z-]+): (#[0-9A-F]{6});`)
	light, dark, ok := strings.Cut(string(b), "@media (prefers-color-scheme: dark)")
	require.True(t, ok)
	for name, part := range map[string]string{"light": light, "dark": dark} {
		c := map[string]float64{}
		for _, m := range token.FindAllStringSubmatch(part, -1) {
			c[m[1]] = luminance(t, m[2])
		}
		require.Len(t, c, 8, name)
		for _, pair := range []struct {
			fore, back string
			least      float64
		}{
			{"ink", "bg", 4.5}, {"ink", "surface", 4.5}, {"muted", "bg", 4.5}, {"muted", "surface", 4.5},
			{"accent", "bg", 4.5}, {"accent", "surface", 4.5}, {"on-accent", "accent", 4.5}, {"control", "surface", 3}, {"control", "bg", 3},
		} {
			a, z := c[pair.fore], c[pair.back]
			ratio := (math.Max(a, z) + 0.05) / (math.Min(a, z) + 0.05)
			require.GreaterOrEqual(t, ratio, pair.least, "%s: %s on %s", name, pair.fore, pair.back)
		}
	}
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
