package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/tokencache/tokencache/data"
	"github.com/tokencache/tokencache/dit"
	"github.com/tokencache/tokencache/train"
)

type trainCmd struct {
	DiT        trainDiTCmd        `cmd:"" name:"dit" default:"withargs" help:"Train a DiT or an MDT (the default)."`
	Classifier trainClassifierCmd `cmd:"" help:"Train a small classifier, whose features images are compared by."`
}

type trainDiTCmd struct {
	trainRun
	Arch    string        `settled:"" help:"Architecture of a new model: dit, or mdtv1 or mdtv2, a masked diffusion transformer. Default: dit." placeholder:"NAME"`
	Model   string        `settled:"" help:"Fine-tune this checkpoint instead of starting from new weights. With --arch mdtv1 or mdtv2 it is a DiT, and the new MDT starts as one that computes the same." placeholder:"PATH|NAME"`
	Key     string        `help:"Which of several sets of weights in the checkpoint to start with, as for generate." placeholder:"KEY"`
	Width   *int          `settled:"" help:"Width of a new model. Default: 128." placeholder:"N"`
	Depth   *int          `settled:"" help:"Blocks of a new model. Default: 10." placeholder:"N"`
	Heads   *int          `settled:"" help:"Attention heads. Default: one for each 32 of the width." placeholder:"N"`
	Decode  *int          `settled:"" name:"decode-layers" help:"MDT: how many of the blocks, the last ones, are the decoder. Default: 2, or all of one; for mdtv2 4, of fewer than 8 blocks 2, and of an odd number one more or less." placeholder:"N"`
	Mask    *train.Shares `settled:"" name:"mask-ratio" help:"MDT: share of the tokens that masked passes hide, or a range of shares, chosen for each update. Default: 0.3, for mdtv2 0.3-0.5." placeholder:"X"`
	Patch   *int          `settled:"" help:"Side of a patch. Default: 2." placeholder:"N"`
	Size    int           `help:"Side of the images. Default: the data's own." placeholder:"N"`
	Colours int           `name:"channels" help:"1 grey, 3 colour. Default: the data's own." placeholder:"N"`
	Fixed   bool          `settled:"" name:"no-learn-sigma" help:"Do not learn the variance."`
	Dropout *float64      `settled:"" name:"label-dropout" help:"Share of images shown without their class, for guidance. Default: 0.1." placeholder:"X"`
	MinSNR  *float64      `settled:"" name:"min-snr" help:"Weight the loss by min(SNR,X)/SNR; 0: not at all, as DiT. Default: 0." placeholder:"X"`
	Sample  time.Duration `name:"sample-every" help:"Time between sample grids; 0: none." default:"15m"`
	CFG     float64       `name:"cfg" help:"Guidance scale of the sample grids." default:"1.5"`
}

func (c *trainDiTCmd) Help() string {
	return `Examples:
  tokencache train --data /usr/share/datasets/fashion-mnist --out runs/fashion
  tokencache train --out runs/fashion --resume
  tokencache generate --model runs/fashion/model.safetensors
  tokencache train --arch mdtv2 --width 128 --depth 10 --data /usr/share/datasets/fashion-mnist --out runs/masked

An MDT is trained with two passes over each image, one of all tokens and one in which its encoder sees some of them; log.jsonl has the loss of the
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
	note := ditNote{Data: c.Data, Split: c.Split, Options: train.DenoiserDefaults()}
	given(&note.Options.Seed, c.Seed)
	given(&note.Options.Dropout, c.Dropout)
	given(&note.Options.Flip, c.Flip)
	given(&note.Options.MinSNR, c.MinSNR)
	settings := c.settings(train.Defaults())
	if c.Resume {
		if err := c.resumed(&settings, &note); err != nil {
			return err
		}
	} else if err := errors.Join(c.checkNew(), c.checkArch()); err != nil {
		return err
	}
	weights, err := c.open(a)
	if err != nil {
		return err
	}
	if weights != nil {
		defer weights.Close()
	}
	set, err := a.openData(note.Data, data.Options{Split: note.Split, Size: c.Size, Channels: c.Colours}, c.SkipBad)
	if err != nil {
		return err
	}
	defer set.Close()
	model, params, names, err := c.model(weights, set, note.Options.Seed)
	if err != nil {
		return err
	}
	c.setSteps(&settings, set.Len(), train.DefaultEpochs)
	if !c.Resume {
		if note.Options.Mask, err = c.mask(model.Config, settings.Batch); err != nil {
			return err
		}
	}
	task, err := train.NewDenoiser(model, params, set, set.Labels, names, note.Options)
	if err != nil {
		return fmt.Errorf("%s: %w", note.Data, err)
	}
	epochs := float64(settings.Steps) * float64(settings.Batch) / float64(set.Len())
	a.note("training %s (%.2f million parameters) on %d images of %s: %d updates of %d, %.1f epochs",
		model.Name(), float64(model.Parameters())/1e6, set.Len(), note.Data, settings.Steps, settings.Batch, epochs)
	return c.run(a, task, settings, note, c.sampler(a, model.Config))
}

// sampler returns what samples a grid of images now and then, at a checkpoint.
func (c *trainDiTCmd) sampler(a *app, config dit.Config) func() error {
	var last time.Time
	return func() error {
		pixels := config.InChannels == 1 || config.InChannels == 3
		if c.Sample == 0 || !pixels || time.Since(last) < c.Sample || a.ctx.Err() != nil {
			return nil
		}
		path := filepath.Join(c.Out, "samples.png")
		err := train.SampleGrid(a.ctx, c.Out, path, train.GridOptions{Guidance: c.CFG, Threads: c.Threads})
		last = time.Now()
		return err
	}
}

// resumed takes the settings of the run in --out.
func (c *trainDiTCmd) resumed(s *train.Settings, n *ditNote) error {
	if err := c.trainRun.resumed(s, n, settled(c)); err != nil {
		return err
	}
	if c.Data != "" {
		n.Data = c.Data
	}
	return nil
}
