package main

import (
	"encoding/json"
	"fmt"
	"path/filepath"

	"github.com/tokencache/tokencache/checkpoint"
	"github.com/tokencache/tokencache/data"
	"github.com/tokencache/tokencache/eval"
	"github.com/tokencache/tokencache/tensor"
	"github.com/tokencache/tokencache/train"
)

type trainClassifierCmd struct {
	trainRun
	Size      int      `help:"Side of the pictures. Default: the data's own." placeholder:"N"`
	Colours   int      `name:"channels" help:"1 grey, 3 colour. Default: the data's own." placeholder:"N"`
	Widths    []int    `help:"Channels at full, half and quarter size; the last is the number of features." default:"32,64,128"`
	Shift     *int     `help:"Move pictures at random by at most this many pixels. Default: 2." placeholder:"N"`
	Smoothing *float64 `name:"label-smoothing" help:"Share of probability that the target gives to all classes alike. Default: 0.1." placeholder:"X"`
}

func (c *trainClassifierCmd) Help() string {
	return `Example:
  tokencache train classifier --data /usr/share/datasets/fashion-mnist --out runs/classifier

The accuracy on the data's test part is printed at every checkpoint.`
}

// classifierNote is what a run's state keeps of the command line.
type classifierNote struct {
	Data    string                  `json:"data"`
	Split   string                  `json:"split"`
	Options train.ClassifierOptions `json:"classifier"`
}

func (c *trainClassifierCmd) Run(a *app) error { return skippable(c.train(a), "--skip-broken") }

func (c *trainClassifierCmd) train(a *app) error {
	note := classifierNote{Data: c.Data, Split: c.Split, Options: train.ClassifierOptions{
		Seed: or(c.Seed, 1), Shift: or(c.Shift, 2), Flip: or(c.Flip, true), Smoothing: or(c.Smoothing, 0.1),
	}}
	settings := train.Settings{
		Batch: or(c.Batch, 64), Micro: or(c.Micro, 16), LR: or(c.LR, 1e-3), Warmup: or(c.Warmup, 200), Schedule: or(c.Schedule, "cosine"),
		Decay: or(c.Decay, 0.01), Clip: or(c.Clip, 1), EMA: or(c.EMA, 0.999),
	}
	if len(c.Widths) != 3 || min(c.Widths[0], c.Widths[1], c.Widths[2]) < 1 {
		return fmt.Errorf("--widths %v: want three positive numbers", c.Widths)
	}
	config := eval.ClassifierConfig{Widths: [3]int(c.Widths)}
	if c.Resume {
		if err := c.resumed(&settings, &note, nil); err != nil {
			return err
		}
		if c.Data != "" {
			note.Data = c.Data
		}
		net, err := openClassifier(filepath.Join(c.Out, train.ModelFile))
		if err != nil {
			return err
		}
		config = net.ClassifierConfig
	} else if err := c.checkNew(); err != nil {
		return err
	}
	set, err := c.openData(a, note.Data, data.Options{Split: note.Split, Size: c.Size, Channels: c.Colours})
	if err != nil {
		return err
	}
	defer set.Close()
	if !c.Resume {
		config.Size, config.Channels, config.Names = set.Size, set.Channels, set.Classes
	}
	if settings.Steps == 0 {
		settings.Steps = c.steps(set.Len(), settings.Batch, 8)
	}
	task, err := train.NewClassifierTask(config, set, set.Labels, note.Options)
	if err != nil {
		return fmt.Errorf("%s: %w", note.Data, err)
	}
	text, err := json.Marshal(note)
	if err != nil {
		return err
	}
	test, err := c.openData(a, note.Data, data.Options{Split: "test", Size: set.Size, Channels: set.Channels})
	if err == nil && c.SkipBad {
		err = test.DropBroken()
	}
	if err != nil {
		a.note("no test pictures, so no test accuracy: %v", err)
		test = nil
	} else {
		defer test.Close()
	}
	a.note("training a classifier of %d classes on %d pictures of %s: %d updates of %d", len(config.Names), set.Len(), note.Data, settings.Steps, settings.Batch)
	return c.run(a, task, settings, string(text), func() error { return testAccuracy(a, filepath.Join(c.Out, train.ModelFile), test, c.Threads) })
}

// testAccuracy prints how many of the test pictures the classifier at path puts in their class.
func testAccuracy(a *app, path string, test *data.Set, threads int) error {
	if test == nil || a.ctx.Err() != nil {
		return nil
	}
	net, err := openClassifier(path)
	if err != nil {
		return err
	}
	pool := tensor.NewPool(threads)
	defer pool.Close()
	judged, err := net.Judge(tensor.NewGraph(pool), test.Len(), test.Read, nil)
	if err != nil {
		return err
	}
	right := 0
	for i, class := range judged.Classes {
		if class == test.Labels[i] {
			right++
		}
	}
	a.note("test accuracy %.2f %% of %d pictures", 100*float64(right)/float64(test.Len()), test.Len())
	return nil
}

// openClassifier reads the classifier at path.
func openClassifier(path string) (*eval.Classifier, error) {
	f, err := checkpoint.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return eval.OpenClassifier(f)
}
