package tokencache

import (
	"image"
	"image/color"

	"github.com/tokencache/tokencache/reuse"
)

// RNG names a source of random numbers.
type RNG string

const (
	RNGOwn   RNG = "own"       // a stream for each image: image i of a seed is the same in any batch
	RNGTorch RNG = "torch-cpu" // PyTorch's generator for CPUs, drawing for whole batches as DiT's sampling loop does
)

// defaultBatch is how many images are denoised together where a Request does not say.
const defaultBatch = 4

// Request says what to draw. Zero values mean what their comments say.
type Request struct {
	Classes []int // the class of each image; their number is that of the images
	Seed    uint64
	RNG     RNG // "" means RNGOwn

	Sampler string  // ddpm, ddim or dpm++; "" means ddim
	Steps   string  // "50", "ddim50", "10,15,20"; "" means 50
	Eta     float64 // of ddim

	Guidance         float64 // scale of classifier-free guidance; 0 and 1 mean none
	GuidancePower    float64 // 0: the same scale at every step; else it grows from 1, later for higher powers: diffusion.PowerCosine, MDT's with 4
	GuideAllChannels bool    // guide all channels of the noise, not only the first three as the official code does
	ClipDenoised     bool    // clamp each predicted image to [-1,1], for models of pixels

	Policy      reuse.Policy // what is reused from step to step; nil means nothing
	CacheMemory int64        // most bytes that the policy may keep; 0 means any number

	Batch int // images denoised together; 0 means 4
	// Undivided keeps the images of a batch together in one forward pass, for policies that watch or learn from all of them. Otherwise the processors share the images among
	// them where they can, each with a Run of the policy: the images are the same, sooner.
	Undivided bool
	Noise     []float32 // starts the images instead of random numbers: [images, channels, side, side]

	// Skip, if not nil, reports images that need not be drawn. The others come out as if none was skipped.
	Skip func(index int) bool
	// OnImage, if not nil, is given each image when it is finished, and Result.Images stays empty. An error ends the run.
	OnImage func(Image) error
	// OnState, if not nil, is given each image's latents before every step; position counts the steps up. It must copy what it keeps.
	OnState func(index, position int, x []float32)
	// OnPrediction, if not nil, is given what the model predicts for each image at every step, guided: C·side² values of noise, and as many more where the model learned the variance.
	// It must copy what it keeps.
	OnPrediction func(index, position int, out []float32)
	// OnStep, if not nil, is told of every denoising step of a batch.
	OnStep func(Progress)
}

// Progress says how far a run is.
type Progress struct {
	Step, Steps  int   // of the batch that is being denoised
	Images, Done int   // of the run: to be drawn, and finished
	Batch        int   // images of this batch
	FLOPs        int64 // of the run so far, as in Stats
}

// Image is a finished image.
type Image struct {
	Index                   int // in Request.Classes
	Class                   int
	Height, Width, Channels int
	Pixels                  []uint8   // [Height, Width, Channels], rounded as DiT's sample_ddp.py rounds
	Latents                 []float32 // what the model made: [C, side, side]
}

// RGBA returns the picture as the standard library has it. Of one channel it is grey.
func (m Image) RGBA() *image.RGBA {
	out := image.NewRGBA(image.Rect(0, 0, m.Width, m.Height))
	for i := range m.Width * m.Height {
		p := m.Pixels[i*m.Channels:][:m.Channels]
		out.SetRGBA(i%m.Width, i/m.Width, color.RGBA{R: p[0], G: p[len(p)/2], B: p[len(p)-1], A: 0xff})
	}
	return out
}

// Result is what a run made and what it took.
type Result struct {
	Images []Image
	Stats  Stats
}

// Stats is what a run took.
type Stats struct {
	Images         int     `json:"images"`
	Steps          int     `json:"steps"`
	DenoiseSeconds float64 `json:"denoise_s"`      // model, guidance and sampler
	DecodeSeconds  float64 `json:"decode_s"`       // autoencoder
	FLOPs          int64   `json:"flops"`          // of model and policy, as tensor.Graph counts
	UncachedFLOPs  int64   `json:"uncached_flops"` // of the model alone for the same images without a policy
	CacheBytes     int64   `json:"cache_bytes"`
	ISteps         int     `json:"i_steps"`              // of an image, computed whole
	PSteps         int     `json:"p_steps"`              // of an image, where something was reused
	HalfSteps      int     `json:"half_steps,omitempty"` // of the P-steps, those at which guidance's conditional half was computed
	TokensShare    float64 `json:"tokens_computed"`      // share of all tokens of all blocks
	Threads        int     `json:"threads"`
	Level          string  `json:"cpu_level"`
}
