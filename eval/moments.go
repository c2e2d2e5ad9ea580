package eval

import (
	"fmt"
	"math"
	"runtime"
	"sync"
	"sync/atomic"

	"gonum.org/v1/gonum/mat"
)

// Moments are the mean and the covariance of feature vectors, accumulated in any number of parts;
// the result is the same up to rounding.
type Moments struct {
	N    int
	Mean []float64     // [D]
	M2   *mat.SymDense // [D, D]: the sum of the outer products of the deviations from the mean
}

// NewMoments returns the moments of no vectors of width d.
func NewMoments(d int) *Moments {
	return &Moments{Mean: make([]float64, d), M2: mat.NewSymDense(d, nil)}
}

const (
	momentsBlock = 512 // vectors added at a time
	momentsTile  = 16  // rows and columns of M2 updated at a time, so that their columns stay in a core's cache
)

// Add adds the rows of features, [n, D]. It fails if a feature is not finite.
func (m *Moments) Add(features []float32) error {
	if err := checkFeatures(features, len(m.Mean), m.N); err != nil {
		return err
	}
	d := len(m.Mean)
	columns := make([]float64, d*min(len(features)/d, momentsBlock))
	for len(features) > 0 {
		n := min(len(features)/d, momentsBlock)
		m.addBlock(features[:n*d], columns[:n*d])
		features = features[n*d:]
	}
	return nil
}

// checkFeatures fails if features are not rows of d finite numbers. first is the index of the first
// row, for the message.
func checkFeatures(features []float32, d, first int) error {
	if d < 1 || len(features)%d != 0 {
		return fmt.Errorf("%d numbers are not a whole number of features of width %d", len(features), d)
	}
	for i, v := range features {
		if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
			return fmt.Errorf("feature %d of image %d is not a finite number", i%d, first+i/d)
		}
	}
	return nil
}

// addBlock adds the rows of features; columns is scratch of the same length.
func (m *Moments) addBlock(features []float32, columns []float64) {
	d := len(m.Mean)
	n := len(features) / d
	delta := make([]float64, d)
	parallel(d, func(j int) {
		column := columns[j*n:][:n]
		mean := 0.0
		for i := range column {
			column[i] = float64(features[i*d+j])
			mean += column[i]
		}
		mean /= float64(n)
		for i := range column {
			column[i] -= mean
		}
		delta[j] = mean - m.Mean[j]
	})
	m.merge(delta, n, func(i, j int) float64 {
		return dot(columns[i*n:][:n], columns[j*n:][:n])
	})
}

// Merge adds the vectors of other.
func (m *Moments) Merge(other *Moments) {
	if other.N == 0 {
		return
	}
	delta := make([]float64, len(m.Mean))
	for i := range delta {
		delta[i] = other.Mean[i] - m.Mean[i]
	}
	m.merge(delta, other.N, other.M2.At)
}

// merge adds n vectors whose mean is delta away from m's and whose M2 is given by element (Chan et
// al. 1979, "Updating Formulae and a Pairwise Algorithm for Computing Sample Variances").
func (m *Moments) merge(delta []float64, n int, m2 func(i, j int) float64) {
	total := float64(m.N + n)
	weight := float64(m.N) * float64(n) / total
	raw := m.M2.RawSymmetric()
	d := len(delta)
	tiles := (d + momentsTile - 1) / momentsTile
	parallel(tiles, func(tile int) {
		i0 := tile * momentsTile
		i1 := min(i0+momentsTile, d)
		for j0 := i0; j0 < d; j0 += momentsTile {
			for i := i0; i < i1; i++ {
				row := raw.Data[i*raw.Stride:]
				for j := max(i, j0); j < min(j0+momentsTile, d); j++ {
					row[j] += m2(i, j) + weight*delta[i]*delta[j]
				}
			}
		}
	})
	for i := range delta {
		m.Mean[i] += delta[i] * float64(n) / total
	}
	m.N += n
}

// parallel calls f for 0 to n-1 on up to GOMAXPROCS goroutines.
func parallel(n int, f func(i int)) {
	workers := min(runtime.GOMAXPROCS(0), n)
	if workers < 2 {
		for i := range n {
			f(i)
		}
		return
	}
	var next atomic.Int64
	var group sync.WaitGroup
	for range workers {
		group.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				f(i)
			}
		})
	}
	group.Wait()
}

// Covariance returns the covariance with divisor N-1, as the field's evaluators compute it.
func (m *Moments) Covariance() *mat.SymDense {
	var c mat.SymDense
	c.ScaleSym(1/float64(max(m.N-1, 1)), m.M2)
	return &c
}

// Gaussian returns the normal distribution with these moments.
func (m *Moments) Gaussian() *Gaussian {
	return &Gaussian{N: m.N, Mean: m.Mean, Covariance: m.Covariance()}
}
