package eval_test

import (
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/tokencache/tokencache/eval"
)

const fullWidth, block = 2048, 1000 // of Inception's features, and how many are made at a time

// gather takes the moments of count features, and of the first kept ones the features themselves.
func gather(b *testing.B, random *rand.Rand, count, kept int, shift float32) (*eval.Moments, []float32) {
	m := eval.NewMoments(fullWidth)
	features := make([]float32, block*fullWidth)
	var first []float32
	for done := 0; done < count; done += block {
		for i := range features {
			features[i] = shift + random.Float32()
		}
		if err := m.Add(features); err != nil {
			b.Fatal(err)
		}
		if done < kept {
			first = append(first, features...)
		}
	}
	return m, first
}

// BenchmarkFrechet50k takes the moments of 50,000 features of width 2048, as FID has them, and
// their distance from another set's. It reports the most memory that the process had. It takes a
// minute or so:
//
//	go test ./eval -run - -bench Frechet50k -benchtime 1x
func BenchmarkFrechet50k(b *testing.B) {
	random := rand.New(rand.NewPCG(1, 2))
	other, _ := gather(b, random, 5*block, 0, 0.01)
	b.ResetTimer()
	for b.Loop() {
		m, _ := gather(b, random, 50*block, 0, 0)
		if _, err := eval.Frechet(m, other); err != nil {
			b.Fatal(err)
		}
	}
	if most := peakMemory(); most > 0 {
		b.ReportMetric(most, "MB-peak")
	}
}

// BenchmarkInfluenceFrechet is the interval of such a distance, by 10,000 of the features.
func BenchmarkInfluenceFrechet(b *testing.B) {
	random := rand.New(rand.NewPCG(1, 2))
	other, _ := gather(b, random, 5*block, 0, 0.01)
	m, kept := gather(b, random, 10*block, 10*block, 0)
	samples, reference := m.Gaussian(), other.Gaussian()
	b.ResetTimer()
	for b.Loop() {
		if _, err := eval.InfluenceFrechet(samples, reference, kept, 1); err != nil {
			b.Fatal(err)
		}
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
