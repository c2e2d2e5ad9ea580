package main

import (
	"cmp"
	"fmt"
	"path/filepath"

	"github.com/tokencache/tokencache/data"
	"github.com/tokencache/tokencache/eval"
	"github.com/tokencache/tokencache/train"
)

type trainClassifierCmd struct {
	trainRun
	Size      int      `help:"Side of the images. Default: the data's own." placeholder:"N"`
	Colours   int      `name:"channels" help:"1 grey, 3 colour. Default: the data's own." placeholder:"N"`
	Widths    []int    `settled:"" help:"Channels at full, half and quarter size; the last is the number of features. Default: 32,64,128." placeholder:"N,N,N"`
	Shift     *int     `settled:"" help:"Move images at random by at most this many pixels. Default: 2." placeholder:"N"`
	Smoothing *float64 `settled:"" name:"label-smoothing" help:"Share of probability that the target gives to all classes alike. Default: 0.1." placeholder:"X"`
}

func (c *trainClassifierCmd) Help() string {
	return `Example:
  tokencache train classifier --data /usr/share/datasets/fashion-mnist --out runs/classifier

The accuracy on the data's test part is printed at every checkpoint.`
}

func (c *trainClassifierCmd) Run(a *app) error {
	return c.claimed(a, func() error { return c.train(a) }, func() error { return nil })
}

func (c *trainClassifierCmd) train(a *app) error {
	note := train.ClassifierNote{
		Source:  train.Source{Data: c.Data, Split: c.Split},
		Options: train.ClassifierExamples(),
	}
	given(&note.Options.Seed, c.Seed)
	given(&note.Options.Shift, c.Shift)
	given(&note.Options.Flip, c.Flip)
	given(&note.Options.Smoothing, c.Smoothing)
	run, err := beginRun(&c.trainRun, c, train.ClassifierDefaults(), note)
	if err != nil {
		return err
	}
	if c.Widths == nil {
		c.Widths = []int{32, 64, 128}
	}
	if len(c.Widths) != 3 || min(c.Widths[0], c.Widths[1], c.Widths[2]) < 1 {
		return fmt.Errorf("--widths %v: want three positive numbers", c.Widths)
	}
	run.Note.Data = cmp.Or(c.Data, run.Note.Data)
	path := filepath.Join(c.Out, train.ModelFile)
	config := eval.ClassifierConfig{Widths: c.Widths}
	if c.Resume {
		net, err := eval.ReadClassifier(path)
		if err != nil {
			return err
		}
		config = net.ClassifierConfig
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
	if !c.Resume {
		config.Size, config.Channels, config.Names = set.Size, set.Channels, set.Classes
		run.Settings.Steps = c.steps(run.Settings, set.Len(), train.DefaultClassifierEpochs)
	}
	task, err := train.NewClassifierTask(config, set, set.Labels, run.Note.Options)
	if err != nil {
		return fmt.Errorf("%s: %w", source.Data, err)
	}
	options.Split, options.Size, options.Channels = "test", set.Size, set.Channels
	test, err := a.openData(source.Data, options, c.SkipBad)
	if err == nil && c.SkipBad {
		err = test.DropBroken()
	}
	if err != nil {
		a.note("no test images, so no test accuracy: %v", err)
		test = nil
	} else {
		defer test.Close()
	}
	a.note("training a classifier of %d classes on %d images of %s: %d updates of %d",
		len(config.Names), set.Len(), source.Data, run.Settings.Steps, run.Settings.Batch)
	return finishRun(&c.trainRun, a, run, task, func(bool) error { return testAccuracy(a, path, test, c.Threads) })
}

// testAccuracy prints the share of the test images that the classifier at path assigns to their
// class.
func testAccuracy(a *app, path string, test *data.Set, threads int) error {
	if test == nil || a.ctx.Err() != nil {
		return nil
	}
	net, err := eval.ReadClassifier(path)
	if err != nil {
		return err
	}
	share, err := net.Accuracy(a.ctx, imagesOf(test), threads)
	if err != nil {
		return err
	}
	a.note("test accuracy %.2f %% of %d images", 100*share, test.Len())
	return nil
}
