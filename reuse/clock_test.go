package reuse

import (
	"math"
	"strings"
	"testing"

	"github.com/tokencache/tokencache/diffusion"
	"github.com/tokencache/tokencache/tensor"
)

// planOf is a plan of steps with log-SNR from -8 to 8, at places from 0 to 1.
func planOf(places ...float64) Plan {
	plan := Plan{Sampling: diffusion.Sampling{Steps: len(places)}}
	for i, at := range places {
		plan.Timesteps = append(plan.Timesteps, float64(len(places)-1-i))
		plan.Sigma = append(plan.Sigma, math.Exp(-(-8+16*at)/2))
	}
	return plan
}

func TestClock(t *testing.T) {
	even := planOf(0, 0.25, 0.5, 0.75, 1)
	uneven := planOf(0, 0.1, 0.2, 0.6, 1)
	for name, c := range map[string]struct {
		plan Plan
		time Clock
		want []float32
	}{
		"index":              {uneven, "", nil},
		"index by name":      {uneven, IndexClock, nil},
		"even is the index":  {even, LogSNRClock, []float32{0, 1, 2, 3, 4}},
		"uneven":             {uneven, LogSNRClock, []float32{0, 0.4, 0.8, 2.4, 4}},
		"one step has none":  {planOf(0), LogSNRClock, nil},
		"noise may be large": {planOf(-2, 1), LogSNRClock, []float32{0, 1}},
	} {
		got, err := c.plan.clock(c.time)
		if err != nil || len(got) != len(c.want) {
			t.Errorf("%s: %v (%v), want %v", name, got, err, c.want)
			continue
		}
		for i, v := range c.want {
			if math.Abs(float64(got[i]-v)) > 1e-6 {
				t.Errorf("%s: %v, want %v", name, got, c.want)
			}
		}
	}
	flat, zero := planOf(0, 0.5, 0.5, 1), planOf(0, 0.5, 1)
	zero.Sigma[2] = 0
	for name, plan := range map[string]Plan{"equal noise": flat, "no noise": zero, "rising": planOf(1, 0)} {
		if _, err := plan.clock(LogSNRClock); err == nil || !strings.Contains(err.Error(), "time=logsnr: want noise") {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

// TestForecastsInLogSNR checks that forecasts over the log-SNR are exact of what is a polynomial in
// it, at uneven steps, where those over the index are not; and that both are the same, bit for bit,
// where steps are even in it.
func TestForecastsInLogSNR(t *testing.T) {
	const width, order = 3, 2
	uneven := []float64{0, 0.1, 0.2, 0.35, 0.6, 0.8, 1}
	full := map[int]bool{0: true, 1: true, 2: true, 4: true}
	value := func(x float64) float32 { return float32(2 - 3*x + 5*x*x) }
	worst := func(times []float32, newton bool) float64 {
		d := newDifferences(tensor.F32, 1, 1, width, order)
		if newton {
			d = newNewton(tensor.F32, 1, 1, width, order)
		}
		d.times = times
		far := 0.0
		for p, x := range uneven {
			if full[p] {
				d.record(0, 0, p, []float32{value(x), value(x), value(x)})
				continue
			}
			if p < 3 {
				continue
			}
			got := make([]float32, width)
			d.addForecast(got, 0, 0, p)
			far = max(far, math.Abs(float64(got[0]-value(x))))
		}
		return far
	}
	times, err := planOf(uneven...).clock(LogSNRClock)
	if err != nil {
		t.Fatal(err)
	}
	if far := worst(times, true); far > 1e-5 {
		t.Errorf("Newton's forecast of a polynomial of degree %d in the log-SNR is %g off", order, far)
	}
	if far := worst(nil, true); far < 0.05 {
		t.Errorf("the forecast over the index is %g off, as if steps were even", far)
	}
	if clocked, plain := worst(times, false), worst(nil, false); clocked >= plain {
		t.Errorf("Taylor's forecast is %g off over the log-SNR, %g over the index", clocked, plain)
	}
}

// TestClockOfPolicies checks that every forecasting method takes the time, writes it only where it
// is not the usual one, at even steps does what it does by the index, and refuses steps without
// rising log-SNR.
func TestClockOfPolicies(t *testing.T) {
	for _, text := range []string{
		"taylorseer:order=2,n=2", "hicache:n=2", "spectrum:w=0.5", "dpcache:n=2",
		"tokencache:ratio=0,order=2,k=2", "tokencache:ratio=0,order=2,k=2,basis=hermite", "tokencache:ratio=0.25,k=3",
	} {
		t.Run(text, func(t *testing.T) {
			plain, err := Parse(text)
			if err != nil {
				t.Fatal(err)
			}
			timed, err := Parse(text + ",time=logsnr")
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(plain.String(), "time") || !strings.Contains(timed.String(), "time=logsnr") {
				t.Errorf("%s and %s", plain, timed)
			}
			again, err := Parse(timed.String())
			if err != nil || again.String() != timed.String() {
				t.Errorf("%s is read as %v (%v)", timed, again, err)
			}
		})
	}
	h := NewHiCache()
	even, _ := planOf(0, 0.25, 0.5, 0.75, 1).clock(LogSNRClock)
	table, byStep := h.between(even), h.weights(5)
	for to := range 5 {
		for from := range to {
			for i, v := range table[to*5+from] {
				if math.Abs(float64(v-byStep[to-from][i])) > 1e-5 {
					t.Errorf("HiCache %d to %d: %v, want %v", from, to, table[to*5+from], byStep[to-from])
				}
			}
		}
	}
	s := NewSpectrum()
	s.Weight = 0.5
	places := make([]float64, 20)
	for i := range places {
		places[i] = float64(i) / 19
	}
	even, _ = planOf(places...).clock(LogSNRClock)
	for p, step := range s.plan(20, even) {
		for i, v := range step.factors {
			if want := s.plan(20, nil)[p].factors[i]; math.Abs(float64(v-want)) > 1e-4 {
				t.Errorf("Spectrum at %d: factor %g, want %g", p, v, want)
			}
		}
	}
}
