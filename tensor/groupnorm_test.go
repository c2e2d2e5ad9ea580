package tensor

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

func TestGroupNorm(t *testing.T) {
	tests := []struct {
		samples, h, w, channels, groups int
		mean                            float64 // of the input, whose standard deviation is 1
	}{
		{1, 4, 4, 32, 8, 0},
		{2, 5, 7, 6, 3, 10},
		{1, 1, 1, 8, 2, 0},
		{3, 3, 9, 17, 1, -1},
		{1, 64, 48, 40, 8, 100}, // several chunks
		{1, 12, 12, 5, 5, 1000},
	}
	const eps = 1e-6
	everyKernel(t, func(t *testing.T) {
		for i, tt := range tests {
			t.Run(fmt.Sprint(tt), func(t *testing.T) {
				r := rand.New(rand.NewPCG(8, uint64(i)))
				pixels := tt.h * tt.w
				data := normal(r, tt.samples*pixels*tt.channels)
				for i := range data {
					data[i] += float32(tt.mean)
				}
				weight, bias := normal(r, tt.channels), normal(r, tt.channels)
				g := NewGraph(NewPool(2))
				defer g.pool.Close()
				x := Images{X: FromSlice(data, tt.samples*pixels, tt.channels), Height: tt.h, Width: tt.w}
				got := g.Apply(x, g.GroupNorm(x, tt.groups, weight, bias, eps))

				width := tt.channels / tt.groups
				for s := range tt.samples {
					for c := range tt.channels {
						mean, variance := groupMoments(x, s, c/width*width, width)
						rstd := 1 / math.Sqrt(variance+eps)
						for p := range pixels {
							row := s*pixels + p
							v := float64(x.X.Row(row)[c])
							want := (v-mean)*rstd*float64(weight[c]) + float64(bias[c])
							// Scale, shift, their product and sum round numbers of this size. A
							// channel's mean over a chunk is a sum of that many numbers, whose
							// roundings are independent.
							size := (math.Abs(v)+math.Abs(mean))*rstd*math.Abs(float64(weight[c])) +
								math.Abs(float64(bias[c]))
							chunk := math.Sqrt(float64(min(pixels, chunkFloats/tt.channels)))
							if d := math.Abs(float64(got.X.Row(row)[c]) - want); !(d <= (8+chunk)*0x1p-24*size) {
								t.Fatalf("sample %d, pixel %d, channel %d: got %v, want %v",
									s, p, c, got.X.Row(row)[c], want)
							}
						}
					}
				}
			})
		}
	})
}

func groupMoments(x Images, sample, first, width int) (mean, variance float64) {
	pixels := x.Height * x.Width
	n := float64(pixels * width)
	each := func(f func(v float64)) {
		for p := range pixels {
			for _, v := range x.X.Row(sample*pixels + p)[first : first+width] {
				f(float64(v))
			}
		}
	}
	each(func(v float64) { mean += v / n })
	each(func(v float64) { variance += (v - mean) * (v - mean) / n })
	return mean, variance
}
