package tokencache

import (
	"image"
	"image/color"

	"github.com/tokencache/tokencache/diffusion"
	"github.com/tokencache/tokencache/reuse"
	"github.com/tokencache/tokencache/seam"
)

// Sampling is how images are sampled: sampler, steps, guidance, source of random numbers.
type Sampling = diffusion.Sampling

// Condition is what an image is conditioned on: a class here, other things for other models.
type Condition = seam.Condition

// RNGOwn and RNGTorch are the sources of random numbers: see diffusion.RNG.
const (
	RNGOwn   = diffusion.RNGOwn
	RNGTorch = diffusion.RNGTorch
)

// Request says what to generate. Zero values mean what their comments say.
type Request struct {
	// Classes is the class of each image, the short way to say Conditions of a class-conditional
	// model.
	Classes []int
	// Conditions is what each image is conditioned on, where Classes is empty: such as prompts, of
	// Pipeline.Prompts of this model, or of one of the same weights in another number format.
	Conditions []Condition
	// Negative is what guidance leads away from; nil is the model's null condition.
	Negative Condition
	// Seed is that of the random numbers. With RNGOwn image i of a seed is the same in any request.
	Seed uint64

	Sampling

	// Policy is what is reused from step to step; nil means nothing.
	Policy reuse.Policy
	// MinPSNR, if not 0, is the PSNR in dB that each image must keep to the uncached run of the same
	// sampler, steps and seed, or to another Reference: steps that the policy does not compute are
	// checked and, where needed, computed. The policy must have a contract, which says for which share
	// of images this holds: see reuse.Guard.
	MinPSNR float64
	// Reference is what MinPSNR is to; "" means reuse.ToUncached.
	Reference reuse.Reference
	// CacheMemory bounds the bytes that the policy keeps for all images of the request in flight; 0
	// means any number.
	CacheMemory int64
	// Batch is how many images of the request are in flight at most; 0 lets the engine choose. The
	// numbers of RNGTorch are those of batches of this size (0 means 4), and policies that need whole
	// batches (reuse.WholeBatcher) get them of it. Otherwise images do not depend on it.
	Batch int
	// Noise starts the images instead of random numbers: [images, channels, side, side].
	Noise []float32

	// Client is whose work the request is; nil is anybody's.
	Client *Client

	// Skip, if not nil, reports images that are not wanted. Skipping does not change the other images.
	Skip func(index int) bool
	// OnImage, if not nil, receives each image when it is finished, on the goroutine that called
	// Generate, and Result.Images stays empty. An error ends the request.
	OnImage func(Image) error

	// OnState, OnPrediction, OnComputed and OnStep, if not nil, are called on the engine's goroutines, one call
	// at a time, while the images of this request wait: they must return soon and copy what they
	// keep.
	//
	// OnState receives each image's latents before every step; position counts steps from 0.
	OnState func(index, position int, x []float32)
	// OnPrediction receives what the model predicts for each image at every step, after guidance:
	// C*side*side values of noise, or of what else the model was trained to predict, which
	// Pipeline.Levels reads, and as many more where it learned the variance.
	OnPrediction func(index, position int, out []float32)
	// OnComputed receives, after every step of an image, for each of its tokens the share of the
	// blocks in which the step computed the token, from 0 (all reused) to 1; under guidance for the
	// conditional half.
	OnComputed func(index, position int, computed []float32)
	// OnStep is told of every denoising step of every image.
	OnStep func(Progress)
}

// Images returns the number of images.
func (r *Request) Images() int {
	if len(r.Classes) > 0 {
		return len(r.Classes)
	}
	return len(r.Conditions)
}

// Progress says how far a request is.
type Progress struct {
	Index       int // of the image that took a step
	Step, Steps int // of that image: steps taken, and in all

	Images, Done int // of the request: wanted, and finished
	Taken        int // steps of all images of the request

	// Seconds and FLOPs are what the step took: its part of the pass that it was in.
	Seconds float64
	FLOPs   int64
}

// Share returns how much of the request's denoising is done, from 0 to 1.
func (p Progress) Share() float64 { return float64(p.Taken) / float64(p.Images*p.Steps) }

// Image is a finished image. It is an image.Image.
type Image struct {
	Index                   int       // in the request
	Class                   int       // -1 if the condition is no class
	Condition               Condition `json:"-"`
	Height, Width, Channels int
	Pixels                  []uint8   // [Height, Width, Channels], rounded as DiT's sample_ddp.py rounds
	Latents                 []float32 // what the model made: [C, side, side]

	// Evidence is what the policy's checks found, nil if it checks nothing.
	Evidence *reuse.Evidence `json:"-"`
}

// ColorModel implements image.Image.
func (m Image) ColorModel() color.Model {
	if m.Channels == 1 {
		return color.GrayModel
	}
	return color.RGBAModel
}

// Bounds implements image.Image.
func (m Image) Bounds() image.Rectangle { return image.Rect(0, 0, m.Width, m.Height) }

// At implements image.Image.
func (m Image) At(x, y int) color.Color {
	if !(image.Point{X: x, Y: y}.In(m.Bounds())) {
		return color.RGBA{}
	}
	p := m.Pixels[(y*m.Width+x)*m.Channels:][:m.Channels]
	if m.Channels == 1 {
		return color.Gray{Y: p[0]}
	}
	return color.RGBA{R: p[0], G: p[1], B: p[2], A: 0xff}
}

// RGBA returns the image as the standard library's most common type. An image of one channel is
// grey.
func (m Image) RGBA() *image.RGBA {
	out := image.NewRGBA(m.Bounds())
	for i := range m.Width * m.Height {
		p := m.Pixels[i*m.Channels:][:m.Channels]
		out.SetRGBA(i%m.Width, i/m.Width, color.RGBA{R: p[0], G: p[len(p)/2], B: p[len(p)-1], A: 0xff})
	}
	return out
}

// Result is what a request made and what it took.
type Result struct {
	Images []Image
	Stats  Stats
}

// Stats is what a request took. Steps of the Cost are those of one image, as a mean over the
// images.
type Stats struct {
	reuse.Cost
	Images        int     `json:"images"`
	Steps         int     `json:"steps"`
	DecodeSeconds float64 `json:"decode_s"`        // of the autoencoder, summed over images
	TokensShare   float64 `json:"tokens_computed"` // share of all tokens of all blocks
	Threads       int     `json:"threads"`
	Level         string  `json:"cpu_level"`
	DType         string  `json:"dtype"` // number format of the network's blocks

	// Checks is what a policy that checks its forecasts found, nil for others.
	Checks *Checks `json:"contract,omitempty"`
}

// Checks is what the checks of a request's images found.
type Checks struct {
	MinPSNR    float64         `json:"min_psnr_db"` // what was promised; 0: nothing
	Reference  reuse.Reference `json:"reference"`   // what that is to
	Checks     float64         `json:"checks"`      // forecast steps of an image that were checked, on average
	Rejections float64         `json:"rejections"`  // those that were then computed, likewise
	// EstimatedPSNR is that of the images to the Reference, in dB; to the uncached ones it is 100 where
	// nothing was forecast.
	EstimatedPSNR struct {
		Mean float64 `json:"mean"`
		Min  float64 `json:"min"`
	} `json:"estimated_psnr_db"`
}

// add takes in what was found of an image, the n-th.
func (c *Checks) add(e *reuse.Evidence, n int) {
	mean := func(m *float64, v float64) { *m += (v - *m) / float64(n) }
	mean(&c.Checks, float64(e.Checks))
	mean(&c.Rejections, float64(e.Rejections))
	mean(&c.EstimatedPSNR.Mean, e.EstimatedPSNR)
	if n == 1 || e.EstimatedPSNR < c.EstimatedPSNR.Min {
		c.EstimatedPSNR.Min = e.EstimatedPSNR
	}
}

// pixels is the size of latents and of the images that become of them.
type pixels struct {
	latentChannels, side    int // of latents
	height, width, channels int // of images
}
