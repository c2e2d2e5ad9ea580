package reuse

import (
	"math"
	"testing"
)

// actions runs a SpeCa's rules over steps of which the errors are known, and returns them as
// letters: F full, f forecast, v verified, r rejected.
func actions(p *SpeCa, errors []float64) string {
	forecasts, last, text := 0, -1.0, ""
	for position, e := range errors {
		switch p.action(position, len(errors), forecasts, last) {
		case specaFull:
			forecasts, last = 0, -1
			text += "F"
		case specaForecast:
			forecasts++
			text += "f"
		default:
			if p.Reject && !(e <= p.tolerance(position, len(errors))) {
				forecasts, last = 0, -1
				text += "r"
				continue
			}
			forecasts++
			last = e
			text += "v"
		}
	}
	return text
}

// TestSpeCaRules checks which steps are full, forecast and verified.
func TestSpeCaRules(t *testing.T) {
	const good, bad = 0.001, 9
	all := func(e float64) []float64 {
		list := make([]float64, 14)
		for i := range list {
			list[i] = e
		}
		return list
	}
	once := all(good)
	once[5] = bad
	for _, test := range []struct {
		name     string
		min, max int
		reject   bool
		errors   []float64
		want     string
	}{
		{"good forecasts", 2, 5, false, all(good), "FfFffvvvFffvvv"},
		{"bad forecasts", 2, 5, false, all(bad), "FfFffvFffvFffv"},
		{"verified early", 1, 5, false, all(bad), "FfFfvFfvFfvFfv"},
		{"the step after a full one is never verified", 0, 5, false, all(bad), "FfFfvFfvFfvFfv"},
		{"an error acts at the next step", 1, 9, false, once, "FfFfvvFfvvvvvv"},
		{"never verified", 9, 3, false, all(bad), "FfFfffFfffFfff"},
		{"rejected", 1, 9, true, once, "FfFfvrfvvvvvvv"},
		{"rejected at every step", 0, 5, true, all(bad), "Frrrrrrrrrrrrr"},
		{"rejected after one that is not verified", 1, 5, true, all(bad), "FfFfrfrfrfrfrf"},
		{"accepted from the first", 0, 3, true, all(good), "FvFvvvFvvvFvvv"},
		{"not a number", 1, 5, false, all(math.NaN()), "FfFfvFfvFfvFfv"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := NewSpeCa()
			p.Min, p.Max, p.Reject = test.min, test.max, test.reject
			if got := actions(p, test.errors); got != test.want {
				t.Errorf("%s, want %s", got, test.want)
			}
		})
	}
}

// TestSpeCaTolerance checks how much of an error is allowed when.
func TestSpeCaTolerance(t *testing.T) {
	p := &SpeCa{Threshold: 0.4, Decay: 0.01}
	for position, want := range map[int]float64{0: 0.4 * math.Pow(0.01, 0.02), 24: 0.04, 40: 0.01, 49: 0.01} {
		if got := p.tolerance(position, 50); math.Abs(got-want) > 1e-12 {
			t.Errorf("position %d: %g, want %g", position, got, want)
		}
	}
}

// TestSpeCaMetrics checks the three errors on numbers.
func TestSpeCaMetrics(t *testing.T) {
	guess, computed := []float32{1, 2, -3, 0.5}, []float32{2, 2, -1, 1}
	for metric, want := range map[string]float64{MeanL1: 3.5, RootL2: 5.25, RelativeL1: 0.5 + 2 + 0.5} {
		p := &SpeCa{Metric: metric}
		if got := p.distance(guess, computed); math.Abs(got-want) > 1e-6 {
			t.Errorf("%s: a sum of %g, want %g", metric, got, want)
		}
	}
}
