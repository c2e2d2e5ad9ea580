// Package tokencache generates images with diffusion transformers (DiT, MDT, SiT, MiniT2I) on CPUs, in pure Go,
// and makes them several times faster by reusing work across denoising steps.
//
// [Open] reads a model, in any of the formats that its authors or diffusers published it in, and
// [Pipeline.Generate] generates images with it:
//
//	p, err := tokencache.Open("DiT-XL-2-256x256.pt", tokencache.Options{VAE: "sd-vae-ft-ema"})
//	...
//	defer p.Close()
//	r, err := p.Generate(ctx, tokencache.Request{
//		Classes:  []int{207, 360},
//		Seed:     1,
//		Sampling: tokencache.Sampling{Sampler: "ddpm", Steps: 250, Guidance: 4},
//	})
//
// Models that are bundled, with their guidance and cache policies, are in package models:
//
//	p, req, err := models.Open("fashion")
//	...
//	req.Classes = []int{7}
//	r, err := p.Generate(ctx, req)
//
// # Many callers
//
// A [Pipeline] may be used from any number of goroutines. Its images in flight, of whatever
// requests, share one set of weights and all threads: between two denoising steps images join and
// leave, each with its own sampler, number of steps, guidance and policy (continuous batching).
// [Limits] say how much is taken on at a time. Estimate tells what a request needs before it is
// made.
//
// # Reproducibility
//
// The same request gives the same images, bit for bit, on machines of the same CPU level, whatever
// the number of threads, the batch, and what else runs.
//
// This package composes inference only; training, calibration, evaluation and the program are in
// packages of their own.
package tokencache

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/tokencache/tokencache/diffusion"
	"github.com/tokencache/tokencache/dit"
	"github.com/tokencache/tokencache/internal/classes"
	"github.com/tokencache/tokencache/internal/imagenet"
	"github.com/tokencache/tokencache/internal/kernel"
	"github.com/tokencache/tokencache/minit2i"
	"github.com/tokencache/tokencache/prompt"
	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
	"github.com/tokencache/tokencache/vae"
)

// DType is a number format of a network's blocks: of the weights and activations of the linear maps
// that all tokens pass through. What is between them (norms, attention, the residual stream), what
// the conditioning passes through, and the first and the last linear map are float32 always. Of the
// autoencoder the decoder's convolutions are bfloat16 where that is the format, else float32.
type DType = tensor.DType

// The number formats. Each takes half the memory of the one before, or less, and is about twice as
// fast on processors that have instructions for it.
const (
	F32  = tensor.F32
	BF16 = tensor.BF16
	INT8 = tensor.INT8
)

// ParseDType returns the number format of a name: f32, bf16 or int8.
func ParseDType(name string) (DType, error) { return tensor.ParseDType(name) }

// Options says how to open a model.
type Options struct {
	// VAE is the path of the autoencoder that turns the model's latents into pixels. A diffusers
	// pipeline brings its own; a model that makes pixels of 1 or 3 channels needs none.
	VAE string

	Threads   int    // workers; 0 means as many as there are processors
	Key       string // which of several sets of weights to take; "" prefers an average: see checkpoint.OpenOptions
	Heads     int    // attention heads, where neither the width nor a config.json tells
	InputSize int    // side of the latents, where the checkpoint does not tell

	// DecodeLayer is the number of an MDTv1's blocks that are its decoder, which its checkpoints do
	// not tell; 0 means what config.json says, else 2, as in the published model.
	DecodeLayer int

	// Path and Prediction tell that a model with the tensors of a DiT is a SiT, and what it was trained
	// for, where its checkpoint does not.
	Path       diffusion.Path
	Prediction diffusion.Prediction
	// DType is the number format of the network's blocks; F32, the zero value, computes as the model
	// was trained. The others are faster and give other images, very slightly: see DType.
	DType DType

	// CacheDType is the number format in which policies keep what they forecast from: the updates of
	// blocks and branches, their differences, and keys and values that are forecast. BF16 halves that
	// memory. What is read back as it is, such as keys and values that are held, stays F32.
	CacheDType DType

	// Solvers are the model's own learned solvers, for the sampler learned: see
	// diffusion.Network.Learned.
	Solvers []*diffusion.LearnedSolver

	// TextEncoder is the folder of a text-to-image model's text encoder and tokenizer, a T5; "": the one
	// next to the model. TextStore is a folder in which encoded prompts are kept, so that the encoder
	// is not needed for them again, and Encoded a file of prompts that were encoded ahead
	// (prompt.Write). Models with a vocabulary of their own need none of them.
	TextEncoder, TextStore, Encoded string

	// Limits bound what is taken on at a time.
	Limits Limits

	// OnTick, if not nil, is told of every pass, on the engine's goroutines, perhaps by several at a
	// time. It must return soon.
	OnTick func(Tick)
}

// Pipeline is an opened model, ready to generate. It may be used by any number of goroutines.
type Pipeline struct {
	net     model
	config  any             // of net: dit.Config or minit2i.Config
	dtype   DType           // of its blocks
	prompts *prompt.Reader  // nil unless the model takes prompts
	decoder vae.Autoencoder // nil if the model makes pixels
	network diffusion.Network
	engine  *engine

	names   []string
	assumed string
	suits   Sampling // see SchedulerSampling
}

// model is what a Pipeline needs of a model besides what the engine runs: *dit.Model and
// *minit2i.Model have it.
type model interface {
	seam.Model
	Name() string // architecture and size
	Bytes() int64 // of the weights in memory
	Network() diffusion.Network
}

// Open reads the model at path: a checkpoint, a folder with one, or a diffusers pipeline.
func Open(path string, o Options) (*Pipeline, error) {
	return OpenContext(context.Background(), path, o)
}

// OpenContext is Open. When ctx ends, it fails soon.
func OpenContext(ctx context.Context, path string, o Options) (*Pipeline, error) {
	if minit2i.Found(path) {
		w, err := minit2i.Open(ctx, path, minit2i.Options{Key: o.Key})
		if err != nil {
			return nil, err
		}
		defer w.Close()
		return FromTextWeights(w, o)
	}
	w, err := dit.OpenContext(ctx, path, dit.Options{
		Key:         o.Key,
		Heads:       o.Heads,
		InputSize:   o.InputSize,
		DecodeLayer: o.DecodeLayer,
		Path:        o.Path,
		Prediction:  o.Prediction,
	})
	if err != nil {
		return nil, orBundled(path, err)
	}
	defer w.Close()
	return fromWeights(ctx, w, o)
}

// bundledModels are the models of package models, which this package does not import; its tests
// check that they are all.
const bundledModels = "emoji, fashion, fashion-mdt"

// orBundled adds to an error how bundled models are opened, where no file is there and path may be
// meant as a name.
func orBundled(path string, err error) error {
	if _, missing := os.Stat(path); !errors.Is(missing, fs.ErrNotExist) || strings.ContainsAny(path, `/\.`) {
		return err
	}
	return fmt.Errorf("%w; the bundled models (%s) are opened by models.Open of package "+
		"github.com/tokencache/tokencache/models", err, bundledModels)
}

// FromWeights reads the model of a checkpoint that is open already, such as one embedded in a
// program.
func FromWeights(w *dit.Weights, o Options) (*Pipeline, error) {
	return fromWeights(context.Background(), w, o)
}

func fromWeights(ctx context.Context, w *dit.Weights, o Options) (*Pipeline, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	var err error
	p := &Pipeline{names: w.ClassNames, assumed: w.Assumed, suits: w.Process.Sampling()}
	decoder := o.VAE
	if decoder == "" {
		decoder = w.VAE
	}
	if decoder != "" {
		if p.decoder, err = vae.OpenAs(ctx, decoder, w.Format(o.DType)); err != nil {
			return nil, err
		}
	}
	if err := checkDecoder(w.Config, p.decoder); err != nil {
		return nil, err
	}
	w.DType = o.DType
	m, err := w.Load()
	if err != nil {
		return nil, err
	}
	p.net, p.config, p.dtype = m, m.Config, m.DType
	if p.names == nil && w.NumClasses == imagenet.Count {
		p.names = imagenet.Names()
	}
	p.network = m.Network()
	p.network.Learned = o.Solvers
	tidy(m.Bytes())
	p.start(o)
	return p, nil
}

// FromTextWeights reads the text-to-image model of a checkpoint that is open already, such as one
// embedded in a program.
func FromTextWeights(w *minit2i.Weights, o Options) (*Pipeline, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	if o.VAE != "" {
		return nil, &FieldError{Field: "VAE", Value: o.VAE, Want: "none: the model makes pixels"}
	}
	w.DType = o.DType
	m, err := w.Load()
	if err != nil {
		return nil, err
	}
	p := &Pipeline{net: m, config: m.Config, dtype: m.DType, network: m.Network()}
	p.prompts, err = prompt.NewReader(m, w, prompt.Options{
		Encoder: o.TextEncoder,
		Store:   o.TextStore,
		Encoded: o.Encoded,
	})
	if err != nil {
		return nil, err
	}
	p.network.Learned = o.Solvers
	tidy(m.Bytes())
	p.start(o)
	return p, nil
}

// tidy gives back to the system what reading a large model has left, such as its weights before they
// were packed: the next garbage collection may be far away.
func tidy(weights int64) {
	const large = 256 << 20
	if weights > large {
		debug.FreeOSMemory()
	}
}

// Share returns another pipeline over the same weights, with an engine of its own. Options that say
// how to read a model are not used.
func (p *Pipeline) Share(o Options) (*Pipeline, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	q := &Pipeline{
		net:     p.net,
		config:  p.config,
		dtype:   p.dtype,
		prompts: p.prompts,
		decoder: p.decoder,
		network: p.network,
		names:   p.names,
		assumed: p.assumed,
		suits:   p.suits,
	}
	if o.Solvers != nil {
		q.network.Learned = o.Solvers
	}
	q.start(o)
	return q, nil
}

// maxThreads bounds the workers that may be asked for.
const maxThreads = 4096

func (o Options) check() error {
	if o.Threads < 0 || o.Threads > maxThreads {
		return &FieldError{Field: "Threads", Value: o.Threads, Want: fmt.Sprintf("1 to %d, or 0 for all processors", maxThreads)}
	}
	if o.DType < F32 || o.DType > INT8 {
		return &FieldError{Field: "DType", Value: o.DType, Want: "F32, BF16 or INT8"}
	}
	if o.CacheDType != F32 && o.CacheDType != BF16 {
		return &FieldError{Field: "CacheDType", Value: o.CacheDType, Want: "F32 or BF16"}
	}
	if o.Limits.Rows < 0 || o.Limits.Memory < 0 || o.Limits.Queue < 0 {
		return &FieldError{Field: "Limits", Value: o.Limits, Want: "0 or more each"}
	}
	for _, l := range o.Solvers {
		if err := l.Validate(); err != nil {
			return err
		}
	}
	return nil
}

// start makes the engine.
func (p *Pipeline) start(o Options) {
	threads := o.Threads
	if threads == 0 {
		threads = runtime.GOMAXPROCS(0)
	}
	shape := p.net.Shape()
	if o.CacheDType != F32 {
		shape.Cache = o.CacheDType // of all pipelines that share the model
	}
	side, channels := shape.LatentRows, shape.Channels
	px := pixels{latentChannels: channels, side: side}
	if p.decoder != nil {
		s := p.decoder.Spec()
		side, channels = side*s.Downscale, s.ImageChannels
	}
	px.height, px.width, px.channels = side, side, channels
	p.engine = newEngine(p.net, p.decoder, p.net.Bytes() > maxSharded, threads, o.Limits, px)
	p.engine.level, p.engine.dtype = p.Level(), p.DType().String()
	p.engine.onTick = o.OnTick
}

// checkDecoder reports an autoencoder that does not fit the model, or is missing.
func checkDecoder(c dit.Config, decoder vae.Autoencoder) error {
	if decoder == nil {
		if c.InChannels != 1 && c.InChannels != 3 {
			return &FieldError{Field: "VAE", Value: "none", Want: fmt.Sprintf(
				"the path of an autoencoder, which alone turns the model's latents of %d channels into pixels", c.InChannels)}
		}
		return nil
	}
	if s := decoder.Spec(); s.LatentChannels != c.InChannels {
		return fmt.Errorf("the autoencoder %s takes latents of %d channels, but the model makes %d", s.Name, s.LatentChannels, c.InChannels)
	}
	return nil
}

// Close refuses new requests, waits for those that run, and ends the workers. Further calls do
// nothing.
func (p *Pipeline) Close() { p.engine.close(context.Background()) }

// Shutdown is Close that cancels the requests that still run when ctx is done, and then returns
// ctx's error. Cancelled requests return ErrClosed.
func (p *Pipeline) Shutdown(ctx context.Context) error { return p.engine.close(ctx) }

// Load returns what the pipeline has in hand now.
func (p *Pipeline) Load() Load {
	e := p.engine
	e.mu.Lock()
	defer e.mu.Unlock()
	return Load{Images: e.flying, Rows: e.rows, Bytes: e.bytes}
}

// Config returns the configuration of a DiT, an MDT or a SiT; of other models it is the zero value.
// Name, Shape, Classes and ImageSize tell of any.
func (p *Pipeline) Config() dit.Config {
	c, _ := p.config.(dit.Config)
	return c
}

// SchedulerSampling returns what the scheduler_config.json of the model says of how to sample it: the
// shift of a flow's steps, and nothing else. A Request does not have it by itself.
func (p *Pipeline) SchedulerSampling() Sampling { return p.suits }

// Name returns the model's architecture and size, for people.
func (p *Pipeline) Name() string { return p.net.Name() }

// Shape returns the sizes of the model that policies know.
func (p *Pipeline) Shape() *seam.Shape { return p.net.Shape() }

// Classes returns the number of classes of a class-conditional model, 0 of others.
func (p *Pipeline) Classes() int { return p.Config().NumClasses }

// Levels returns the schedule that the model was trained on, which also tells how its predictions
// are read.
func (p *Pipeline) Levels() diffusion.Schedule {
	levels, _ := p.network.Levels() // checked when the model was opened
	return levels
}

// ClassNames returns the names of the model's classes, or nil if they have none.
func (p *Pipeline) ClassNames() []string { return p.names }

// SelectClasses turns what a user typed (numbers, names, lists, ranges) into classes of the model.
func (p *Pipeline) SelectClasses(selections []string) ([]int, error) {
	return classes.Select(selections, p.Classes(), p.names)
}

// maxByDefault bounds the images of ImageClasses where neither classes nor a count are given.
const maxByDefault = 16

// ImageClasses returns the class of each of count images, which cycle through the selected classes:
// all of the model's where there are no selections. Count 0 means one image of each class, at most
// 16 where none is selected. Selections are read as SelectClasses reads them.
func (p *Pipeline) ImageClasses(selections []string, count int) ([]int, error) {
	if count < 0 {
		return nil, &FieldError{Field: "Count", Value: count, Want: "1 or more"}
	}
	chosen, standard := classes.All(p.Classes()), maxByDefault
	if len(selections) > 0 {
		var err error
		if chosen, err = p.SelectClasses(selections); err != nil {
			return nil, err
		}
		standard = len(chosen)
	}
	if count == 0 {
		count = min(len(chosen), standard)
	}
	return classes.Cycle(chosen, count), nil
}

// Assumed says what was taken for granted of the model because neither its checkpoint nor Options
// told it, for people to read, or "".
func (p *Pipeline) Assumed() string { return p.assumed }

// Fingerprint identifies the model's weights: equal weights have equal fingerprints, in whatever
// file they were.
func (p *Pipeline) Fingerprint() string { return p.net.Shape().Fingerprint }

// Bytes returns the size of the model's weights in memory.
func (p *Pipeline) Bytes() int64 { return p.net.Bytes() }

// Threads returns the number of workers.
func (p *Pipeline) Threads() int { return p.engine.threads }

// Level returns the name of the CPU level in use, of those that give the same bits in the
// pipeline's number format the lowest: generic, avx2, avx512 or, for BF16 alone, bf16. On other
// architectures than amd64 it begins with theirs: arm64-neon.
func (p *Pipeline) Level() string { return kernel.Arithmetic(p.dtype) }

// DType returns the number format of the network's blocks.
func (p *Pipeline) DType() DType { return p.dtype }

// CacheDType returns the number format of what policies forecast from: see Options.
func (p *Pipeline) CacheDType() DType { return p.net.Shape().Cache }

// Arithmetic identifies all of the arithmetic that images depend on: the CPU level, and the number
// formats of the network's blocks and of caches where they are not F32.
func (p *Pipeline) Arithmetic() string {
	text := p.Level()
	if p.DType() != F32 {
		text += " " + p.DType().String()
	}
	if p.CacheDType() != F32 {
		text += " cache " + p.CacheDType().String()
	}
	return text
}

// ImageSize returns the size of the images, in pixels, and their channels: 1 is grey, 3 is RGB.
func (p *Pipeline) ImageSize() (height, width, channels int) {
	px := p.engine.pixels
	return px.height, px.width, px.channels
}

// classCondition returns a class as a condition.
func classCondition(class int) Condition { return dit.Class(class) }

// latentSize is the number of values of an image's latents.
func (p *Pipeline) latentSize() int {
	px := p.engine.pixels
	return px.latentChannels * px.side * px.side
}
