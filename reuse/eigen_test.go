package reuse

import (
	"fmt"
	"math"
	"math/cmplx"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestEigen checks that eigenvectors are mapped to themselves times their eigenvalues, and that the
// eigenvalues are those that are known.
func TestEigen(t *testing.T) {
	type test struct {
		name   string
		a      [][]float64
		values []complex128 // by real part, then imaginary part; nil: not known
	}
	tests := []test{
		{"one number", [][]float64{{-3}}, []complex128{-3}},
		{"zeros", [][]float64{{0, 0}, {0, 0}}, []complex128{0, 0}},
		{"a rotation", [][]float64{{0, -2}, {2, 0}}, []complex128{-2i, 2i}},
		{"a triangle", [][]float64{{1, 5, 7}, {0, 2, 9}, {0, 0, 3}}, []complex128{1, 2, 3}},
		{
			"a shift in a circle", [][]float64{{0, 0, 0, 1}, {1, 0, 0, 0}, {0, 1, 0, 0}, {0, 0, 1, 0}},
			[]complex128{-1, -1i, 1i, 1},
		},
		{"one vector alone", [][]float64{{1, 1}, {0, 1}}, []complex128{1, 1}},
	}
	random := rand.New(rand.NewPCG(1, 1))
	for n := 2; n <= maxSmall; n++ {
		for range 20 {
			a := make([][]float64, n)
			for i := range a {
				for range n {
					a[i] = append(a[i], random.NormFloat64())
				}
			}
			tests = append(tests, test{name: fmt.Sprint("random, of order ", n), a: a})
		}
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var a small
			n := len(test.a)
			for i, row := range test.a {
				for j, v := range row {
					a[i][j] = complex(v, 0)
				}
			}
			values, vectors, ok := eigen(&a, n)
			if !ok {
				t.Fatal("no convergence")
			}
			for k := range n {
				size := 0.0
				for i := range n {
					size += cmplx.Abs(vectors[i][k]) * cmplx.Abs(vectors[i][k])
					mapped := complex128(0)
					for j := range n {
						mapped += a[i][j] * vectors[j][k]
					}
					if d := cmplx.Abs(mapped - values[k]*vectors[i][k]); !(d < 1e-12) {
						t.Errorf("eigenvalue %g: off by %g", values[k], d)
					}
				}
				if math.Abs(size-1) > 1e-12 {
					t.Errorf("an eigenvector of squared size %g, want 1", size)
				}
			}
			got := slices.Clone(values[:n])
			for _, want := range test.values {
				i := slices.IndexFunc(got, func(v complex128) bool { return cmplx.Abs(v-want) < 1e-7 })
				if i < 0 {
					t.Fatalf("eigenvalues %g, want %g among them", values[:n], want)
				}
				got = slices.Delete(got, i, i+1)
			}
		})
	}
}

// TestEigenSymmetric checks eigenvectors of real symmetric matrices, and their order.
func TestEigenSymmetric(t *testing.T) {
	random := rand.New(rand.NewPCG(2, 2))
	for n := 1; n <= maxSmall; n++ {
		var a [maxSmall][maxSmall]float64
		for i := range n {
			for j := range i + 1 {
				a[i][j] = random.NormFloat64()
				a[j][i] = a[i][j]
			}
		}
		values, vectors := eigenSymmetric(&a, n)
		for k := range n {
			if k > 0 && values[k] > values[k-1] {
				t.Errorf("order %d: eigenvalues %g, want them to fall", n, values[:n])
			}
			for l := range n {
				dot, want := 0.0, 0.0
				for i := range n {
					dot += vectors[i][k] * vectors[i][l]
				}
				if k == l {
					want = 1
				}
				if math.Abs(dot-want) > 1e-12 {
					t.Errorf("order %d: the product of eigenvectors %d and %d is %g, want %g", n, k, l, dot, want)
				}
			}
			for i := range n {
				mapped := 0.0
				for j := range n {
					mapped += a[i][j] * vectors[j][k]
				}
				if d := math.Abs(mapped - values[k]*vectors[i][k]); !(d < 1e-12) {
					t.Errorf("order %d, eigenvalue %g: off by %g", n, values[k], d)
				}
			}
		}
	}
}

// TestSolve checks a system that needs pivots, and one without a solution.
func TestSolve(t *testing.T) {
	a := small{{0, 2}, {1i, 1}}
	x, ok := solve(&a, &[maxSmall]complex128{4, 5}, 2)
	if want := -3i; !ok || cmplx.Abs(x[1]-2) > 1e-15 || cmplx.Abs(x[0]-want) > 1e-15 {
		t.Errorf("solution %g (%v), want -3i and 2", x[:2], ok)
	}
	if _, ok := solve(&small{{1, 2}, {2, 4}}, &[maxSmall]complex128{1, 1}, 2); ok {
		t.Error("a singular system has a solution")
	}
}
