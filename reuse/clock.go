package reuse

import (
	"fmt"
	"math"
)

// Clock is the time over which a forecast extrapolates.
type Clock string

const (
	// IndexClock counts steps, as published methods do: with evenly spaced timesteps it is the
	// diffusion time. It is what "" means.
	IndexClock Clock = "index"
	// LogSNRClock is the log-SNR, log(1/Sigma²), in which solvers' steps of the spacing logsnr are
	// evenly spaced and others are not.
	LogSNRClock Clock = "logsnr"
)

// written returns the names of parameters with that of the clock, unless it is the usual one.
func (c Clock) written(names ...string) []string {
	if c == LogSNRClock {
		names = append(names, "time")
	}
	return names
}

// clock returns the time of each position, rising, nil for positions themselves. The first is at 0
// and the last at its position, so that a step is 1 in the mean and what a method says of steps
// keeps its meaning.
func (p Plan) clock(c Clock) ([]float32, error) {
	last := p.Steps() - 1
	if c != LogSNRClock || last < 1 {
		return nil, nil
	}
	if len(p.Sigma) != p.Steps() {
		return nil, fmt.Errorf("time=%s: the noise of %d steps is known of %d", c, p.Steps(), len(p.Sigma))
	}
	logSNR := func(position int) float64 { return -2 * math.Log(p.Sigma[position]) }
	scale := float64(last) / (logSNR(last) - logSNR(0))
	times := make([]float32, p.Steps())
	for position := range times {
		v := scale * (logSNR(position) - logSNR(0))
		times[position] = float32(v)
		falls := position == 0 || p.Sigma[position] < p.Sigma[position-1] && times[position] > times[position-1]
		if math.IsNaN(v) || math.IsInf(v, 0) || !falls {
			return nil, fmt.Errorf("time=%s: want noise that falls from step to step and is never 0; steps %d and %d "+
				"have %g and %g", c, position, position+1, p.Sigma[max(0, position-1)], p.Sigma[position])
		}
	}
	return times, nil
}

// gap returns the time between two positions, of the clock's times or, where these are nil, the
// number of steps.
func gap(times []float32, from, to int) float32 {
	if times == nil {
		return float32(to - from)
	}
	return times[to] - times[from]
}
