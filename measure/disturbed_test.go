package measure

import (
	"math"
	"testing"
)

func TestDisturbed(t *testing.T) {
	for _, c := range []struct {
		name string
		c    Comparison
		want string
	}{
		{"quiet", Comparison{Load: 0.4, Spread: 0.19}, ""},
		{"unknown", Comparison{}, ""},
		{"load", Comparison{Load: 3.2}, "load average 3.2 above the number of processors"},
		{"both", Comparison{Load: 1, Spread: 0.5}, "load average 1.0 above the number of processors; repetitions 50 % apart"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := c.c.Disturbed(); got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

func TestSpread(t *testing.T) {
	if got := spread([]float64{2, 1.8, 2.4}); math.Abs(got-0.3) > 1e-12 {
		t.Errorf("%g, want 0.3", got)
	}
	if spread(nil) != 0 || spread([]float64{0, 0}) != 0 || spread([]float64{3}) != 0 {
		t.Error("a spread of nothing")
	}
}

func TestOverload(t *testing.T) {
	for text, want := range map[string]float64{"4.50 2.10 1.00 3/400 1234\n": 2.5, "0.50 0 0": 0, "": 0, "much": 0} {
		if got := overloadOf(text, 2); got != want {
			t.Errorf("%q on 2 processors: %g, want %g", text, got, want)
		}
	}
}
