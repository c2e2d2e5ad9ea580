package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/data"
	"github.com/tokencache/tokencache/dit"
	"github.com/tokencache/tokencache/internal/classes"
	"github.com/tokencache/tokencache/internal/raster"
	"github.com/tokencache/tokencache/internal/sheet"
	"github.com/tokencache/tokencache/models"
	"github.com/tokencache/tokencache/report"
	"github.com/tokencache/tokencache/tensor"
	"github.com/tokencache/tokencache/train"
)

type trainCmd struct {
	DiT        trainDiTCmd        `cmd:"" name:"dit" default:"withargs" help:"Train a DiT or an MDT (the default)."`
	Classifier trainClassifierCmd `cmd:"" help:"Train a small classifier, whose features judge pictures."`
}

// trainRun holds the flags of every kind of training.
type trainRun struct {
	Data     string        `help:"Pictures: a folder of IDX or CIFAR files, a folder with a subfolder for each class, or an .npz." placeholder:"PATH"`
	Split    string        `help:"Part of the data: train, test or all. Default: train where there are splits, else everything." default:"" enum:",train,test,all" placeholder:"PART"`
	SkipBad  bool          `name:"skip-broken" help:"Skip picture files that cannot be read, naming them, instead of stopping."`
	Out      string        `help:"Folder of the run: checkpoints, log, loss curve, samples." placeholder:"DIR" required:""`
	Resume   bool          `help:"Continue the run in --out, bit for bit as if it had not been stopped. Its settings are kept; --steps, --data, --threads and the intervals may be given anew."`
	Steps    *int          `help:"Updates in all. Default: what --epochs come to." placeholder:"N"`
	Epochs   *float64      `help:"Times that each picture is seen. Default: 10, for a classifier 8." placeholder:"X"`
	Batch    *int          `help:"Pictures of an update. Default: 64." placeholder:"N"`
	Micro    *int          `name:"micro-batch" help:"Pictures in memory together; their gradients are summed up to --batch. Default: 16." placeholder:"N"`
	LR       *float64      `name:"lr" help:"Learning rate." placeholder:"X"`
	Warmup   *int          `help:"Updates over which the rate rises. Default: 200." placeholder:"N"`
	Schedule *string       `help:"Learning rate after the warm-up: constant, or cosine down to a hundredth." placeholder:"NAME"`
	Decay    *float64      `name:"weight-decay" help:"Weight decay of AdamW." placeholder:"X"`
	Clip     *float64      `help:"Bring the gradient's norm down to this; 0: leave it. Default: 1." placeholder:"X"`
	EMA      *float64      `name:"ema" help:"Decay of the moving average of the weights, which is the model that comes out." placeholder:"X"`
	Seed     *uint64       `help:"Seed of weights, order, noise and mirroring. Default: 1." placeholder:"N"`
	Flip     *bool         `help:"Mirror every other raster."`
	Save     time.Duration `name:"save-every" help:"Time between checkpoints." default:"3m"`
	Threads  int           `help:"Worker threads. Default: all processors." placeholder:"N"`
	JSON     bool          `name:"json" help:"Print one JSON object on standard output; all else goes to standard error."`
}

type trainDiTCmd struct {
	trainRun
	Arch    string        `help:"Architecture of a new model: dit, or mdtv1 or mdtv2, a masked diffusion transformer. Default: dit." placeholder:"NAME"`
	Model   string        `help:"Fine-tune this checkpoint instead of beginning with new weights. With --arch mdtv1 or mdtv2 it is a DiT, and the new MDT begins as one that computes the same." placeholder:"PATH|NAME"`
	Key     string        `help:"Which of several sets of weights in the checkpoint to begin with, as for generate." placeholder:"KEY"`
	Width   *int          `help:"Width of a new model. Default: 128." placeholder:"N"`
	Depth   *int          `help:"Blocks of a new model. Default: 10." placeholder:"N"`
	Heads   *int          `help:"Attention heads. Default: one for each 32 of the width." placeholder:"N"`
	Decode  *int          `name:"decode-layers" help:"MDT: how many of the blocks, the last ones, are the decoder. Default: 2, or all of one; for mdtv2 4, of fewer than 8 blocks 2, and of an odd number one more or less." placeholder:"N"`
	Mask    *maskRatio    `name:"mask-ratio" help:"MDT: share of the tokens that masked passes hide, or a range of shares, drawn for each update. Default: 0.3, for mdtv2 0.3-0.5." placeholder:"X"`
	Patch   *int          `help:"Side of a patch. Default: 2." placeholder:"N"`
	Size    int           `help:"Side of the pictures. Default: the data's own." placeholder:"N"`
	Colours int           `name:"channels" help:"1 grey, 3 colour. Default: the data's own." placeholder:"N"`
	Fixed   bool          `name:"no-learn-sigma" help:"Do not learn the variance."`
	Dropout *float64      `name:"label-dropout" help:"Share of pictures shown without their class, for guidance. Default: 0.1." placeholder:"X"`
	MinSNR  *float64      `name:"min-snr" help:"Weight the loss by min(SNR,X)/SNR; 0: not at all, as DiT. Default: 0." placeholder:"X"`
	Sample  time.Duration `name:"sample-every" help:"Time between sample grids; 0: none." default:"15m"`
	CFG     float64       `name:"cfg" help:"Guidance scale of the sample grids." default:"1.5"`
}

func (c *trainDiTCmd) Help() string {
	return `Examples:
  tokencache train --data /usr/share/datasets/fashion-mnist --out runs/fashion
  tokencache train --out runs/fashion --resume
  tokencache generate --model runs/fashion/model.safetensors
  tokencache train --arch mdtv2 --width 128 --depth 10 --data /usr/share/datasets/fashion-mnist --out runs/masked

An MDT is trained with two passes over each picture, one of all tokens and one in which its encoder sees some of them; log.jsonl has the loss of the
first as loss, of the second as masked. An update computes about twice what a DiT's does.

The folder of the run holds model.safetensors (the averaged weights: a model like any other), state.safetensors (what the run resumes from), log.jsonl,
loss.png and samples.png. Ctrl-C saves and stops.`
}

// ditNote is what a run's state keeps of the command line.
type ditNote struct {
	Data    string                `json:"data"`
	Split   string                `json:"split"`
	Options train.DenoiserOptions `json:"options"`
}

func (c *trainDiTCmd) Run(a *app) error { return skippable(c.train(a), "--skip-broken") }

func (c *trainDiTCmd) train(a *app) error {
	note := ditNote{Data: c.Data, Split: c.Split, Options: train.DenoiserOptions{
		Seed: or(c.Seed, 1), Dropout: or(c.Dropout, 0.1), Flip: or(c.Flip, false), MinSNR: or(c.MinSNR, 0),
	}}
	settings := train.Settings{
		Batch: or(c.Batch, 64), Micro: or(c.Micro, 16), LR: or(c.LR, 8e-4), Warmup: or(c.Warmup, 200), Schedule: or(c.Schedule, "constant"),
		Decay: or(c.Decay, 0), Clip: or(c.Clip, 1), EMA: or(c.EMA, 0.999),
	}
	if c.Resume {
		if err := c.resumed(&settings, &note); err != nil {
			return err
		}
	} else if err := errors.Join(c.checkNew(), c.checkArch()); err != nil {
		return err
	}
	weights, err := c.open(a.ctx)
	if err != nil {
		return err
	}
	if weights != nil {
		defer weights.Close()
		if trainArchs[c.Arch] != dit.ArchDiT && weights.Arch != dit.ArchDiT {
			return fmt.Errorf("--arch %s: %s is an %s already, and keeps its own architecture: leave --arch out", c.Arch, c.Model, weights.Arch)
		}
		if weights.Assumed != "" {
			a.note("%s", weights.Assumed)
		}
		if c.Size == 0 {
			c.Size = weights.InputSize
		}
		if c.Colours == 0 {
			c.Colours = weights.InChannels
		}
	}
	set, err := c.openData(a, note.Data, data.Options{Split: note.Split, Size: c.Size, Channels: c.Colours})
	if err != nil {
		return err
	}
	defer set.Close()
	model, params, names, err := c.model(weights, set, note.Options.Seed)
	if err != nil {
		return err
	}
	if settings.Steps == 0 {
		settings.Steps = c.steps(set.Len(), settings.Batch, 10)
	}
	if !c.Resume {
		if note.Options.Mask, err = c.mask(model.Config, settings.Batch); err != nil {
			return err
		}
	}
	task, err := train.NewDenoiser(model, params, set, set.Labels, names, note.Options)
	if err != nil {
		return fmt.Errorf("%s: %w", note.Data, err)
	}
	text, err := json.Marshal(note)
	if err != nil {
		return err
	}
	a.note("training %s (%.2f million parameters) on %d pictures of %s: %d updates of %d, %.1f epochs",
		model.Name(), float64(model.Parameters())/1e6, set.Len(), note.Data, settings.Steps, settings.Batch, float64(settings.Steps)*float64(settings.Batch)/float64(set.Len()))
	sampler := &sampler{every: c.Sample, cfg: c.CFG, dir: c.Out, threads: c.Threads, config: model.Config}
	return c.run(a, task, settings, string(text), func() error { return sampler.draw(a) })
}

// resumed takes the settings of the run in --out, and refuses flags that would change them.
func (c *trainDiTCmd) resumed(s *train.Settings, n *ditNote) error {
	var refused []string
	for flag, given := range map[string]bool{
		"--model": c.Model != "", "--arch": c.Arch != "", "--decode-layers": c.Decode != nil, "--mask-ratio": c.Mask != nil, "--width": c.Width != nil, "--depth": c.Depth != nil, "--heads": c.Heads != nil, "--patch": c.Patch != nil,
		"--no-learn-sigma": c.Fixed, "--label-dropout": c.Dropout != nil, "--min-snr": c.MinSNR != nil,
	} {
		if given {
			refused = append(refused, flag)
		}
	}
	if err := c.trainRun.resumed(s, n, refused); err != nil {
		return err
	}
	if c.Data != "" {
		n.Data = c.Data
	}
	return nil
}

// open returns the model that training begins at, or nil for a new one.
func (c *trainDiTCmd) open(ctx context.Context) (*dit.Weights, error) {
	switch {
	case c.Resume:
		return dit.Open(filepath.Join(c.Out, train.ModelFile), dit.Options{})
	case c.Model != "":
		o := dit.Options{Key: c.Key, Heads: or(c.Heads, 0)}
		if c.Arch == "" {
			o.DecodeLayer = or(c.Decode, 0)
		}
		return models.ResolveWeights(ctx, c.Model, o)
	}
	return nil, nil
}

// model returns the model to be trained, its parameters and its classes' names.
func (c *trainDiTCmd) model(w *dit.Weights, set *data.Set, seed uint64) (*dit.Model, []*tensor.Param, []string, error) {
	if w != nil {
		names := w.ClassNames
		if names == nil && len(set.Classes) == w.NumClasses {
			names = set.Classes
		}
		if arch := trainArchs[c.Arch]; arch != dit.ArchDiT {
			m, params, err := c.extend(w, arch, seed)
			return m, params, names, err
		}
		m, params, err := w.Trainable()
		return m, params, names, err
	}
	width, depth := or(c.Width, 128), or(c.Depth, 10)
	config := dit.Config{
		Arch: trainArchs[c.Arch], InputSize: set.Size, PatchSize: or(c.Patch, 2), InChannels: set.Channels, Hidden: width, Depth: depth, DecodeLayer: c.decoder(depth),
		Heads: or(c.Heads, max(1, width/32)), MLPHidden: 4 * width, NumClasses: len(set.Classes), LearnSigma: !c.Fixed,
	}
	if config.NumClasses == 0 {
		return nil, nil, nil, fmt.Errorf("%s: the pictures have no classes", set.Path)
	}
	m, params, err := dit.NewTrainable(config, train.NewInit(config, seed), false)
	return m, params, set.Classes, err
}

// checkNew refuses to begin a run where there is one already.
func (c *trainRun) checkNew() error {
	if c.Data == "" {
		return errors.New("no data: give a folder of pictures with --data")
	}
	path := filepath.Join(c.Out, train.StateFile)
	if _, err := os.Stat(path); err == nil {
		return fmt.Errorf("%s is there already: continue that run with --resume, or give another --out", path)
	}
	return nil
}

// openData opens pictures, and says what of a folder is passed over.
func (c *trainRun) openData(a *app, path string, o data.Options) (*data.Set, error) {
	o.Skip, o.Warn = c.SkipBad, func(err error) { a.note("skipped: %v", err) }
	set, err := data.Open(a.ctx, path, o)
	if err == nil && len(set.PassedOver) > 0 {
		a.note("%s: passed over %s", path, set.PassedOver)
	}
	return set, err
}

// resumed takes the settings of the run in --out, and into note what its state keeps beside; flags that would change the run are
// refused, with those already found.
func (c *trainRun) resumed(s *train.Settings, note any, refused []string) error {
	p, err := train.ReadState(c.Out)
	if err != nil {
		return err
	}
	decoder := json.NewDecoder(strings.NewReader(p.Note))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(note); err != nil {
		return fmt.Errorf("%s: the state there is that of another kind of training: %w", c.Out, err)
	}
	if refused = append(refused, c.changed()...); len(refused) > 0 {
		slices.Sort(refused)
		return fmt.Errorf("--resume keeps the run's own settings: leave out %s", strings.Join(refused, ", "))
	}
	*s = p.Settings
	if c.Steps != nil {
		s.Steps = *c.Steps
	}
	if p.Step >= s.Steps {
		return fmt.Errorf("the run in %s has made all of its %d updates; to go on give more with --steps", c.Out, p.Step)
	}
	return nil
}

// changed lists the flags given that would change a run's settings.
func (c *trainRun) changed() []string {
	var list []string
	for flag, given := range map[string]bool{
		"--epochs": c.Epochs != nil, "--batch": c.Batch != nil, "--micro-batch": c.Micro != nil, "--lr": c.LR != nil, "--warmup": c.Warmup != nil,
		"--schedule": c.Schedule != nil, "--weight-decay": c.Decay != nil, "--clip": c.Clip != nil, "--ema": c.EMA != nil, "--seed": c.Seed != nil, "--flip": c.Flip != nil,
	} {
		if given {
			list = append(list, flag)
		}
	}
	return list
}

func (c *trainRun) steps(pictures, batch int, epochs float64) int {
	if c.Steps != nil {
		return *c.Steps
	}
	return int(or(c.Epochs, epochs) * float64(pictures) / float64(batch))
}

// trainReport is what --json prints.
type trainReport struct {
	train.StepStats
	Steps   int     `json:"steps"`
	Seconds float64 `json:"seconds"` // of this run of the program
	Images  float64 `json:"images_per_second"`
	GFLOPs  float64 `json:"gflops"`
	Model   string  `json:"model"`
}

// run trains, shows progress and keeps the curve of the loss.
func (c *trainRun) run(a *app, task train.Task, s train.Settings, note string, onSave func() error) error {
	pool := tensor.NewPool(c.Threads)
	defer pool.Close()
	l, err := train.NewLoop(task, tensor.NewGraph(pool), c.Out, s)
	if err != nil {
		return err
	}
	l.Every, l.Note = c.Save, note
	if c.Resume {
		if err := l.Resume(); err != nil {
			return err
		}
		a.note("resuming after update %d", l.Step())
	}
	line := newTrainLine(a, l.Step(), s.Steps)
	var last train.StepStats
	l.OnStep = func(r train.StepStats) {
		last = r
		line.step(r)
	}
	l.OnSave = func(train.StepStats) error {
		if err := lossCurve(c.Out); err != nil {
			return err
		}
		return onSave()
	}
	l.OnSaveError = func(err error) { line.note("not saved, the checkpoint before is kept: %v", err) }
	err = l.Run(a.ctx)
	line.finish()
	model := filepath.Join(c.Out, train.ModelFile)
	if err != nil {
		if errors.Is(err, context.Canceled) {
			a.note("stopped after update %d of %d, saved in %s; the same --out with --resume continues", l.Step(), s.Steps, c.Out)
		}
		if diverged := (*train.DivergedError)(nil); errors.As(err, &diverged) {
			return fmt.Errorf("%w. Lower the learning rate (--lr) or clip the gradient (--clip)", err)
		}
		return err
	}
	a.note("wrote %s", model)
	if c.JSON {
		images, flops := line.rates()
		return a.printJSON(trainReport{StepStats: last, Steps: s.Steps, Seconds: line.seconds(), Images: images, GFLOPs: flops, Model: model})
	}
	return nil
}

func lossCurve(dir string) error {
	reports, err := train.ReadLog(dir)
	if err != nil {
		return err
	}
	curve, masked := report.Curve{Name: "loss"}, report.Curve{Name: "loss of masked passes"}
	for _, r := range reports {
		curve.Steps, curve.Values = append(curve.Steps, r.Step), append(curve.Values, r.Measures["loss"])
		if v, ok := r.Measures["masked"]; ok {
			masked.Steps, masked.Values = append(masked.Steps, r.Step), append(masked.Values, v)
		}
	}
	path := filepath.Join(dir, "loss.png")
	if len(masked.Values) == 0 {
		return report.LossCurve(path, curve)
	}
	return report.LossCurve(path, curve, masked)
}

// sampler draws a grid with the averaged weights now and then: a row for each class.
type sampler struct {
	every   time.Duration
	last    time.Time
	cfg     float64
	dir     string
	threads int
	config  dit.Config
}

func (s *sampler) draw(a *app) error {
	if s.every == 0 || s.config.InChannels != 1 && s.config.InChannels != 3 || time.Since(s.last) < s.every || a.ctx.Err() != nil {
		return nil
	}
	const columns, mostRows = 8, 12
	p, err := tokencache.Open(filepath.Join(s.dir, train.ModelFile), tokencache.Options{Threads: s.threads})
	if err != nil {
		return err
	}
	defer p.Close()
	var chosen []int
	sheet := sheet.Layout{Columns: columns}
	for class := range min(s.config.NumClasses, mostRows) {
		for range columns {
			chosen = append(chosen, class)
		}
		if names := p.ClassNames(); names != nil {
			sheet.Rows = append(sheet.Rows, classes.Short(names[class]))
		}
	}
	r, err := p.Generate(a.ctx, tokencache.Request{Classes: chosen, Seed: 1, Batch: 8, Sampling: tokencache.Sampling{Steps: 25, Guidance: s.cfg}})
	if err != nil {
		return err
	}
	var pictures []*raster.Image
	for _, m := range r.Images {
		pictures = append(pictures, &raster.Image{Height: m.Height, Width: m.Width, Channels: m.Channels, Pix: m.Pixels})
	}
	grid, err := sheet.Render(pictures)
	if err != nil {
		return err
	}
	s.last = time.Now()
	return raster.WritePNG(filepath.Join(s.dir, "samples.png"), grid)
}
