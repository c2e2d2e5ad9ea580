package diffusion

import (
	"math"
	"sort"
)

// LogSNR returns the log-SNR at a real timestep t, which is clamped to those of the schedule. At
// whole timesteps it is the schedule's. Between them log alpha-bar follows a monotone cubic, of
// which both the value and the slope are continuous, so that high-order solvers keep their order;
// the trained betas change so little from step to step that any smooth curve would serve.
//
// A flow's is that of its Path, at any timestep.
func (s Schedule) LogSNR(t float64) float64 {
	if s.IsFlow() {
		return s.levelAt(t / Timesteps).LogSNR()
	}
	t = min(max(t, 0), float64(len(s.logs)-1))
	k := min(int(t), len(s.logs)-2)
	if k < 0 {
		return logSNROf(s.logs[0])
	}
	return logSNROf(newSegment(s.logs, k).at(t - float64(k)))
}

// Timestep returns the real timestep of a log-SNR, which is clamped to those of the schedule: the
// inverse of LogSNR.
func (s Schedule) Timestep(logSNR float64) float64 {
	if s.IsFlow() {
		return snap(Timesteps * s.timeOf(logSNR))
	}
	want := -math.Log1p(math.Exp(-2 * logSNR))
	last := len(s.logs) - 1
	// The first timestep with as much noise, or more.
	k := sort.Search(len(s.logs), func(k int) bool { return s.logs[k] <= want })
	switch {
	case k == 0:
		return 0
	case k > last:
		return float64(last)
	}
	c := newSegment(s.logs, k-1)
	low, high := 0.0, 1.0
	for range 60 { // halves the interval to less than a float64 can tell
		if middle := (low + high) / 2; c.at(middle) > want {
			low = middle
		} else {
			high = middle
		}
	}
	return snap(float64(k-1) + (low+high)/2)
}

// snap returns t, or the whole number that it is but for rounding.
func snap(t float64) float64 {
	if whole := math.Round(t); math.Abs(t-whole) < 1e-9 {
		return whole
	}
	return t
}

// logSNROf returns the log-SNR of a log alpha-bar.
func logSNROf(logAlphaCumprod float64) float64 {
	return (logAlphaCumprod - math.Log(-math.Expm1(logAlphaCumprod))) / 2
}

// segment is a cubic on [0,1] by its values and slopes at both ends.
type segment struct{ y0, y1, slope0, slope1 float64 }

// newSegment returns the monotone cubic between y[k] and y[k+1].
func newSegment(y []float64, k int) segment {
	return segment{y[k], y[k+1], slope(y, k), slope(y, k+1)}
}

// slope returns the slope of falling values y at k: that of the parabola through k and its
// neighbors, limited as Fritsch and Carlson 1980 require for a monotone cubic.
func slope(y []float64, k int) float64 {
	n := len(y)
	secant := func(k int) float64 { return y[k+1] - y[k] }
	if n == 2 {
		return secant(0)
	}
	var m, steepest float64
	switch k {
	case 0:
		m, steepest = (3*secant(0)-secant(1))/2, 3*secant(0)
	case n - 1:
		m, steepest = (3*secant(n-2)-secant(n-3))/2, 3*secant(n-2)
	default:
		m, steepest = (secant(k-1)+secant(k))/2, 3*max(secant(k-1), secant(k))
	}
	return min(max(m, steepest), 0)
}

func (c segment) at(u float64) float64 {
	v := 1 - u
	return v*v*(1+2*u)*c.y0 + u*u*(1+2*v)*c.y1 + u*v*(v*c.slope0-u*c.slope1)
}
