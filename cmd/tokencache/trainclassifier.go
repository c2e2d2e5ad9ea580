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
	Captions  []string `settled:"" help:"Files in the folder --data that say what its images show: the classifier then tells the things apart that they name. Repeat it for several. Default: captions.jsonl, where the folder has one." placeholder:"FILE"`
	Widths    []int    `settled:"" help:"Channels at full size, half, quarter and so on; the last is the number of features. Default: 32,64,128; of captioned images of 64 pixels 24,48,96,192,192." placeholder:"N,N,N"`
	Shift     *int     `settled:"" help:"Move images at random by at most this many pixels. Default: 2, of captioned images 5." placeholder:"N"`
	Smoothing *float64 `settled:"" name:"label-smoothing" help:"Share of probability that the target gives to all classes alike. Default: 0.1." placeholder:"X"`
}

func (c *trainClassifierCmd) Help() string {
	return `Examples:
  tokencache train classifier --data /usr/share/datasets/fashion-mnist --out runs/classifier
  tokencache train classifier --data emoji --captions captions.jsonl --captions heldout.jsonl --out runs/judge

The accuracy on the data's test part, if it has one, is printed at every checkpoint.

Of a folder with captions.jsonl, as train text takes it, the classes are the things that the images show: those of lines with one "thing" or, without
it, with one first caption, whatever its article and its style. The network knows their captions, and evaluate compares images with their prompts
by them. Since there may be only a few images of a thing, they are moved, scaled, turned, blurred, and changed in contrast and brightness at random,
and mirrored where their line has "mirror".`
}

func (c *trainClassifierCmd) Run(a *app) error {
	return c.claimed(a, func() error { return c.train(a) }, func() error { return nil })
}

func (c *trainClassifierCmd) train(a *app) error {
	note := train.ClassifierNote{
		Source:   train.Source{Data: c.Data, Split: c.Split},
		Captions: c.Captions,
		Options:  train.ClassifierExamples(),
	}
	if c.captioned(c.Data, c.Captions) {
		note.Options = train.CaptionedExamples()
	}
	given(&note.Options.Seed, c.Seed)
	given(&note.Options.Shift, c.Shift)
	given(&note.Options.Flip, c.Flip)
	given(&note.Options.Smoothing, c.Smoothing)
	run, err := beginRun(&c.trainRun, c, train.ClassifierDefaults(), note)
	if err != nil {
		return err
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
		c.Size, c.Colours = cmp.Or(c.Size, config.Size), cmp.Or(c.Colours, config.Channels)
	}
	set, classes, err := c.open(a, run.Note)
	if err != nil {
		return err
	}
	defer set.Close()
	if err := keepSource(&run.Note.Source, set, nil); err != nil {
		return err
	}
	captioned := classes.Captions != nil
	if !c.Resume {
		config.Size, config.Channels, config.Names, config.Captions = set.Size, set.Channels, set.Classes, classes.Captions
		if config.Widths == nil {
			config.Widths = train.ClassifierWidths(set.Size, captioned)
		}
		epochs := float64(train.DefaultClassifierEpochs)
		if captioned {
			epochs = train.DefaultCaptionedEpochs
		}
		run.Settings.Steps = c.steps(run.Settings, set.Len(), epochs)
	}
	task, err := train.NewClassifierTask(config, set, set.Labels, classes.Mirror, run.Note.Options)
	if err != nil {
		return fmt.Errorf("%s: %w", run.Note.Data, err)
	}
	var test *data.Set
	if !captioned {
		if test = c.openTest(a, run.Note.Data, set); test != nil {
			defer test.Close()
		}
	}
	a.note("training a classifier of %d classes on %d images of %s: %d updates of %d",
		len(config.Names), set.Len(), run.Note.Data, run.Settings.Steps, run.Settings.Batch)
	return finishRun(&c.trainRun, a, run, task, func(bool) error { return testAccuracy(a, path, test, c.Threads) })
}

// captioned reports whether the classes of the data are what captions name.
func (c *trainClassifierCmd) captioned(path string, files []string) bool {
	return len(files) > 0 || path != "" && data.IsCaptioned(path)
}

// open opens the training images, and the classes of captioned ones, which the set then has.
func (c *trainClassifierCmd) open(a *app, n train.ClassifierNote) (*data.Set, train.CaptionClasses, error) {
	var classes train.CaptionClasses
	o := data.Options{Split: n.Split, Size: c.Size, Channels: c.Colours}
	if !c.captioned(n.Data, n.Captions) {
		set, err := a.openData(n.Data, o, c.SkipBad)
		return set, classes, err
	}
	o.Skip, o.Warn = c.SkipBad, func(err error) { a.note("skipped: %v", err) }
	set, captions, err := data.OpenCaptioned(a.ctx, n.Data, o, n.Captions...)
	if err != nil {
		return nil, classes, err
	}
	classes = train.ClassesOf(captions)
	set.Classes, set.Labels = classes.Names, classes.Labels
	return set, classes, nil
}

// openTest opens the data's test part, prepared as the training images are; nil if there is none.
func (c *trainClassifierCmd) openTest(a *app, path string, like *data.Set) *data.Set {
	test, err := a.openData(path, data.Options{Split: "test", Size: like.Size, Channels: like.Channels}, c.SkipBad)
	if err == nil && c.SkipBad {
		err = test.DropBroken()
	}
	if err != nil {
		a.note("no test images, so no test accuracy: %v", err)
		return nil
	}
	return test
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
