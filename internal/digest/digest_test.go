package digest

import (
	"math"
	"testing"
)

// TestOf checks that other values, other divisions into parts and values without a JSON form have
// other keys, and that equal values have equal keys.
func TestOf(t *testing.T) {
	type settings struct{ A, B float64 }
	keys := map[string]string{}
	for name, parts := range map[string][]any{
		"none":     {},
		"text":     {"ab", "c"},
		"divided":  {"a", "bc"},
		"joined":   {"abc"},
		"number":   {0.1},
		"near":     {math.Nextafter(0.1, 1)},
		"struct":   {settings{1, 2}},
		"swapped":  {settings{2, 1}},
		"infinite": {math.Inf(1)},
		"negative": {math.Inf(-1)},
	} {
		key := Of(parts...)
		if other, ok := keys[key]; ok {
			t.Errorf("%s and %s have the key %s", name, other, key)
		}
		keys[key] = name
		if again := Of(parts...); again != key {
			t.Errorf("%s: %s, then %s", name, key, again)
		}
	}
}
