package tensor

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

var windows2D = []Window2D{
	{Height: 1, Width: 1, Stride: 1},
	{Height: 1, Width: 1, Stride: 2},
	{Height: 3, Width: 3, Stride: 2},
	{Height: 3, Width: 3, Stride: 1},
	{Height: 3, Width: 3, Stride: 1, PadY: 1, PadX: 1},
	{Height: 5, Width: 5, Stride: 1, PadY: 2, PadX: 2},
	{Height: 1, Width: 7, Stride: 1, PadX: 3},
	{Height: 7, Width: 1, Stride: 1, PadY: 3},
	{Height: 1, Width: 3, Stride: 1, PadX: 1},
	{Height: 3, Width: 1, Stride: 1, PadY: 1},
	{Height: 2, Width: 4, Stride: 3, PadY: 1, PadX: 2},
}

// TestConv2D compares with the definition, in float64, into columns of a wider matrix, whose other
// columns must stay.
func TestConv2D(t *testing.T) {
	everyKernel(t, func(t *testing.T) {
		for i, r := range windows2D {
			rnd := rand.New(rand.NewPCG(uint64(i), 1))
			samples, h, w, in, out := 1+i%3, 7+i, 8+i%4, 1+3*i%5, 3+11*i
			x, weight := normal(rnd, samples*h*w*in), normal(rnd, out*in*r.Height*r.Width)
			var bias []float32
			if i%2 == 0 {
				bias = normal(rnd, out)
			}
			oh, ow := r.Out(h, w)
			var before []float32
			for _, workers := range []int{1, 3} {
				pool := NewPool(workers)
				g := NewGraph(pool)
				wide := g.New(samples*oh*ow, out+5)
				for k := range wide.Data {
					wide.Data[k] = 9
				}
				got := g.Conv2DInto(g.Columns(wide, 2, 2+out),
					Images{X: FromSlice(x, samples*h*w, in), Height: h, Width: w},
					NewConv2DWeight(weight, out, in, bias, r), ReLU)
				pool.Close()
				if got.Height != oh || got.Width != ow {
					t.Fatalf("%+v: %d x %d", r, got.Height, got.Width)
				}
				if before != nil && !slices.Equal(before, wide.Data) {
					t.Fatalf("%+v: other bits with %d workers", r, workers)
				}
				before = slices.Clone(wide.Data)
				for row := range wide.Rows {
					values := wide.Row(row)
					for _, c := range []int{0, 1, out + 2, out + 3, out + 4} {
						if values[c] != 9 {
							t.Fatalf("%+v: column %d was written to", r, c)
						}
					}
					sample, y, col := row/(oh*ow), row/ow%oh, row%ow
					for o := range out {
						sum, bound := 0.0, 0.0
						if bias != nil {
							sum, bound = float64(bias[o]), math.Abs(float64(bias[o]))
						}
						for dy := range r.Height {
							for dx := range r.Width {
								py, px := y*r.Stride+dy-r.PadY, col*r.Stride+dx-r.PadX
								if py < 0 || py >= h || px < 0 || px >= w {
									continue
								}
								for c := range in {
									a, b := weight[((o*in+c)*r.Height+dy)*r.Width+dx], x[((sample*h+py)*w+px)*in+c]
									p := float64(a) * float64(b)
									sum, bound = sum+p, bound+math.Abs(p)
								}
							}
						}
						if d := math.Abs(float64(values[2+o]) - max(sum, 0)); !(d <= 1e-5*bound+1e-30) {
							t.Fatalf("%+v: %g at %d, %d, channel %d, want %g", r, values[2+o], y, col, o, max(sum, 0))
						}
					}
				}
			}
		}
	})
}

// TestPooling compares with the definition.
func TestPooling(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	pool := NewPool(2)
	defer pool.Close()
	const samples, h, w, channels = 2, 9, 8, 3
	in := Images{X: FromSlice(normal(rnd, samples*h*w*channels), samples*h*w, channels), Height: h, Width: w}
	for _, r := range windows2D {
		g := NewGraph(pool)
		oh, ow := r.Out(h, w)
		largest := g.MaxPoolInto(g.New(samples*oh*ow, channels), in, r)
		mean := g.MeanPoolInto(g.New(samples*oh*ow, channels), in, r)
		for i := range samples * oh * ow {
			sample, y, x := i/(oh*ow), i/ow%oh, i%ow
			for c := range channels {
				top, sum, n := math.Inf(-1), 0.0, 0.0
				for py := max(y*r.Stride-r.PadY, 0); py < min(y*r.Stride-r.PadY+r.Height, h); py++ {
					for px := max(x*r.Stride-r.PadX, 0); px < min(x*r.Stride-r.PadX+r.Width, w); px++ {
						v := float64(in.X.Row((sample*h+py)*w + px)[c])
						top, sum, n = max(top, v), sum+v, n+1
					}
				}
				if got := float64(largest.X.Row(i)[c]); got != top {
					t.Fatalf("%+v: largest %g, want %g", r, got, top)
				}
				if got := float64(mean.X.Row(i)[c]); math.Abs(got-sum/n) > 1e-6 {
					t.Fatalf("%+v: mean %g, want %g", r, got, sum/n)
				}
			}
		}
	}
}
