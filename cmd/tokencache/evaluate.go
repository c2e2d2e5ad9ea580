package main

import (
	"context"
	"fmt"

	"github.com/tokencache/tokencache/cmd/tokencache/internal/output"
	"github.com/tokencache/tokencache/eval"
)

type evaluateCmd struct {
	Samples        string `help:"Images to evaluate: an .npz or a folder as generate writes them, or a data set." placeholder:"PATH" required:""`
	Reference      string `help:"Real images to compare them with: a data set or an .npz; or an .npz of their statistics, as --statistics, pytorch-fid and the ADM evaluator write it." placeholder:"PATH" required:""`
	SamplesSplit   string `help:"Part of the samples, if they are a data set: train, test or all." enum:"train,test,all," default:""`
	ReferenceSplit string `help:"Part of the reference: train, test or all. Default: test where there are parts." enum:"train,test,all," default:""`
	Count          int    `help:"Evaluate at most this number of samples: every k-th. Default: all." placeholder:"N"`
	Features       string `help:"Feature network: the classifier of an embedded model (${models}; embedded is that of ${model}), the file of one made by train classifier, or Inception-v3 in pytorch-fid's file pt_inception-2015-12-05." default:"${model}" placeholder:"NAME|PATH"`
	Preprocess     string `help:"How images are prepared for Inception: adm as the ADM evaluator does (the default), or pytorch-fid. Distances of the two must not be compared." enum:"adm,pytorch-fid," default:""`
	Size           int    `help:"With Inception: first crop all images to this number of pixels a side, as DiT prepares its training images." placeholder:"N"`
	Statistics     string `help:"Also write the reference's statistics, for --reference." placeholder:"FILE.npz"`
	Neighbours     string `help:"Also write a sheet of some samples, each next to the reference images nearest to it in their pixels: copies would show. Give --reference-split train." placeholder:"FILE.png"`
	SkipBad        bool   `name:"skip-broken" help:"Skip image files of a data set that cannot be read, naming them, instead of stopping."`
	Threads        int    `help:"Worker threads. Default: all processors." placeholder:"N"`
	JSON           bool   `name:"json" help:"Print one JSON object on standard output."`
}

func (c *evaluateCmd) Help() string {
	return `Examples:
  tokencache generate --count 1000 --seed 1 --out samples.npz --labels
  tokencache evaluate --samples samples.npz --reference /usr/share/datasets/fashion-mnist
  tokencache evaluate --samples samples.npz --reference VIRTUAL_imagenet256_labeled.npz --features pt_inception-2015-12-05-6726825d.pth

The Fréchet distance is between the network's features of the samples and of the reference (Heusel et al. 2017).
It is comparable only for equal numbers of samples: small sets have larger distances. The class agreement is the
share of samples that the network assigns to their class. In parentheses are bootstrap intervals of 95 % for other
samples of the same model. With Inception the distance is FID, and there are sFID, the inception score, and
precision and recall (of at most 10,000 images of either side).`
}

func (c *evaluateCmd) Run(a *app) error { return skippable(c.run(a), "--skip-broken") }

func (c *evaluateCmd) run(a *app) error {
	net, options, err := c.network()
	if err != nil {
		return err
	}
	options.Split = c.SamplesSplit
	samples, closeSamples, err := c.openSamples(a, options)
	if err != nil {
		return err
	}
	defer closeSamples()
	options.Split = c.ReferenceSplit
	reference, set, err := c.openReference(a, options)
	if err != nil {
		return err
	}
	if set != nil {
		defer set.Close()
	}
	samples = samples.Spread(c.Count)
	bar := a.newProgress("evaluating")
	defer bar.Finish()
	e, err := eval.Evaluate(a.ctx, samples, reference, net, eval.Options{
		Threads:    c.Threads,
		OnProgress: func(done, total int) { bar.Set(float64(done), float64(total)) },
	})
	if err != nil {
		return fmt.Errorf("%s against %s: %w", c.Samples, c.Reference, err)
	}
	e.Features = c.Features
	if c.Neighbours != "" {
		if e.NearestDistance, err = c.neighbours(a.ctx, samples, reference.Images); err != nil {
			return err
		}
	}
	if c.Statistics != "" {
		if err := eval.WriteStatistics(c.Statistics, e.Reference); err != nil {
			return err
		}
	}
	bar.Finish()
	if e.Reference.Network == "" {
		a.note("%s does not say which network its features are of, nor how images were prepared: "+
			"the distance means something only if it was this one", c.Reference)
	}
	for _, note := range e.Notes {
		a.note("%s", note)
	}
	if c.JSON {
		return a.printJSON(e)
	}
	c.print(a, e)
	return nil
}

func (c *evaluateCmd) print(a *app, e *eval.Evaluation) {
	line := func(name, format string, scale float64, v *eval.Estimate, behind string) {
		if v != nil {
			format = fmt.Sprintf("%%-17s %s (%s to %s)%%s\n", format, format, format)
			fmt.Fprintf(a.stdout, format, name, scale*v.Value, scale*v.Low, scale*v.High, behind)
		}
	}
	of := fmt.Sprintf("%d reference images", e.ReferenceN)
	if e.ReferenceN == 0 {
		of = "statistics of a reference"
	}
	behind := fmt.Sprintf("  (%d samples, %s, %d features of %s", e.N, of, e.Width, e.Features)
	if e.Preprocessing != "" {
		behind += ", prepared as by " + e.Preprocessing
	}
	line("Fréchet distance", "%.4f", 1, &e.Frechet, behind+")")
	line("sFID", "%.4f", 1, e.SpatialFrechet, "")
	line("inception score", "%.4f", 1, e.InceptionScore, "")
	line("precision", "%.4f", 1, e.Precision, "")
	line("recall", "%.4f", 1, e.Recall, "")
	line("class agreement", "%.2f %%", 100, e.Agreement, "")
	if c.Neighbours != "" {
		fmt.Fprintf(a.stdout, "nearest reference %.3f away on average (pixels in [-1,1], root mean square); wrote %s\n",
			e.NearestDistance, c.Neighbours)
	}
	if c.Statistics != "" {
		fmt.Fprintf(a.stdout, "wrote %s\n", c.Statistics)
	}
}

// neighbours writes the sheet of some samples next to their nearest references, and returns the
// mean distance to the nearest.
func (c *evaluateCmd) neighbours(ctx context.Context, samples, reference eval.Images) (float64, error) {
	const shown, count = 20, 5
	samples = samples.Spread(shown)
	nearest, err := eval.Nearest(ctx, samples, reference, count)
	if err != nil {
		return 0, fmt.Errorf("--neighbours: %w", err)
	}
	mean := 0.0
	for _, list := range nearest {
		mean += list[0].Distance / float64(len(nearest))
	}
	return mean, output.WriteNeighbours(c.Neighbours, samples, reference, nearest)
}
