package train

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/tokencache/tokencache/tensor"
)

// TestOrthogonalizer checks that the singular vectors of a matrix stay, to the precision of bfloat16,
// and that its singular values come near to one, whatever its shape and scale.
func TestOrthogonalizer(t *testing.T) {
	var o orthogonalizer
	for _, test := range []struct {
		rows, cols int
		scale      float64
	}{{1, 1, 1}, {1, 7, 1}, {7, 1, 1}, {12, 12, 1}, {12, 12, 1e-12}, {12, 12, 1e12}, {48, 20, 1}, {20, 48, 1}, {65, 33, 1}} {
		t.Run(fmt.Sprint(test), func(t *testing.T) {
			rows, cols, rank := test.rows, test.cols, min(test.rows, test.cols)
			r := rand.New(rand.NewPCG(1, 2))
			left, right := orthonormal(r, rank, rows), orthonormal(r, rank, cols)
			in := o.input(rows, cols)
			clear(in)
			for k := range rank {
				value := test.scale * (0.05 + r.Float64())
				for i := range rows {
					for j := range cols {
						in[i*cols+j] += float32(value * left[k][i] * right[k][j])
					}
				}
			}
			out := o.run()
			for k := range rank {
				for l := range rank {
					s := 0.0 // of U^T out V
					for i := range rows {
						for j := range cols {
							s += left[k][i] * float64(out[i*cols+j]) * right[l][j]
						}
					}
					switch {
					case k != l && math.Abs(s) > 0.02:
						t.Errorf("singular vectors %d and %d mix: %g", k, l, s)
					case k == l && !(s > 0.6 && s < 1.25):
						t.Errorf("singular value %d is %g, want about 1", k, s)
					}
				}
			}
		})
	}
	t.Run("zeros", func(t *testing.T) {
		clear(o.input(3, 2))
		for _, v := range o.run() {
			if v != 0 {
				t.Errorf("a matrix of zeros became %g", v)
			}
		}
	})
}

// orthonormal returns n orthonormal vectors of length size.
func orthonormal(r *rand.Rand, n, size int) [][]float64 {
	list := make([][]float64, n)
	for i := range list {
		v := make([]float64, size)
		for j := range v {
			v[j] = r.NormFloat64()
		}
		for _, u := range list[:i] {
			dot := 0.0
			for j := range v {
				dot += u[j] * v[j]
			}
			for j := range v {
				v[j] -= dot * u[j]
			}
		}
		norm := 0.0
		for _, x := range v {
			norm += x * x
		}
		for j := range v {
			v[j] /= math.Sqrt(norm)
		}
		list[i] = v
	}
	return list
}

// TestMuonStep checks two steps by hand where the orthogonal matrix is known: that of a single entry
// is a sign.
func TestMuonStep(t *testing.T) {
	w := &tensor.Param{Name: "w", Value: []float32{2}, Grad: []float32{0.5}}
	bias := &tensor.Param{Name: "b", Value: []float32{1}, Grad: []float32{-3}}
	frozen := &tensor.Param{Name: "frozen", Value: []float32{4}}
	maps := []*tensor.Weight{tensor.NewTrainable(w, bias, 1, 1), tensor.NewTrainable(frozen, nil, 1, 1)}
	o := NewMuon([]*tensor.Param{w, bias}, maps, 0.1)
	const lr = 0.01
	o.Update(lr)
	one := (&orthogonalizer{}).sign() // what the iterations make of 1
	want := 2*(1-lr*0.1) - lr*0.2*one
	if got := float64(w.Value[0]); math.Abs(got-want) > 1e-6 {
		t.Errorf("matrix after one step: %g, want %g", got, want)
	}
	if got, want := float64(bias.Value[0]), 1*(1-lr*0.1)+lr; math.Abs(got-want) > 1e-6 {
		t.Errorf("bias after one step: %g, want %g, AdamW's", got, want)
	}
	w.Grad[0] = -0.4 // Nesterov's momentum: 0.95·(0.95·0.5 - 0.4) - 0.4 < 0
	before := float64(w.Value[0])
	o.Update(lr)
	want = before*(1-lr*0.1) + lr*0.2*one
	if got := float64(w.Value[0]); math.Abs(got-want) > 1e-6 {
		t.Errorf("matrix after two steps: %g, want %g", got, want)
	}
	if frozen.Value[0] != 4 {
		t.Errorf("a frozen matrix moved to %g", frozen.Value[0])
	}
}

// sign returns what the iterations make of a matrix of one positive entry.
func (o *orthogonalizer) sign() float64 {
	o.input(1, 1)[0] = 1
	return float64(o.run()[0])
}
