package calibrate

import (
	"context"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"time"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/diffusion"
	"github.com/tokencache/tokencache/eval"
	"github.com/tokencache/tokencache/internal/digest"
	"github.com/tokencache/tokencache/reuse"
	"github.com/tokencache/tokencache/train"
)

// Options are the settings of a calibration that all methods share.
type Options struct {
	Dir  string // the policy's folder
	Work string // where an interrupted calibration keeps its state; "" means WorkFolder in Dir

	diffusion.Sampling
	// Speed is wanted, times the uncached model in wall-clock time; the method's parameter that
	// decides it is found. 0: the parameter stays as it is.
	Speed float64
	Seed  uint64
	// Subjects are what the images show; nil: all classes.
	Subjects *tokencache.Subjects

	Images  int // sampled without a policy, to learn from
	Measure int // others, which the figures in the policy are of
	Threads int // worker threads of training; 0: all processors
	// Unmeasured leaves out the figures: the caller measures the policy.
	Unmeasured bool

	// Command is recorded in the policy.
	Command string
	// Open opens the model's weights once more, for training through them.
	Open func() (Weights, error)

	// The following may be nil.

	// Frechet measures the distance of images from real ones, and the factor by which it is larger than
	// that of others of the same noise: see comparison.Reference. Without it the policy says none.
	Frechet func(ctx context.Context, images, others []tokencache.Image) (distance, ratio *eval.Estimate, err error)

	// Remote makes the trials of placements elsewhere. Everything else is done here, the measurement of
	// time above all.
	Remote Remote

	OnStage  func(what string)         // a part of the work begins
	OnUpdate func(train.StepStats)     // an update of training was made
	OnImage  func(tokencache.Progress) // a step was sampled
}

// Defaults returns the options of a calibration that says no more than folder, model and speed.
func Defaults() Options { return Options{Seed: 1, Images: 32, Measure: enoughMeasured} }

// Method makes the policy of one cache method.
type Method interface {
	// Name is the method's name in a trained policy, such as reuse.TokenCacheMethod.
	Name() string
	// check reports parameters that have no meaning, before anything is computed.
	check(m *maker) error
	// run makes the policy.
	run(ctx context.Context, m *maker) (*product, error)
}

// NewMethod returns the method of a name with its default parameters.
func NewMethod(name string) (Method, error) {
	switch name {
	case reuse.TokenCacheMethod:
		return NewTokenCache(), nil
	case reuse.SmoothCacheMethod:
		return NewSmoothCache(), nil
	case reuse.TeaCacheMethod:
		return NewTeaCache(), nil
	case reuse.MagCacheMethod:
		return NewMagCache(), nil
	case reuse.L2CMethod:
		return NewL2C(), nil
	case reuse.DPCacheMethod:
		return NewDPCache(), nil
	case reuse.CEMMethod:
		return NewCEM(), nil
	case reuse.L2PMethod:
		return NewL2P(), nil
	}
	return nil, fmt.Errorf("method %q: want %s, %s, %s, %s, %s, %s, %s or %s", name,
		reuse.TokenCacheMethod, reuse.SmoothCacheMethod, reuse.TeaCacheMethod, reuse.MagCacheMethod, reuse.L2CMethod,
		reuse.DPCacheMethod, reuse.CEMMethod, reuse.L2PMethod)
}

// product is a policy that is not yet saved.
type product struct {
	policy     *reuse.Trained
	learned    func(path string) error // writes what was learned; nil: there is nothing
	provenance map[string]any          // of the method
	repeat     int                     // runs of the measurement; 0 means 2
}

// maker is the state of a calibration.
type maker struct {
	Options
	p     *tokencache.Pipeline
	start time.Time
}

// newMaker returns the state before anything is made.
func newMaker(p *tokencache.Pipeline, o Options) (*maker, error) {
	var err error
	o.Sampling = o.Sampling.WithDefaults()
	o.Subjects, err = p.SubjectsOr(o.Subjects)
	return &maker{Options: o, p: p, start: time.Now()}, err
}

// Run makes the policy of a method and saves it. It continues an interrupted run of the same
// options.
func Run(ctx context.Context, p *tokencache.Pipeline, method Method, o Options) (*reuse.Trained, error) {
	if o.Speed != 0 && !(o.Speed > 1) {
		return nil, fmt.Errorf("a speed of %g: want more than 1, times the uncached model", o.Speed)
	}
	if o.Images < 1 || o.Measure < 1 {
		return nil, fmt.Errorf("%d images and %d of a measurement: want 1 or more", o.Images, o.Measure)
	}
	m, err := newMaker(p, o)
	if err != nil {
		return nil, err
	}
	if err := method.check(m); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(m.work(), 0o777); err != nil {
		return nil, err
	}
	made, err := method.run(ctx, m)
	if err != nil {
		return nil, err
	}
	t := made.policy
	t.Provenance = map[string]any{
		"command": o.Command,
		"images":  o.Images,
		"seed":    o.Seed,
	}
	t.Speed.Wanted = o.Speed
	if !o.Unmeasured {
		if t.Provenance["measured"], err = m.evidence(ctx, t, max(made.repeat, 2)); err != nil {
			return nil, err
		}
	}
	t.Provenance["seconds"] = math.Round(time.Since(m.start).Seconds())
	maps.Copy(t.Provenance, made.provenance)
	return t, t.Save(o.Dir, made.learned)
}

// trained returns an empty policy for the model and the sampling.
func (m *maker) trained() *reuse.Trained {
	return &reuse.Trained{Model: m.p.Name(), Fingerprint: m.p.Fingerprint(), Sampling: m.Sampling}
}

// key identifies work that depends on the uncached images and on more.
func (m *maker) key(more ...any) string {
	for _, text := range []string{m.p.SolverDigest(m.Sampling), m.Subjects.Digest()} {
		if text != "" {
			more = append(more, text)
		}
	}
	return digest.Of(m.p.Fingerprint(), m.p.Arithmetic(), m.Sampling, m.Seed, more)
}

func (m *maker) work() string {
	if m.Work != "" {
		return m.Work
	}
	return filepath.Join(m.Dir, WorkFolder)
}

func (m *maker) stage(format string, args ...any) {
	if m.OnStage != nil {
		m.OnStage(fmt.Sprintf(format, args...))
	}
}

// request samples images that cycle through the subjects.
func (m *maker) request(images int, seed uint64) tokencache.Request {
	req := tokencache.Request{Seed: seed, Sampling: m.Sampling, Batch: min(images, 8), OnStep: m.OnImage}
	m.Subjects.Cycle(&req, images)
	return req
}

// observe samples uncached images under a policy that only observes.
func (m *maker) observe(ctx context.Context, p reuse.Policy) error {
	req := m.request(m.Images, m.Seed)
	req.Batch, req.Policy = min(req.Batch, 4), p
	m.stage("observing %d uncached images", m.Images)
	_, err := m.p.Generate(ctx, req)
	return err
}
