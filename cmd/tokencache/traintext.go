package main

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/tokencache/tokencache/data"
	"github.com/tokencache/tokencache/minit2i"
	"github.com/tokencache/tokencache/models"
	"github.com/tokencache/tokencache/train"
)

type trainTextCmd struct {
	trainRun
	Model      string        `short:"m" settled:"" help:"Fine-tune this text-to-image model, which reads text by itself, instead of starting from new weights. It keeps its vocabulary." placeholder:"PATH|NAME"`
	Size       int           `help:"Side of the images. Default: the data's own." placeholder:"N"`
	Width      *int          `settled:"" help:"Width of a new model. Default: 192." placeholder:"N"`
	Depth      *int          `settled:"" help:"Blocks of text and image. Default: 6." placeholder:"N"`
	Heads      *int          `settled:"" help:"Attention heads. Default: one for each 64 of the width." placeholder:"N"`
	Patch      *int          `settled:"" help:"Side of a patch. Default: 8." placeholder:"N"`
	TextDepth  *int          `settled:"" name:"text-depth" help:"Blocks of the text alone. Default: 2." placeholder:"N"`
	TextTokens *int          `settled:"" name:"text-tokens" help:"Tokens of every caption; longer ones are cut. Default: 16." placeholder:"N"`
	Vocabulary *int          `settled:"" help:"Words and characters that captions are made of, at most. Default: 4096." placeholder:"N"`
	Sample     time.Duration `name:"sample-every" help:"Time between sample grids, such as 90s, 15m or 1h; 0: none." default:"15m"`
	CFG        float64       `name:"cfg" help:"Guidance scale of the sample grids." default:"2.5"`
	TimeMean   *float64      `settled:"" name:"time-mean" help:"Times, 0 being noise and 1 the image, are the sigmoid of normal numbers of this mean. Default: -0.8." placeholder:"X"`
	TimeStd    *float64      `settled:"" name:"time-std" help:"Standard deviation of those numbers. Default: 0.8." placeholder:"X"`
	Dropout    *float64      `settled:"" name:"caption-dropout" help:"Share of images shown without their caption, for guidance. Default: 0.1." placeholder:"X"`
}

func (c *trainTextCmd) Help() string {
	return `Examples:
  tokencache train text --data emoji --steps 40000 --out runs/emoji
  tokencache train text --model emoji --data emoji --steps 10000 --lr 2e-4 --schedule cosine --out runs/more

--data is a folder of images with captions.jsonl, a line for each image:
  {"file": "noto/2764.png", "captions": ["a red heart", "red heart, noto style"], "mirror": true}
Of several captions one is chosen at random each time. With --flip, images whose line has "mirror" are mirrored at random.

The model has MiniT2I's design, with a vocabulary of the captions' words and an embedding of its own, so that it needs no text encoder. Its file has
everything in it: generate --model runs/emoji/model.safetensors "a red heart".`
}

func (c *trainTextCmd) Run(a *app) error {
	return c.claimed(a, func() error { return c.train(a) }, func() error { return nil })
}

func (c *trainTextCmd) train(a *app) error {
	note := train.TextNote{Source: train.Source{Data: c.Data, Split: c.Split}, Options: train.TextDefaults()}
	given(&note.Options.Seed, c.Seed)
	given(&note.Options.Dropout, c.Dropout)
	given(&note.Options.Flip, c.Flip)
	if c.TimeMean != nil || c.TimeStd != nil {
		note.Options.TimeMean, note.Options.TimeStd = or(c.TimeMean, -0.8), or(c.TimeStd, 0.8)
		if note.Options.TimeStd <= 0 {
			return fmt.Errorf("--time-std %g: want a positive number", note.Options.TimeStd)
		}
	}
	run, err := beginRun(&c.trainRun, c, train.TextSettings(), note)
	if err != nil {
		return err
	}
	run.Note.Data = cmp.Or(c.Data, run.Note.Data)
	source := run.Note.Source
	o := data.Options{Split: source.Split, Size: c.Size, Channels: 3, Skip: c.SkipBad}
	o.Warn = func(err error) { a.note("skipped: %v", err) }
	model, err := c.opened(a)
	if err != nil {
		return err
	}
	if model != nil {
		o.Size = model.ImageSize
	}
	set, captions, err := data.OpenCaptioned(a.ctx, source.Data, o)
	if err != nil {
		return err
	}
	defer set.Close()
	if err := keepSource(&run.Note.Source, set, captions); err != nil {
		return err
	}
	if model == nil {
		if model, err = train.NewTextModel(c.model(run.Note.Options.Seed), set.Size, captions); err != nil {
			return fmt.Errorf("%s: %w", source.Data, err)
		}
	}
	if !c.Resume {
		run.Settings.Steps = c.steps(run.Settings, set.Len(), train.DefaultEpochs)
	}
	task, err := train.NewText(model, set, captions, run.Note.Options)
	if err != nil {
		return fmt.Errorf("%s: %w", source.Data, err)
	}
	parameters := 0
	for _, p := range model.Params {
		parameters += len(p.Value)
	}
	s := run.Settings
	a.note("training a text-to-image model (%.2f million parameters, %d words and characters) on %d images of %s: "+
		"%d updates of %d, %.1f epochs", float64(parameters)/1e6, model.Vocabulary, set.Len(), source.Data,
		s.Steps, s.Batch, float64(s.Steps)*float64(s.Batch)/float64(set.Len()))
	samples := train.SampleTextEvery(c.Sample, c.Out, filepath.Join(c.Out, sampleSheet), promptsOf(captions),
		train.GridOptions{Guidance: c.CFG, Threads: c.Threads})
	return finishRun(&c.trainRun, a, run, task, func(last bool) error { return samples(a.ctx, last) })
}

// opened returns the model of the run that is resumed, or the one that is fine-tuned; nil: a new one
// is trained.
func (c *trainTextCmd) opened(a *app) (*train.TextModel, error) {
	var w *minit2i.Weights
	var err error
	switch shape := c.model(0); {
	case c.Resume:
		w, err = minit2i.Open(a.ctx, filepath.Join(c.Out, train.ModelFile), minit2i.Options{})
	case c.Model == "":
		return nil, nil
	case shape != train.TextModelOptions{} || c.Size != 0:
		return nil, fmt.Errorf("--model %s has a shape of its own: leave out --size, --width, --depth, --heads, "+
			"--patch, --text-depth, --text-tokens and --vocabulary", c.Model)
	default:
		w, err = models.ResolveTextWeights(a.ctx, c.Model, minit2i.Options{})
	}
	if err != nil {
		return nil, err
	}
	model, err := train.OpenTextModel(w)
	return model, errors.Join(err, w.Close())
}

// promptsOf returns a dozen captions, the first ones of images spread over all.
func promptsOf(captions []data.Captions) []string {
	const wanted = 12
	var list []string
	for i := range wanted {
		if text := captions[i*len(captions)/wanted].Texts[0]; !slices.Contains(list, text) {
			list = append(list, text)
		}
	}
	return list
}

// model returns what the flags say of a new model.
func (c *trainTextCmd) model(seed uint64) train.TextModelOptions {
	return train.TextModelOptions{
		Width:      or(c.Width, 0),
		Depth:      or(c.Depth, 0),
		Heads:      or(c.Heads, 0),
		Patch:      or(c.Patch, 0),
		TextDepth:  or(c.TextDepth, 0),
		TextTokens: or(c.TextTokens, 0),
		Vocabulary: or(c.Vocabulary, 0),
		Seed:       seed,
	}
}
