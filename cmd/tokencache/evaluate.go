package main

import (
	"errors"
	"fmt"
	"math"
	"os"
	"slices"

	"github.com/tokencache/tokencache/data"
	"github.com/tokencache/tokencache/eval"
	"github.com/tokencache/tokencache/internal/output"
	"github.com/tokencache/tokencache/internal/picture"
	"github.com/tokencache/tokencache/models"
	"github.com/tokencache/tokencache/tensor"
)

type evaluateCmd struct {
	Samples        string `help:"Pictures to judge: an .npz or a folder as generate writes them, or a data set." placeholder:"PATH" required:""`
	Reference      string `help:"Real pictures to compare them with: a data set or an .npz." placeholder:"PATH" required:""`
	SamplesSplit   string `help:"Part of the samples, if they are a data set: train, test or all." enum:"train,test,all," default:""`
	ReferenceSplit string `help:"Part of the reference: train, test or all. Default: test where there are parts." enum:"train,test,all," default:""`
	Count          int    `help:"Judge at most so many of the samples: every k-th. Default: all." placeholder:"N"`
	Features       string `help:"Network that sees the features: the classifier of an embedded model (${models}), or the file of one made by train classifier." default:"${model}" placeholder:"NAME|PATH"`
	Neighbours     string `help:"Also write a sheet of some samples, each beside the reference pictures nearest to it in their pixels: copies would show. Give --reference-split train." placeholder:"FILE.png"`
	Threads        int    `help:"Worker threads. Default: all processors." placeholder:"N"`
	JSON           bool   `name:"json" help:"Print one JSON object on standard output."`
}

func (c *evaluateCmd) Help() string {
	return `Examples:
  tokencache generate --count 1000 --seed 1 --out samples.npz --labels
  tokencache evaluate --samples samples.npz --reference /usr/share/datasets/fashion-mnist

The Frechet distance is between what the network sees in the samples and in the reference (Heusel et al. 2017); it is comparable only for equal numbers of samples, as few
look farther away. The class agreement is the share of samples that the network puts in the class that was asked for.`
}

// evaluation is what --json prints.
type evaluation struct {
	N              int      `json:"n"`
	Frechet        float64  `json:"frechet"`
	ClassAgreement *float64 `json:"class_agreement,omitempty"` // nil if the samples have no classes

	ReferenceN int    `json:"reference_n"`
	Features   string `json:"features"`
	Width      int    `json:"feature_width"`

	NearestDistance float64 `json:"nearest_distance,omitempty"` // with --neighbours: of the shown samples to the nearest reference picture, root mean square of pixels in [-1,1], mean
}

func (c *evaluateCmd) Run(a *app) error {
	net, err := c.network()
	if err != nil {
		return err
	}
	options := data.Options{Size: net.Size, Channels: net.Channels, Split: c.SamplesSplit}
	samples, err := openSamples(c.Samples, options)
	if err != nil {
		return err
	}
	defer samples.Close()
	options.Split = c.ReferenceSplit
	if options.Split == "" {
		options.Split = "test"
	}
	reference, err := data.Open(c.Reference, options)
	if err != nil && c.ReferenceSplit == "" {
		options.Split = ""
		reference, err = data.Open(c.Reference, options)
	}
	if err != nil {
		return err
	}
	defer reference.Close()

	pool := tensor.NewPool(c.Threads)
	defer pool.Close()
	g := tensor.NewGraph(pool)
	g.SetContext(a.ctx)
	chosen := spread(len(samples.Labels), c.Count)
	bar := a.newProgress("judging")
	defer bar.finish()
	total := float64(len(chosen) + reference.Len())
	seen, err := net.Judge(g, len(chosen), func(i int, dst []float32) error { return samples.Read(chosen[i], dst) }, func(done int) { bar.set(float64(done), total) })
	if err != nil {
		return err
	}
	real, err := net.Judge(g, reference.Len(), reference.Read, func(done int) { bar.set(float64(len(chosen)+done), total) })
	if err != nil {
		return err
	}
	e := evaluation{N: len(chosen), ReferenceN: reference.Len(), Features: c.Features, Width: seen.Features.Cols}
	if e.Frechet, err = frechet(seen, real); err != nil {
		return err
	}
	if right, ok := agreement(seen.Classes, samples.Labels, chosen); ok {
		e.ClassAgreement = &right
	}
	if c.Neighbours != "" {
		if e.NearestDistance, err = neighbourSheet(c.Neighbours, samples, chosen, reference); err != nil {
			return err
		}
	}
	bar.finish()
	if e.N <= e.Width {
		a.note("%d samples for %d features: the distance is right, but says little; give more", e.N, e.Width)
	}
	if c.JSON {
		return a.printJSON(e)
	}
	fmt.Fprintf(a.stdout, "Frechet distance  %.4f  (%d samples, %d reference pictures, %d features of %s)\n", e.Frechet, e.N, e.ReferenceN, e.Width, e.Features)
	if e.ClassAgreement != nil {
		fmt.Fprintf(a.stdout, "class agreement   %.2f %%\n", 100**e.ClassAgreement)
	}
	if c.Neighbours != "" {
		fmt.Fprintf(a.stdout, "nearest reference %.3f away on average (pixels in [-1,1], root mean square); wrote %s\n", e.NearestDistance, c.Neighbours)
	}
	return nil
}

func (c *evaluateCmd) network() (*eval.Classifier, error) {
	if slices.Contains(models.Names(), c.Features) {
		return models.Classifier(c.Features)
	}
	return openClassifier(c.Features)
}

// labelled are pictures with their classes; -1 is none.
type labelled struct {
	Labels []int32
	Read   func(i int, dst []float32) error
	Close  func() error
}

// openSamples opens a folder that generate wrote, or any data set.
func openSamples(path string, o data.Options) (*labelled, error) {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		drawn, err := output.ReadFolder(path, o.Size, o.Channels)
		if err != nil {
			return nil, err
		}
		if drawn != nil {
			return &labelled{Labels: drawn.Classes, Read: drawn.Read, Close: func() error { return nil }}, nil
		}
	}
	set, err := data.Open(path, o)
	if err != nil {
		return nil, err
	}
	return &labelled{Labels: set.Labels, Read: set.Read, Close: set.Close}, nil
}

// spread returns count numbers below n, evenly spread, or all.
func spread(n, count int) []int {
	if count <= 0 || count > n {
		count = n
	}
	list := make([]int, count)
	for i := range list {
		list[i] = i * n / count
	}
	return list
}

func frechet(a, b *eval.Judged) (float64, error) {
	ma, mb := eval.NewMoments(a.Features.Cols), eval.NewMoments(b.Features.Cols)
	if err := errors.Join(ma.Add(a.Features.Flat()), mb.Add(b.Features.Flat())); err != nil {
		return 0, err
	}
	return eval.Frechet(ma, mb)
}

// agreement returns the share of the chosen samples that were put in their class, if they have classes.
func agreement(classes, labels []int32, chosen []int) (float64, bool) {
	right, known := 0, 0
	for i, at := range chosen {
		if labels[at] >= 0 {
			known++
			if labels[at] == classes[i] {
				right++
			}
		}
	}
	return float64(right) / math.Max(float64(known), 1), known > 0
}

// neighbourSheet writes some samples, evenly spread, each at the left of its nearest references, and returns the mean distance to the nearest.
func neighbourSheet(path string, samples *labelled, chosen []int, reference *data.Set) (float64, error) {
	const shown, count = 20, 5
	var pictures [][]float32
	size := reference.Channels * reference.Size * reference.Size
	for _, i := range spread(len(chosen), shown) {
		x := make([]float32, size)
		if err := samples.Read(chosen[i], x); err != nil {
			return 0, err
		}
		pictures = append(pictures, x)
	}
	nearest, err := eval.Nearest(pictures, reference.Len(), count, reference.Read)
	if err != nil {
		return 0, err
	}
	const pairs = 2 // samples in a row of the sheet
	sheet := picture.Sheet{Columns: pairs * (count + 1)}
	for range pairs {
		sheet.Heads = append(append(sheet.Heads, "drawn", "nearest"), make([]string, count-1)...)
	}
	var cells []*picture.Image
	mean := 0.0
	for s, list := range nearest {
		m, err := picture.FromSample(pictures[s], reference.Channels, reference.Size, reference.Size, picture.DiT)
		if err != nil {
			return 0, err
		}
		cells = append(cells, m)
		mean += list[0].Distance / float64(len(nearest))
		for _, n := range list {
			if m, err = reference.Picture(n.Index); err != nil {
				return 0, err
			}
			cells = append(cells, m)
		}
	}
	m, err := sheet.Draw(cells)
	if err != nil {
		return 0, err
	}
	return mean, picture.WritePNG(path, m)
}
