package tensor

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/tokencache/tokencache/internal/kernel"
)

func normal(r *rand.Rand, n int) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(r.NormFloat64())
	}
	return v
}

// directConv is the definition of a convolution of prepared images [samples*h*w, in], in float64.
// bound is the same with absolute values: what the rounding errors of the sum are proportional to.
func directConv(
	x []float64,
	samples, h, w int,
	weight []float32,
	out, in int,
	bias []float32,
	s Conv3x3Geometry,
) (y, bound []float64, oh, ow int) {
	zoom := 1
	if s.Upsample {
		zoom = 2
	}
	at := func(sample, row, col, c int) float64 { return x[((sample*(h/zoom)+row/zoom)*(w/zoom)+col/zoom)*in+c] }
	h, w = zoom*h, zoom*w
	oh, ow = (h+s.Before+s.After-3)/s.Stride+1, (w+s.Before+s.After-3)/s.Stride+1
	for sample := range samples {
		for i := range oh {
			for j := range ow {
				for o := range out {
					var sum, abs float64
					if bias != nil {
						sum, abs = float64(bias[o]), math.Abs(float64(bias[o]))
					}
					for ky := range 3 {
						for kx := range 3 {
							row, col := i*s.Stride+ky-s.Before, j*s.Stride+kx-s.Before
							if row < 0 || row >= h || col < 0 || col >= w {
								continue
							}
							for c := range in {
								p := float64(weight[((o*in+c)*3+ky)*3+kx]) * at(sample, row, col, c)
								sum += p
								abs += math.Abs(p)
							}
						}
					}
					y, bound = append(y, sum), append(bound, abs)
				}
			}
		}
	}
	return y, bound, oh, ow
}

// everyKernel runs test with every implementation of the kernels that this machine has.
func everyKernel(t *testing.T, test func(t *testing.T)) {
	for _, im := range kernel.Impls() {
		t.Run(im.String(), func(t *testing.T) {
			if !im.Supported() {
				t.Skip("this machine lacks " + im.String())
			}
			defer kernel.Use(kernel.Use(im))
			test(t)
		})
	}
}

var geometries = map[string]Conv3x3Geometry{
	"same":                    Conv3x3Same,
	"double":                  Conv3x3Double,
	"halve":                   Conv3x3Halve,
	"halve, zeros after only": {Stride: 2, After: 1},
	"no zeros":                {Stride: 1},
}

func TestConv3x3(t *testing.T) {
	sizes := []struct{ samples, h, w, in, out int }{
		{1, 8, 8, 16, 16},
		{2, 5, 7, 3, 5},
		{1, 3, 3, 1, 1},
		{3, 4, 6, 17, 50},
		{1, 9, 33, 20, 97},
		{1, 17, 3, 64, 3},
		{1, 40, 6, 8, 49},
	}
	everyKernel(t, func(t *testing.T) {
		for name, s := range geometries {
			for i, z := range sizes {
				t.Run(fmt.Sprintf("%s/%v", name, z), func(t *testing.T) {
					r := rand.New(rand.NewPCG(1, uint64(i)))
					checkConv(t, r, z.samples, z.h, z.w, z.in, z.out, s, i%2 == 0, i%3 == 0)
				})
			}
		}
	})
}

func checkConv(t *testing.T, r *rand.Rand, samples, h, w, in, out int, s Conv3x3Geometry, withBias, add bool) {
	x, weight := normal(r, samples*h*w*in), normal(r, out*in*9)
	var bias []float32
	if withBias {
		bias = normal(r, out)
	}
	x64 := make([]float64, len(x))
	for i, v := range x {
		x64[i] = float64(v)
	}
	want, bound, oh, ow := directConv(x64, samples, h, w, weight, out, in, bias, s)
	before := normal(r, len(want))

	g := NewGraph(NewPool(2))
	defer g.pool.Close()
	cw := NewConv3x3Weight(weight, out, in, bias, s)
	input := Conv3x3Input{Images: Images{X: FromSlice(x, samples*h*w, in), Height: h, Width: w}}
	var got Images
	if add {
		dst := FromSlice(append([]float32(nil), before...), samples*oh*ow, out)
		got = g.Conv3x3Add(Images{X: dst, Height: oh, Width: ow}, input, cw)
	} else {
		got = g.Conv3x3(input, cw)
	}
	if got.Height != oh || got.Width != ow || got.Samples() != samples {
		t.Fatalf("got %d images of %d x %d, want %d of %d x %d", got.Samples(), got.Height, got.Width, samples, oh, ow)
	}
	// A sum of n products, in any order, is off by at most n roundings of the sum of their absolute
	// values; bias, residual and the sums of weights that a doubling convolution makes add a few.
	n := float64(9*in + 5)
	for i, v := range got.X.Flat() {
		want, bound := want[i], bound[i]
		if add {
			want, bound = want+float64(before[i]), bound+math.Abs(float64(before[i]))
		}
		if d := math.Abs(float64(v) - want); !(d <= n*0x1p-24*bound) {
			t.Fatalf("pixel %d, channel %d: got %v, want %v", i/out, i%out, v, want)
		}
	}
	products := int64(9)
	if s.Upsample {
		products = 4
	}
	if want := 2 * products * int64(got.X.Rows*in*out); g.FLOPs() != want {
		t.Errorf("counted %d operations, want %d", g.FLOPs(), want)
	}
}

// TestConv3x3Input checks that a convolution prepares its input as the separate operations do, bit
// for bit.
func TestConv3x3Input(t *testing.T) {
	everyKernel(t, func(t *testing.T) {
		const samples, h, w, in, out = 2, 13, 11, 24, 40
		r := rand.New(rand.NewPCG(2, 3))
		g := NewGraph(NewPool(2))
		defer g.pool.Close()
		x := Images{X: FromSlice(normal(r, samples*h*w*in), samples*h*w, in), Height: h, Width: w}
		a := Affine{
			Scale: FromSlice(normal(r, samples*in), samples, in),
			Shift: FromSlice(normal(r, samples*in), samples, in),
		}
		weight := NewConv3x3Weight(normal(r, out*in*9), out, in, normal(r, out), Conv3x3Same)
		for _, f := range []Activation{Identity, SiLU, ReLU} {
			prepared := g.Apply(x, a)
			g.Activate(prepared.X, f)
			want := g.Conv3x3(Conv3x3Input{Images: prepared}, weight)
			got := g.Conv3x3(Conv3x3Input{Images: x, Affine: a, Activation: f}, weight)
			if diff := cmp.Diff(want.X.Flat(), got.X.Flat()); diff != "" {
				t.Errorf("activation %v: -want +got\n%s", f, diff)
			}
		}
	})
}

// TestConv3x3Workers checks that results do not depend on the number of workers, bit for bit.
func TestConv3x3Workers(t *testing.T) {
	all := []Conv3x3Geometry{Conv3x3Same, Conv3x3Double, Conv3x3Halve, {Stride: 2, After: 1}}
	var graphs []*Graph // of 1, 2 and 3 workers
	for workers := 1; workers <= 3; workers++ {
		pool := NewPool(workers)
		defer pool.Close()
		graphs = append(graphs, NewGraph(pool))
	}
	everyKernel(t, func(t *testing.T) {
		rapid.Check(t, func(t *rapid.T) {
			samples := rapid.IntRange(1, 2).Draw(t, "samples")
			h, w := rapid.IntRange(2, 24).Draw(t, "h"), rapid.IntRange(2, 20).Draw(t, "w")
			in, out := rapid.IntRange(1, 40).Draw(t, "in"), rapid.IntRange(1, 120).Draw(t, "out")
			s := rapid.SampledFrom(all).Draw(t, "geometry")
			r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
			x := Images{X: FromSlice(normal(r, samples*h*w*in), samples*h*w, in), Height: h, Width: w}
			weight := NewConv3x3Weight(normal(r, out*in*9), out, in, normal(r, out), s)
			ones := make([]float32, in)
			var first []float32
			for _, g := range graphs {
				g.Reset()
				a := g.GroupNorm(x, 1, ones, ones, 1e-6)
				y := g.Conv3x3(Conv3x3Input{Images: x, Affine: a, Activation: SiLU}, weight)
				if first == nil {
					first = append([]float32(nil), y.X.Flat()...)
				} else if !slices.Equal(first, y.X.Flat()) {
					t.Fatalf("%d workers: -one worker +got\n%s", g.Workers(), cmp.Diff(first, y.X.Flat()))
				}
			}
		})
	})
}

// TestConv3x3Narrow checks convolutions in bfloat16 on integers so small that nothing is rounded:
// they equal those in float32, added to what is there too, for any number of workers; that a
// convolution of other numbers is near; and that it does round.
func TestConv3x3Narrow(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 9))
	integers := func(n int) []float32 {
		x := make([]float32, n)
		for i := range x {
			x[i] = float32(r.IntN(15) - 7)
		}
		return x
	}
	const samples, h, w, in, out = 2, 9, 7, 5, 37
	for name, s := range geometries {
		t.Run(name, func(t *testing.T) {
			x := Images{X: FromSlice(integers(samples*h*w*in), samples*h*w, in), Height: h, Width: w}
			weights, bias := integers(out*in*9), integers(out)
			exact := NewConv3x3Weight(weights, out, in, bias, s)
			narrow := NewConv3x3WeightAs(BF16, weights, out, in, bias, s)
			if exact.DType() != F32 || narrow.DType() != BF16 || narrow.Bytes() >= exact.Bytes() {
				t.Errorf("formats %v of %d bytes, %v of %d",
					exact.DType(), exact.Bytes(), narrow.DType(), narrow.Bytes())
			}
			for _, workers := range []int{1, 2, 3} {
				g := NewGraph(NewPool(workers))
				want := g.Conv3x3(Conv3x3Input{Images: x}, exact)
				got := g.Conv3x3(Conv3x3Input{Images: x}, narrow)
				if diff := cmp.Diff(want.X.Flat(), got.X.Flat()); diff != "" {
					t.Fatalf("%d workers: -want +got\n%s", workers, diff)
				}
				again := g.Conv3x3Add(got, Conv3x3Input{Images: x}, narrow)
				g.Conv3x3Add(want, Conv3x3Input{Images: x}, exact)
				if diff := cmp.Diff(want.X.Flat(), again.X.Flat()); diff != "" {
					t.Fatalf("added, %d workers: -want +got\n%s", workers, diff)
				}
				g.pool.Close()
			}
		})
	}
	t.Run("rounded", func(t *testing.T) {
		x := Images{X: FromSlice(normal(r, h*w*in), h*w, in), Height: h, Width: w}
		weights := normal(r, out*in*9)
		g := NewGraph(NewPool(2))
		defer g.pool.Close()
		want := g.Conv3x3(Conv3x3Input{Images: x}, NewConv3x3Weight(weights, out, in, nil, Conv3x3Same)).X.Flat()
		got := g.Conv3x3(Conv3x3Input{Images: x}, NewConv3x3WeightAs(BF16, weights, out, in, nil, Conv3x3Same)).X.Flat()
		var errors, squares float64
		for i, v := range want {
			d := float64(got[i] - v)
			errors, squares = errors+d*d, squares+float64(v*v)
		}
		if e := math.Sqrt(errors / squares); !(e > 2e-4 && e < 0x1p-8) {
			t.Errorf("relative error %v, want that of rounding to bfloat16", e)
		}
	})
}

func TestConv3x3Allocations(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 5))
	g := NewGraph(NewPool(2))
	defer g.pool.Close()
	x := Images{X: FromSlice(normal(r, 32*32*32), 32*32, 32), Height: 32, Width: 32}
	weight := NewConv3x3Weight(normal(r, 32*32*9), 32, 32, nil, Conv3x3Same)
	gamma, beta := normal(r, 32), normal(r, 32)
	run := func() {
		g.Reset()
		a := g.GroupNorm(x, 8, gamma, beta, 1e-6)
		g.Conv3x3Add(x, Conv3x3Input{Images: g.Apply(x, a), Affine: a, Activation: SiLU}, weight)
	}
	run()
	if n := testing.AllocsPerRun(10, run); n > 0 {
		t.Errorf("%v allocations per run after the first", n)
	}
}

func BenchmarkConv3x3(b *testing.B) {
	for _, z := range []struct{ side, in, out int }{
		{32, 512, 512}, {128, 256, 256}, {256, 256, 128}, {256, 128, 128}, {128, 64, 64}, {256, 128, 3}, {256, 3, 128},
	} {
		b.Run(fmt.Sprintf("%dx%dx%d-%d", z.side, z.side, z.in, z.out), func(b *testing.B) {
			r := rand.New(rand.NewPCG(6, 7))
			g := NewGraph(NewPool(0))
			defer g.pool.Close()
			x := Images{X: FromSlice(normal(r, z.side*z.side*z.in), z.side*z.side, z.in), Height: z.side, Width: z.side}
			weight := NewConv3x3Weight(normal(r, z.out*z.in*9), z.out, z.in, nil, Conv3x3Same)
			ones := make([]float32, z.in)
			a := g.GroupNorm(x, 1, ones, ones, 1e-6)
			mark := g.Mark()
			for b.Loop() {
				g.Release(mark)
				g.Conv3x3(Conv3x3Input{Images: x, Affine: a, Activation: SiLU}, weight)
			}
			b.ReportMetric(float64(g.FLOPs())/b.Elapsed().Seconds()*1e-9, "GFLOP/s")
		})
	}
}

// TestUnfold3x3 checks that Unfold3x3 and Linear are the convolution.
func TestUnfold3x3(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	g := NewGraph(NewPool(2))
	for name, s := range geometries {
		if s.Upsample {
			continue
		}
		const samples, h, w, in, out = 2, 7, 6, 5, 4
		x, weight, bias := normal(r, samples*h*w*in), normal(r, out*in*9), normal(r, out)
		planes := make([]float32, len(weight)) // [out, 3, 3, in]
		for o := range out {
			for c := range in {
				for k := range 9 {
					planes[(o*9+k)*in+c] = weight[(o*in+c)*9+k]
				}
			}
		}
		images := Images{X: FromSlice(x, samples*h*w, in), Height: h, Width: w}
		want := g.Conv3x3(Conv3x3Input{Images: images}, NewConv3x3Weight(weight, out, in, bias, s))
		windows := g.Unfold3x3(images, s)
		got := g.Linear(windows.X, NewWeight(planes, out, 9*in, bias))
		if windows.Height != want.Height || windows.Width != want.Width {
			t.Fatalf("%s: %d x %d, want %d x %d", name, windows.Height, windows.Width, want.Height, want.Width)
		}
		for i, v := range want.X.Flat() {
			if d := math.Abs(float64(got.Flat()[i] - v)); d > 1e-4 {
				t.Fatalf("%s: element %d: %g, want %g", name, i, got.Flat()[i], v)
			}
		}
	}
}
