package busy

import (
	"runtime"
	"strings"
	"testing"
)

func TestParseLoad(t *testing.T) {
	for text, want := range map[string]float64{
		"0.52 0.58 0.59 3/602 12345\n": 0.52,
		"12.00 1 1 1/1 1":              12,
		"":                             0,
		"-1 0 0":                       0,
		"NaN":                          0,
		"many":                         0,
	} {
		t.Run(text, func(t *testing.T) {
			if got := parseLoad(text); got != want {
				t.Errorf("load %g, want %g", got, want)
			}
		})
	}
}

func TestParseSeconds(t *testing.T) {
	for text, want := range map[string]float64{
		"12 (a) name) R 1 1 1 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 1 0 1": 3,
		"12 (name) R 1 1": 0,
		"":                0,
	} {
		if got := parseSeconds(text); got != want {
			t.Errorf("%q: %g seconds, want %g", text, got, want)
		}
	}
}

func TestSigns(t *testing.T) {
	quiet := Timing{Load: 0.1, Runs: [][]float64{{1, 1.1, 1.05}, {2}}, Speedup: 2.4, Ratio: 2.5}
	change := func(f func(*Timing)) Timing {
		t := quiet
		f(&t)
		return t
	}
	for _, test := range []struct {
		name   string
		timing Timing
		want   string // a part of the only sign
	}{
		{"quiet", quiet, ""},
		{"nothing known", Timing{}, ""},
		{"load", change(func(t *Timing) { t.Load = float64(runtime.NumCPU()) }), "before it began"},
		{"spread", change(func(t *Timing) { t.Runs = [][]float64{{1}, {1, 2, 1.5}} }), "took 2.00 times as long"},
		{"more than FLOPs allow", change(func(t *Timing) { t.Speedup = 3 }), "a speed-up of 3.00 where only 2.50"},
		{"a little more", change(func(t *Timing) { t.Speedup = 2.52 }), ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			signs := test.timing.Signs()
			if test.want == "" && len(signs) != 0 || test.want != "" && (len(signs) != 1 || !strings.Contains(signs[0], test.want)) {
				t.Errorf("signs %q, want %q", signs, test.want)
			}
		})
	}
}
