package diffusion

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestStreamGolden holds the program's own sequence, which must never change: files that users have
// made depend on it.
func TestStreamGolden(t *testing.T) {
	for _, test := range []struct {
		seed, image uint64
		first       []float32
		sum         string // the first 8 bytes of the SHA-256 of 4096 numbers, little-endian
	}{
		{0, 0, []float32{-1.9166629314422607, 0.07760460674762726, -2.9780120849609375, -0.2073483169078827}, "be799d4f3a484a2a"},
		{0, 1, []float32{0.9583826661109924, -1.82167649269104, -1.1542352437973022, -0.11557910591363907}, "b4c8f7b974eac418"},
		{42, 7, []float32{-1.6438748836517334, -2.6995279788970947, -0.15504878759384155, -1.558164358139038}, "57710d56ebb860bf"},
		{math.MaxUint64, math.MaxUint64, []float32{0.96991366147995, -0.951407790184021, -2.671581268310547, 0.10880116373300552}, "6981191797f747d3"},
	} {
		x := make([]float32, 4096)
		NewStream(test.seed, test.image).Normal(x)
		var raw []byte
		for _, v := range x {
			raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(v))
		}
		sum := sha256.Sum256(raw)
		if diff := cmp.Diff(test.first, x[:4]); diff != "" {
			t.Errorf("seed %d image %d (-want +got):\n%s", test.seed, test.image, diff)
		}
		if got := hex.EncodeToString(sum[:8]); got != test.sum {
			t.Errorf("seed %d image %d: checksum %s, want %s", test.seed, test.image, got, test.sum)
		}
	}
}

// TestStreamIsOneSequence: how the numbers are cut into draws does not matter, odd lengths
// included.
func TestStreamIsOneSequence(t *testing.T) {
	whole := normals(3, 100)
	s := NewStream(3, 0)
	var parts []float32
	for _, n := range []int{1, 0, 2, 5, 40, 51, 1} {
		part := make([]float32, n)
		s.Normal(part)
		parts = append(parts, part...)
	}
	if diff := cmp.Diff(whole, parts); diff != "" {
		t.Error(diff)
	}
}

// TestStreamIsNormal checks moments and the distribution function within five standard errors;
// streams of neighbouring images and seeds must not be correlated.
func TestStreamIsNormal(t *testing.T) {
	const n = 1 << 17
	x := normals(1, n)
	root := math.Sqrt(n)
	for power, want := range []float64{1: 0, 2: 1, 3: 0, 4: 3} {
		if power == 0 {
			continue
		}
		// The variance of x^k is the 2k-th moment less the square of the k-th.
		deviation := []float64{1: 1, 2: math.Sqrt(2), 3: math.Sqrt(15), 4: math.Sqrt(105 - 9)}[power]
		sum := 0.0
		for _, v := range x {
			sum += math.Pow(float64(v), float64(power))
		}
		if got := sum / n; math.Abs(got-want) > 5*deviation/root {
			t.Errorf("moment %d = %v, want %v", power, got, want)
		}
	}
	for _, at := range []float64{-3, -2, -1, -0.5, 0, 0.5, 1, 2, 3} {
		want, below := math.Erfc(-at/math.Sqrt2)/2, 0
		for _, v := range x {
			if float64(v) < at {
				below++
			}
		}
		if got := float64(below) / n; math.Abs(got-want) > 5*math.Sqrt(want*(1-want))/root {
			t.Errorf("share below %v = %v, want %v", at, got, want)
		}
	}
	for _, other := range []*Stream{NewStream(1, 1), NewStream(2, 0)} {
		y := make([]float32, n)
		other.Normal(y)
		dot := 0.0
		for k := range x {
			dot += float64(x[k]) * float64(y[k])
		}
		if math.Abs(dot) > 5*root {
			t.Errorf("correlation of two streams %v", dot/n)
		}
	}
}

func BenchmarkStream(b *testing.B) {
	dst := make([]float32, 4*32*32)
	noise := NewStream(0, 0)
	b.SetBytes(int64(4 * len(dst)))
	for b.Loop() {
		noise.Normal(dst)
	}
}
