package kernel

import (
	"testing"
	"time"
)

func TestPeakFLOPs(t *testing.T) {
	eachImpl(t, func(t *testing.T) {
		one, ten := PeakFLOPs(F32, 1), PeakFLOPs(F32, 10)
		if one <= 0 || ten != 10*one {
			t.Errorf("1 and 10 rounds gave %d and %d operations", one, ten)
		}
	})
}

func BenchmarkPeak(b *testing.B) {
	benchmarkImpls(b, func(b *testing.B) {
		var flops int64
		for b.Loop() {
			flops += PeakFLOPs(F32, 10000)
		}
		b.ReportMetric(float64(flops)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
	})
}

// reportOfPeak alternates f with PeakFLOPs and reports the best speed of f and its share of the
// best peak, the two numbers that are meaningful on a shared machine.
func reportOfPeak(b *testing.B, d DType, flops float64, f func()) {
	fastest := func(flops float64, f func()) float64 {
		start := time.Now()
		f()
		return flops / time.Since(start).Seconds()
	}
	const rounds = 4000
	f()
	var best, peak float64
	for b.Loop() {
		best = max(best, fastest(flops, f))
		peak = max(peak, fastest(float64(PeakFLOPs(d, 1))*rounds, func() { PeakFLOPs(d, rounds) }))
	}
	b.ReportMetric(best/1e9, "GFLOP/s")
	b.ReportMetric(100*best/peak, "%peak")
}
