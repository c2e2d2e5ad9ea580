// Package bench measures kernels and models on this machine, in GFLOP/s and in percent of what its
// processors could do at most: the rate of independent fused multiply-adds, measured in the same
// run.
package bench

import (
	"fmt"
	"sync"
	"time"

	"github.com/tokencache/tokencache/internal/busy"
	"github.com/tokencache/tokencache/internal/kernel"
	"github.com/tokencache/tokencache/tensor"
)

// peakRounds makes one measurement of the peak take some 20 ms.
const peakRounds = 100_000

// measurePeak returns the rate of multiply-adds of a number format of n goroutines together, in
// 10^9 operations per second.
func measurePeak(d tensor.DType, n int) float64 {
	var wg sync.WaitGroup
	flops := make([]int64, n)
	start := time.Now()
	for i := range n {
		wg.Add(1)
		go func() {
			defer wg.Done()
			flops[i] = kernel.PeakFLOPs(d, peakRounds)
		}()
	}
	wg.Wait()
	seconds := time.Since(start).Seconds()
	total := int64(0)
	for _, f := range flops {
		total += f
	}
	return float64(total) / seconds / 1e9
}

// disturbed lists what says that other programs slowed a measurement: the load before it, what
// repetitions of the same work took, and a share of the peak that cannot be.
func disturbed(load, percent float64, times ...[]float64) []string {
	signs := busy.Timing{Load: load, Runs: times}.Signs()
	if percent > 100 {
		signs = append(signs, fmt.Sprintf("a rate of %.0f %% of the peak", percent))
	}
	return signs
}

// contestant is something that is measured beside others.
type contestant struct {
	run   func()
	times []float64 // seconds of each run
}

// measure warms the contestants up and then runs them in turn with the measurement of the peak, so
// that what changes on the machine meanwhile changes all of them, for at least the given time and
// three rounds. It returns the peaks, of a number format.
func measure(d tensor.DType, threads int, least time.Duration, contestants ...*contestant) (peaks []float64) {
	for _, c := range contestants {
		c.run()
	}
	for start := time.Now(); len(peaks) < 3 || time.Since(start) < least; {
		peaks = append(peaks, measurePeak(d, threads))
		for _, c := range contestants {
			begin := time.Now()
			c.run()
			c.times = append(c.times, time.Since(begin).Seconds())
		}
	}
	return peaks
}
