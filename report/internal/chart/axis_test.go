package chart

import (
	"fmt"
	"math"
	"strings"
	"testing"
)

func labels(ticks []Tick) string {
	var all []string
	for _, t := range ticks {
		all = append(all, t.Label)
	}
	return strings.Join(all, " ")
}

func TestTicks(t *testing.T) {
	for _, c := range []struct {
		name string
		axis Axis
		n    int
		want string
	}{
		{"ones", Axis{Min: 0, Max: 5}, 5, "0 1 2 3 4 5"},
		{"twos", Axis{Min: 0, Max: 8}, 5, "0 2 4 6 8"},
		{"fives", Axis{Min: 36, Max: 58}, 5, "40 45 50 55"},
		{"zero has no sign", Axis{Min: -0.2, Max: 1}, 7, "-0.2 0.0 0.2 0.4 0.6 0.8 1.0"},
		{"ends are ticks", Axis{Min: 0.1, Max: 0.3}, 2, "0.1 0.2 0.3"},
		{"small", Axis{Min: 0.00012, Max: 0.00031}, 4, "0.00015 0.00020 0.00025 0.00030"},
		{"large", Axis{Min: 0, Max: 48000}, 5, "0 10000 20000 30000 40000"},
		{"reversed", Axis{Min: 3, Max: 0}, 3, "0 1 2 3"},
		{"whole", Axis{Min: 0.5, Max: 3.5, Whole: true}, 10, "1 2 3"},
		{"indices", Axis{Min: -0.5, Max: 49.5, Whole: true}, 8, "0 10 20 30 40"},
		{"indices from the top", Axis{Min: 9.5, Max: -0.5, Whole: true}, 16, "0 1 2 3 4 5 6 7 8 9"},
		{"no part", Axis{Min: 0, Max: 1}, 0, "0 1"},
		{"log", Axis{Min: 0.02, Max: 1, Log: true}, 7, "0.02 0.05 0.1 0.2 0.5 1"},
		{"log of powers", Axis{Min: 1e-5, Max: 1, Log: true}, 7, "1e-05 0.0001 0.001 0.01 0.1 1"},
		{"log of every second power", Axis{Min: 1e-6, Max: 1, Log: true}, 3, "1e-06 0.0001 0.01 1"},
		{"log of less than a power", Axis{Min: 0.04, Max: 0.07, Log: true}, 3, "0.04 0.05 0.06 0.07"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := labels(c.axis.Ticks(c.n)); got != c.want {
				t.Errorf("%+v, %d parts: ticks %s, want %s", c.axis, c.n, got, c.want)
			}
		})
	}
}

// TestTicksOfAnyRange checks, for ranges of all sizes, that ticks rise, are on the axis, are told
// apart by their labels, and are about as many as asked for.
func TestTicksOfAnyRange(t *testing.T) {
	for exponent := -12; exponent <= 12; exponent++ {
		for _, low := range []float64{0, 1, -3.7} {
			for _, length := range []float64{1, 1.9, 4.4, 7.3} {
				unit := math.Pow(10, float64(exponent))
				a := Axis{Min: low * unit, Max: (low + length) * unit}
				t.Run(fmt.Sprint(a), func(t *testing.T) {
					const n = 6
					ticks := a.Ticks(n)
					if len(ticks) < 2 || len(ticks) > n+1 {
						t.Errorf("%d ticks, want 2 to %d", len(ticks), n+1)
					}
					for i, tick := range ticks {
						if at := a.At(tick.Value); at < -1e-6 || at > 1+1e-6 {
							t.Errorf("tick %s is at %g of the axis", tick.Label, at)
						}
						if i > 0 && (tick.Value <= ticks[i-1].Value || tick.Label == ticks[i-1].Label) {
							t.Errorf("tick %s after %s", tick.Label, ticks[i-1].Label)
						}
					}
				})
			}
		}
	}
}

func TestAxisAt(t *testing.T) {
	for _, c := range []struct {
		name     string
		axis     Axis
		at, want float64
	}{
		{"linear", Axis{Min: 2, Max: 6}, 3, 0.25},
		{"reversed", Axis{Min: 6, Max: 2}, 3, 0.75},
		{"log", Axis{Min: 0.01, Max: 1, Log: true}, 0.1, 0.5},
		{"beyond", Axis{Min: 0, Max: 1}, 2, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := c.axis.At(c.at); math.Abs(got-c.want) > 1e-12 {
				t.Errorf("%g is at %g, want %g", c.at, got, c.want)
			}
		})
	}
}

func TestAround(t *testing.T) {
	for _, c := range []struct {
		name           string
		low, high, pad float64
		want           Axis
	}{
		{"padded", 10, 20, 0.1, Axis{Min: 9, Max: 21}},
		{"not below 0", 0.5, 10.5, 0.1, Axis{Min: 0, Max: 11.5}},
		{"negative", -1, 1, 0.5, Axis{Min: -2, Max: 2}},
		{"one value", 5, 5, 0, Axis{Min: 4.5, Max: 5.5}},
		{"zero alone", 0, 0, 0, Axis{Min: -0.1, Max: 0.1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := Around(c.low, c.high, c.pad); got != c.want {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}
