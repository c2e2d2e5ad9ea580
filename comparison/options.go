package comparison

import (
	"context"
	"time"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/calibrate"
	"github.com/tokencache/tokencache/diffusion"
	"github.com/tokencache/tokencache/report"
	"github.com/tokencache/tokencache/reuse"
)

// Options says what to compare.
type Options struct {
	Dir      string // of the report; results are in Dir/cells, calibrated policies in Dir/policies
	Pipeline *tokencache.Pipeline
	// Formats are the same model in other number formats. Every policy runs in all of them, and is
	// compared with what Pipeline, best in float32, generates without a policy.
	Formats []*tokencache.Pipeline

	diffusion.Sampling
	Seed  uint64
	Batch int

	Policies []string  // names of methods, policies as Open reads them, or All
	Speeds   []float64 // of methods, times the uncached model
	Count    int       // images of each policy
	Timed    int       // images of a measurement of time
	Repeat   int       // alternating runs of such a measurement
	Retime   bool      // measure the time of finished results again
	Axes     bool      // cross what is computed with what the rest gets, instead of Policies
	Spread   bool      // the images' subjects are evenly apart, where there are more of them

	// Subjects are what the images show; nil: all classes.
	Subjects *tokencache.Subjects

	// Open returns the policy that a text names.
	Open func(text string) (reuse.Policy, error)
	// Bundled returns the name of the policy that is bundled with the model for a speed, "" if
	// there is none. If it is nil, a TokenCache is calibrated too.
	Bundled func(speed float64) (string, error)

	Calibration Calibration
	// Reference is a network with real images to compare with; nil if there is none for the model.
	Reference *Reference
	// RealImages, if not nil, opens the real images of Reference. A search calls it when it needs
	// them, which takes longer than all that can be refused or estimated before.
	RealImages func(ctx context.Context) error

	// Remote, if not nil, has the images made elsewhere. The time of what it makes is not measured,
	// but in a search, which measures here, and with Retime.
	Remote Remote

	// Model, VAE and PromptFile are the user's names of the model, of its autoencoder and of the file
	// of Subjects' prompts, Command is the command line and Processor the machine's: the report shows
	// them.
	Model, VAE, PromptFile, Command, Processor string

	OnStage    func(what string)
	OnProgress func(done, all float64) // in images that the uncached model generates in the same time
}

// Calibration says how policies are calibrated that depend on the model.
type Calibration struct {
	Threads int // worker threads of training
	Trials  int // of calibrate.TokenCache
	Few     int // likewise; 0: its defaults of both
	// Open opens the model's weights once more.
	Open func() (calibrate.Weights, error)
	// Seed is that of the images that are learned from; 0: the default of package calibrate.
	Seed uint64
	// Images are as many as methods other than TokenCache learn from; 0: the default of package
	// calibrate.
	Images int
	// Unmeasured leaves out the figures of what is calibrated.
	Unmeasured bool
}

// method returns the calibration of a method.
func (c *Calibration) method(name string) (calibrate.Method, error) {
	m, err := calibrate.NewMethod(name)
	if t, ok := m.(*calibrate.TokenCache); ok && c.Few > 0 {
		t.Trials, t.Few = c.Trials, c.Few
	}
	return m, err
}

// Result is what was measured.
type Result struct {
	report.Results
	// Images has the first images of each cell.
	Images [][]tokencache.Image
}

// newResult returns the result of a comparison before anything is measured.
func newResult(o *Options) *Result {
	r := &Result{Results: report.Results{
		Model:       o.Model,
		VAE:         o.VAE,
		Prompts:     o.Subjects.Prompts(),
		Fingerprint: o.Pipeline.Fingerprint(),
		Sampling:    o.Sampling,
		Seed:        o.Seed,
		Count:       o.Count,
		Speeds:      o.Speeds,
		Batch:       o.Batch,
		Threads:     o.Pipeline.Threads(),
		Level:       o.Pipeline.Arithmetic(),
		DType:       o.Pipeline.DType().String(),
		Processor:   o.Processor,
		Date:        time.Now().UTC().Format(time.DateOnly),
		Command:     o.Command,
	}}
	if o.Reference != nil {
		o.Reference.describe(&r.Results)
	}
	return r
}
