package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/tokencache/tokencache/data"
	"github.com/tokencache/tokencache/diffusion"
	"github.com/tokencache/tokencache/dit"
	"github.com/tokencache/tokencache/models"
	"github.com/tokencache/tokencache/train"
)

type trainCmd struct {
	DiT        trainDiTCmd        `cmd:"" name:"dit" default:"withargs" help:"Train a DiT or an MDT (the default)."`
	Text       trainTextCmd       `cmd:"" help:"Train a small text-to-image model on images with captions."`
	Classifier trainClassifierCmd `cmd:"" help:"Train a small classifier, whose features images are compared by."`
}

type trainDiTCmd struct {
	trainRun
	Arch      string        `settled:"" help:"Architecture of a new model: dit, or mdtv1 or mdtv2, a masked diffusion transformer. Default: dit." placeholder:"NAME"`
	Objective string        `settled:"" help:"What a model is trained for: diffusion, as DiT, or flow, as SiT, which --model may begin as a DiT. Default: diffusion." placeholder:"NAME"`
	Path      string        `settled:"" name:"path-type" help:"Path of a flow: Linear, GVP or VP. Default: Linear." placeholder:"NAME"`
	Predict   string        `settled:"" name:"prediction" help:"What a flow predicts: velocity, epsilon (noise), score or sample. Default: velocity." placeholder:"NAME"`
	Weight    *string       `settled:"" name:"loss-weight" help:"Weight of a flow's loss of noise or score: velocity or likelihood. Default: none." placeholder:"NAME"`
	Model     string        `short:"m" settled:"" help:"Fine-tune this checkpoint instead of starting from new weights. With --arch mdtv1 or mdtv2 it is a DiT, and the new MDT starts as one that computes the same." placeholder:"PATH|NAME"`
	Key       string        `help:"Which of several sets of weights in the checkpoint to start with, as for generate." placeholder:"KEY"`
	Width     *int          `settled:"" help:"Width of a new model. Default: 128." placeholder:"N"`
	Depth     *int          `settled:"" help:"Blocks of a new model. Default: 10." placeholder:"N"`
	Heads     *int          `settled:"" help:"Attention heads. Default: one for each 32 of the width." placeholder:"N"`
	Decode    *int          `settled:"" name:"decode-layers" help:"MDT: how many of the blocks, the last ones, are the decoder. Default: 2, or all of one; for mdtv2 4, of fewer than 8 blocks 2, and of an odd number one more or less." placeholder:"N"`
	Mask      *train.Shares `settled:"" name:"mask-ratio" help:"MDT: share of the tokens that masked passes hide, or a range of shares, chosen for each update. Default: 0.3, for mdtv2 0.3-0.5." placeholder:"X"`
	Patch     *int          `settled:"" help:"Side of a patch. Default: 2." placeholder:"N"`
	Size      int           `help:"Side of the images. Default: the data's own." placeholder:"N"`
	Colours   int           `name:"channels" help:"1 grey, 3 colour. Default: the data's own." placeholder:"N"`
	Fixed     bool          `settled:"" name:"no-learn-sigma" help:"Do not learn the variance. Default: it is learned, as DiT does."`
	Dropout   *float64      `settled:"" name:"label-dropout" help:"Share of images shown without their class, for guidance. Default: 0.1." placeholder:"X"`
	MinSNR    *float64      `settled:"" name:"min-snr" help:"Weight the loss by min(SNR,X)/SNR; 0: not at all, as DiT. Default: 0." placeholder:"X"`
	Sample    time.Duration `name:"sample-every" help:"Time between sample grids, such as 90s, 15m or 1h; 0: none." default:"15m"`
	CFG       float64       `name:"cfg" help:"Guidance scale of the sample grids." default:"1.5"`
}

func (c *trainDiTCmd) Help() string {
	return `Examples:
  tokencache train --data /usr/share/datasets/fashion-mnist --out runs/fashion
  tokencache train --out runs/fashion --resume
  tokencache generate --model runs/fashion/model.safetensors
  tokencache train --objective flow --data /usr/share/datasets/fashion-mnist --out runs/flow
  tokencache train --arch mdtv2 --width 128 --depth 10 --data /usr/share/datasets/fashion-mnist --out runs/masked

An MDT is trained with two passes over each image, one of all tokens and one in which its encoder sees some of them; log.jsonl has the loss of the
first as loss, of the second as masked. An update computes about twice what a DiT's does.

Ten epochs of Fashion-MNIST (60,000 images) take the default model some hours on two cores; the first line of progress says how long.

The folder of the run holds model.safetensors (the averaged weights: a model like any other), state.safetensors (what the run resumes from), log.jsonl,
loss.png and samples.png. Ctrl-C saves and stops.`
}

func (c *trainDiTCmd) Run(a *app) error {
	return c.claimed(a, func() error { return c.train(a) }, func() error {
		w, err := dit.OpenContext(a.ctx, filepath.Join(c.Out, train.ModelFile), dit.Options{})
		if err != nil {
			return err
		}
		return errors.Join(c.samples(w.Config)(a.ctx, true), w.Close())
	})
}

// samples returns what draws the sheet of samples of the run, of a model of configuration m.
func (c *trainDiTCmd) samples(m dit.Config) func(ctx context.Context, now bool) error {
	return train.SampleEvery(c.Sample, m, c.Out, filepath.Join(c.Out, sampleSheet),
		train.GridOptions{Guidance: c.CFG, Threads: c.Threads})
}

func (c *trainDiTCmd) train(a *app) error {
	note := train.DenoiserNote{Source: train.Source{Data: c.Data, Split: c.Split}, Options: train.DenoiserDefaults()}
	given(&note.Options.Seed, c.Seed)
	given(&note.Options.Dropout, c.Dropout)
	given(&note.Options.Flip, c.Flip)
	given(&note.Options.MinSNR, c.MinSNR)
	given(&note.Options.Weight, c.Weight)
	if !c.Resume {
		if err := c.checkArch(); err != nil {
			return err
		}
	}
	run, err := beginRun(&c.trainRun, c, train.Defaults(), note)
	if err != nil {
		return err
	}
	run.Note.Data = cmp.Or(c.Data, run.Note.Data)
	arch, _ := train.ArchOf(c.Arch, c.Objective)
	weights, err := c.weights(a, arch)
	if err != nil {
		return err
	}
	if weights != nil {
		defer weights.Close()
	}
	source := run.Note.Source
	options := data.Options{Split: source.Split, Size: c.Size, Channels: c.Colours}
	set, err := a.openData(source.Data, options, c.SkipBad)
	if err != nil {
		return err
	}
	defer set.Close()
	if err := keepSource(&run.Note.Source, set, nil); err != nil {
		return err
	}
	model, params, names, err := train.StartModel(weights, c.model(arch, run.Note.Options.Seed), set)
	if err != nil {
		return err
	}
	if !c.Resume {
		run.Settings.Steps = c.steps(run.Settings, set.Len(), train.DefaultEpochs)
		run.Note.Options.Mask = train.StartMask(model.Arch, c.Mask, run.Settings.Batch)
		if c.Mask != nil && model.Arch == dit.ArchDiT {
			return fmt.Errorf("--mask-ratio: %s is a DiT, and not trained with masked passes", c.Model)
		}
	}
	task, err := train.NewDenoiser(model, params, set, set.Labels, names, run.Note.Options)
	if err != nil {
		return fmt.Errorf("%s: %w", source.Data, err)
	}
	s := run.Settings
	a.note("training %s (%.2f million parameters) on %d images of %s: %d updates of %d, %.1f epochs",
		model.Name(), float64(model.Parameters())/1e6, set.Len(), source.Data, s.Steps, s.Batch,
		float64(s.Steps)*float64(s.Batch)/float64(set.Len()))
	samples := c.samples(model.Config)
	return finishRun(&c.trainRun, a, run, task, func(last bool) error { return samples(a.ctx, last) })
}

// checkArch refuses flags that do not go with the architecture of a new model, or with a given one.
func (c *trainDiTCmd) checkArch() error {
	arch, err := train.ArchOf(c.Arch, c.Objective)
	switch {
	case err != nil:
		return fmt.Errorf("--%w", err)
	case arch != dit.ArchSiT && (c.Path != "" || c.Predict != "" || c.Weight != nil):
		return errors.New("--path-type, --prediction and --loss-weight are for flows: give --objective flow")
	case c.Model != "" && c.Arch != "" && arch == dit.ArchDiT:
		return fmt.Errorf("--arch %s: a model that is given with --model keeps its own; "+
			"a DiT may become an mdtv1 or mdtv2", c.Arch)
	case c.Model == "" && (arch == dit.ArchDiT || arch == dit.ArchSiT) && (c.Decode != nil || c.Mask != nil):
		return errors.New("--decode-layers and --mask-ratio are for MDTs: give --arch mdtv1 or mdtv2")
	}
	return nil
}

// weights returns the weights that training starts from, or nil for a new model.
func (c *trainDiTCmd) weights(a *app, arch dit.Arch) (w *dit.Weights, err error) {
	switch {
	case c.Resume:
		w, err = dit.Open(filepath.Join(c.Out, train.ModelFile), dit.Options{})
	case c.Model != "":
		o := dit.Options{Key: c.Key, Heads: or(c.Heads, 0)}
		if c.Arch == "" {
			o.DecodeLayer = or(c.Decode, 0)
		}
		w, err = models.ResolveWeights(a.ctx, c.Model, o)
	}
	if w == nil || err != nil {
		return nil, err
	}
	if arch != dit.ArchDiT && w.Arch != dit.ArchDiT && (arch != dit.ArchSiT || w.Arch != dit.ArchSiT) {
		err := fmt.Errorf("--arch %s: %s is an %s already, and keeps its own architecture: leave --arch out",
			strings.ToLower(c.Arch), c.Model, w.Arch)
		return nil, errors.Join(err, w.Close())
	}
	if w.Assumed != "" {
		a.note("%s", w.Assumed)
	}
	c.Size, c.Colours = cmp.Or(c.Size, w.InputSize), cmp.Or(c.Colours, w.InChannels)
	return w, nil
}

// model returns what the flags say of a new model.
func (c *trainDiTCmd) model(arch dit.Arch, seed uint64) train.ModelOptions {
	return train.ModelOptions{
		Arch:          arch,
		Width:         or(c.Width, 0),
		Depth:         or(c.Depth, 0),
		Heads:         or(c.Heads, 0),
		Patch:         or(c.Patch, 0),
		Decoder:       or(c.Decode, 0),
		FixedVariance: c.Fixed,
		Path:          diffusion.Path(c.Path),
		Prediction:    diffusion.Prediction(c.Predict),
		Seed:          seed,
	}
}
