package train

import (
	"math"
	"math/rand/v2"
)

// Distortion says how far images are changed at random, for classes of which there are only a few.
type Distortion struct {
	Scale      float64 `json:"scale"`      // maximum ratio of sizes, larger or smaller
	Turn       float64 `json:"turn"`       // maximum angle, in degrees, either way
	Contrast   float64 `json:"contrast"`   // maximum ratio, more or less
	Brightness float64 `json:"brightness"` // maximum change of pixels in [-1,1], either way
	Blur       float64 `json:"blur"`       // maximum share of the mean over 3x3 pixels
	Noise      float64 `json:"noise"`      // maximum standard deviation
}

// distort returns an image [channels, size, size] in [-1,1], moved by at most shift pixels each way,
// scaled, turned, blurred, with another contrast and brightness and with noise, as r says. What is
// beyond its edge is as at the edge. It keeps x.
func (d *Distortion) distort(x []float32, channels, size, shift int, r *rand.Rand) []float32 {
	within := func(limit float64) float64 { return limit * (2*r.Float64() - 1) }
	move := affine{
		scale: math.Pow(d.Scale, within(1)),
		turn:  within(d.Turn) * math.Pi / 180,
		down:  within(float64(shift)),
		right: within(float64(shift)),
	}
	contrast, brightness := math.Pow(d.Contrast, within(1)), within(d.Brightness)
	blur, noise := d.Blur*r.Float64(), d.Noise*r.Float64()
	out := make([]float32, len(x))
	for c := range channels {
		from, to := x[c*size*size:][:size*size], out[c*size*size:][:size*size]
		move.apply(to, from, size)
		soften(to, size, blur)
	}
	for i, v := range out {
		v := contrast*float64(v) + brightness + noise*r.NormFloat64()
		out[i] = float32(min(max(v, -1), 1))
	}
	return out
}

// affine turns and scales an image around its middle and moves it.
type affine struct {
	scale, turn float64 // radians
	down, right float64 // pixels
}

// apply sets dst to src [size, size], moved, with pixels interpolated bilinearly.
func (a affine) apply(dst, src []float32, size int) {
	sin, cos := math.Sincos(-a.turn)
	middle, last := float64(size-1)/2, float64(size-1)
	at := func(y, x float64) float32 {
		y, x = min(max(y, 0), last), min(max(x, 0), last)
		top, left := int(y), int(x)
		bottom, right := min(top+1, size-1), min(left+1, size-1)
		v, u := float32(y-float64(top)), float32(x-float64(left))
		upper := (1-u)*src[top*size+left] + u*src[top*size+right]
		lower := (1-u)*src[bottom*size+left] + u*src[bottom*size+right]
		return (1-v)*upper + v*lower
	}
	for row := range size {
		for col := range size {
			y, x := (float64(row)-middle-a.down)/a.scale, (float64(col)-middle-a.right)/a.scale
			dst[row*size+col] = at(middle+cos*y+sin*x, middle+cos*x-sin*y)
		}
	}
}

// soften mixes each pixel of an image [size, size] with the mean over the 3x3 pixels around it, of
// which it takes a share.
func soften(x []float32, size int, share float64) {
	src := make([]float32, len(x))
	copy(src, x)
	for row := range size {
		for col := range size {
			sum := float32(0)
			for y := row - 1; y <= row+1; y++ {
				line := src[min(max(y, 0), size-1)*size:][:size]
				sum += line[max(col-1, 0)] + line[col] + line[min(col+1, size-1)]
			}
			i := row*size + col
			x[i] += float32(share) * (sum/9 - x[i])
		}
	}
}
