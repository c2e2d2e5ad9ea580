package eval_test

import (
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/tokencache/tokencache/eval"
)

// BenchmarkFrechet50k takes the moments of 50,000 features of width 2048, as FID has them, and their distance from another set's. It reports the most memory that the process had. It takes a minute or so:
//
//	go test ./eval -run - -bench Frechet50k -benchtime 1x
func BenchmarkFrechet50k(b *testing.B) {
	const n, d, block = 50_000, 2048, 1000
	random := rand.New(rand.NewPCG(1, 2))
	features := make([]float32, block*d)
	gather := func(count int, shift float32) *eval.Moments {
		m := eval.NewMoments(d)
		for done := 0; done < count; done += block {
			for i := range features {
				features[i] = shift + random.Float32()
			}
			if err := m.Add(features); err != nil {
				b.Fatal(err)
			}
		}
		return m
	}
	other := gather(5*block, 0.01)
	b.ResetTimer()
	for b.Loop() {
		if _, err := eval.Frechet(gather(n, 0), other); err != nil {
			b.Fatal(err)
		}
	}
	if most := peakMemory(); most > 0 {
		b.ReportMetric(most, "MB-peak")
	}
}

// peakMemory returns the most memory that the process had resident, in MB, where the system tells.
func peakMemory() float64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kb, err := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 64)
			if err == nil {
				return kb / 1e3
			}
		}
	}
	return 0
}
