package verify

import (
	"math"
	"slices"

	"github.com/tokencache/tokencache/diffusion"
	"github.com/tokencache/tokencache/dit"
	"github.com/tokencache/tokencache/minit2i"
	"github.com/tokencache/tokencache/tensor"
	"github.com/tokencache/tokencache/vae"
)

// A model in another number format than float32 is not as exact as the original, and no bound of
// its largest error is of use. So the root mean square of the errors is compared, with what is to
// be expected of errors of rounding that are independent of each other:
//
// A linear map of numbers that each have a relative error of u/√2 has a relative error of u. A
// block's MLP has two such maps, one behind the other. Its attention has as many, values and
// projection, and the scores, products of two results of such maps, err by √2·u of themselves,
// which counts as a third. Neither branch adds more to the residual stream than is in it, so that
// the error behind L blocks is at most √(5L)·u. Where attention multiplies in bfloat16, the scores
// and the weighted values are two more products of rounded numbers. Guidance of scale s takes s
// times one prediction and 1-s times another, and a run of n steps adds up n of those errors, none
// of which grows: √(s²+(s-1)²)·√n times as much.
//
// Rounding to bfloat16 errs by up to 2^-9 of a number, evenly: u = √2·2^-9/√3. Rounding to int8
// errs evenly by up to half a step. A step of activations is 1/255 of their range, taken to be 12
// standard deviations; one of weights 1/127 of the largest, taken to be 4.5 of them:
// u = √((12/255)²+(4.5/127)²)/√12.
var (
	bf16Error = math.Sqrt2 * 0x1p-9 / math.Sqrt(3)
	int8Error = math.Hypot(12.0/255, 4.5/127) / math.Sqrt(12)
)

// rounding is how far from the original the model in use may be; the zero value is that of float32.
type rounding struct {
	bound float64 // of a forward pass: relative, root mean square
	gain  float64 // how many times that the result at hand may be off
}

// roundingOf returns the bound for a model.
func roundingOf(m *dit.Model) rounding { return roundingIn(m.DType, len(m.Blocks)) }

// roundingOfText returns the bound for a text-to-image model, whose joint blocks follow those of
// the text alone.
func roundingOfText(m *minit2i.Model) rounding { return roundingIn(m.DType, m.TextDepth+m.Depth) }

// roundingIn returns the bound for a number of blocks in a number format.
func roundingIn(d tensor.DType, blocks int) rounding {
	ofBlock := math.Sqrt(5) * map[tensor.DType]float64{tensor.BF16: bf16Error, tensor.INT8: int8Error}[d]
	if tensor.AttentionIn(d) == tensor.BF16 {
		ofBlock = math.Hypot(ofBlock, math.Sqrt2*bf16Error)
	}
	return rounding{bound: ofBlock * math.Sqrt(float64(blocks)), gain: 1}
}

// roundingOfDecoder returns the bound for images that an autoencoder decodes. A convolution is a
// linear map; the decoder's are one behind the other, and its norms keep errors relative.
func roundingOfDecoder(a vae.Autoencoder) rounding {
	return rounding{bound: bf16Error * math.Sqrt(float64(a.Spec().Narrow)), gain: 1}
}

// narrow reports whether the model in use is not float32.
func (r rounding) narrow() bool { return r.bound > 0 }

// after notes that results are those of guidance over a number of steps.
func (r *rounding) after(g diffusion.Guidance, steps int) {
	scale := g.Scale
	if g.ScaleAt != nil {
		scale = g.ScaleAt(0)
	}
	r.gain = max(1, math.Hypot(scale, scale-1)) * math.Sqrt(float64(steps))
}

// afterForecasts notes that the steps which were not computed are linear forecasts from the two that
// were computed last. A forecast over r times their distance takes 1+r times one and -r times the
// other, and so has √((1+r)²+r²) times their error.
func (r *rounding) afterForecasts(computed []float32) {
	last, before, squares := 0, 0, 0.0
	for step, c := range computed {
		factor := 1.0
		switch {
		case c > 0:
			last, before = step, last
		case last > before:
			ahead := float64(step-last) / float64(last-before)
			factor = (1+ahead)*(1+ahead) + ahead*ahead
		}
		squares += factor
	}
	if len(computed) > 0 {
		r.gain *= math.Sqrt(squares / float64(len(computed)))
	}
}

// afterVelocity notes that results are out - x, at a scale of guidance, over a number of steps: the
// errors are those of out.
func (r *rounding) afterVelocity(x, out []float32, scale float64, steps int) {
	var outs, differences float64
	for i, v := range out {
		d := float64(v) - float64(x[i])
		outs, differences = outs+float64(v)*float64(v), differences+d*d
	}
	r.after(diffusion.Guidance{Scale: scale}, steps)
	r.gain *= max(1, math.Sqrt(outs/differences))
}

// decided compares what a policy chose, which differs where a number on the way to it does: there
// is nothing to compare unless it is float32.
func (r *run) decided(name string, got, want []float32) {
	if r.rounding.narrow() {
		r.skip(name, "what a policy chooses is compared in float32 only")
		return
	}
	r.compare(name, got, want, tolerance)
}

// decidedRecorded is decided of a recorded tensor.
func (r *run) decidedRecorded(c *recording, name string, got []float32) {
	if r.rounding.narrow() {
		r.decided(c.stem+"/"+name, nil, nil)
		return
	}
	r.compareRecorded(c, name, got, tolerance)
}

// follows reports whether the results of a run can be compared, given what it has decided. In another
// number format than float32 a decision that is not the recorded one makes it another run.
func (r *run) follows(c *recording, decisions map[string][]float32) bool {
	if !r.rounding.narrow() {
		return true
	}
	for name, got := range decisions {
		if want, err := c.Float32(name); err != nil || !slices.Equal(got, want) {
			return false
		}
	}
	return true
}

// comparesPredictions reports whether predictions of x_0 are compared: errors of the model are σ/α
// times as large in them, up to 157 times, and again in x after the step.
func (r *run) comparesPredictions() bool { return !r.rounding.narrow() }

// rmsError is the root mean square of the errors in units of the reference's.
func rmsError(got, want []float32) float64 {
	var errors, squares float64
	for i, w := range want {
		d := float64(got[i]) - float64(w)
		errors += d * d
		squares += float64(w) * float64(w)
	}
	switch e := math.Sqrt(errors / squares); {
	case errors == 0:
		return 0
	case math.IsNaN(e) || math.IsInf(e, 0):
		return noNumber
	default:
		return e
	}
}
