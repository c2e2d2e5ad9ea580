package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/tokencache/tokencache/cmd/tokencache/internal/output"
	"github.com/tokencache/tokencache/data"
	"github.com/tokencache/tokencache/eval"
	"github.com/tokencache/tokencache/internal/npz"
	"github.com/tokencache/tokencache/internal/raster"
	"github.com/tokencache/tokencache/internal/sheet"
	"github.com/tokencache/tokencache/tensor"
)

type evaluateCmd struct {
	Samples        string `help:"Pictures to judge: an .npz or a folder as generate writes them, or a data set." placeholder:"PATH" required:""`
	Reference      string `help:"Real pictures to compare them with: a data set or an .npz; or an .npz of their statistics, as --statistics, pytorch-fid and the ADM evaluator write it." placeholder:"PATH" required:""`
	SamplesSplit   string `help:"Part of the samples, if they are a data set: train, test or all." enum:"train,test,all," default:""`
	ReferenceSplit string `help:"Part of the reference: train, test or all. Default: test where there are parts." enum:"train,test,all," default:""`
	Count          int    `help:"Judge at most so many of the samples: every k-th. Default: all." placeholder:"N"`
	Features       string `help:"Network that sees the features: the classifier of an embedded model (${models}; embedded is that of ${model}), the file of one made by train classifier, or Inception-v3 in pytorch-fid's file pt_inception-2015-12-05." default:"${model}" placeholder:"NAME|PATH"`
	Preprocess     string `help:"How pictures are prepared for Inception: adm as the ADM evaluator does (the default), or pytorch-fid. Distances of the two must not be compared." enum:"adm,pytorch-fid," default:""`
	Size           int    `help:"With Inception: first crop all pictures to so many pixels a side, as DiT prepares its training images." placeholder:"N"`
	Statistics     string `help:"Also write the reference's statistics, for --reference." placeholder:"FILE.npz"`
	Neighbours     string `help:"Also write a sheet of some samples, each beside the reference pictures nearest to it in their pixels: copies would show. Give --reference-split train." placeholder:"FILE.png"`
	SkipBad        bool   `name:"skip-broken" help:"Skip picture files of a data set that cannot be read, naming them, instead of stopping."`
	Threads        int    `help:"Worker threads. Default: all processors." placeholder:"N"`
	JSON           bool   `name:"json" help:"Print one JSON object on standard output."`
}

func (c *evaluateCmd) Help() string {
	return `Examples:
  tokencache generate --count 1000 --seed 1 --out samples.npz --labels
  tokencache evaluate --samples samples.npz --reference /usr/share/datasets/fashion-mnist
  tokencache evaluate --samples samples.npz --reference VIRTUAL_imagenet256_labeled.npz --features pt_inception-2015-12-05-6726825d.pth

The Frechet distance is between what the network sees in the samples and in the reference (Heusel et al. 2017); it is comparable only for equal numbers of samples, as few
look farther away. The class agreement is the share of samples that the network puts in the class that was asked for. Behind them are intervals of 95 % for other samples of the same
model, by resampling. With Inception the distance is FID, and there are sFID, the inception score, and precision and recall (of at most 10,000 pictures of either side).`
}

// evaluation is what --json prints.
type evaluation struct {
	N                  int      `json:"n"`
	Frechet            float64  `json:"frechet"`
	FrechetLow         *float64 `json:"frechet_low,omitempty"`
	FrechetHigh        *float64 `json:"frechet_high,omitempty"`
	ClassAgreement     *float64 `json:"class_agreement,omitempty"` // nil if the samples have no classes, or the network others
	ClassAgreementLow  *float64 `json:"class_agreement_low,omitempty"`
	ClassAgreementHigh *float64 `json:"class_agreement_high,omitempty"`

	// With Inception.
	SpatialFrechet     *float64 `json:"sfid,omitempty"` // nil if the reference's statistics have no spatial features
	SpatialFrechetLow  *float64 `json:"sfid_low,omitempty"`
	SpatialFrechetHigh *float64 `json:"sfid_high,omitempty"`
	InceptionScore     *float64 `json:"inception_score,omitempty"`
	InceptionScoreLow  *float64 `json:"inception_score_low,omitempty"`
	InceptionScoreHigh *float64 `json:"inception_score_high,omitempty"`
	Precision          *float64 `json:"precision,omitempty"` // nil if the reference is statistics, or there are too few pictures
	PrecisionLow       *float64 `json:"precision_low,omitempty"`
	PrecisionHigh      *float64 `json:"precision_high,omitempty"`
	Recall             *float64 `json:"recall,omitempty"`
	RecallLow          *float64 `json:"recall_low,omitempty"`
	RecallHigh         *float64 `json:"recall_high,omitempty"`
	Preprocess         string   `json:"preprocess,omitempty"`

	ReferenceN int    `json:"reference_n"` // 0 if the reference's statistics do not say
	Features   string `json:"features"`
	Network    string `json:"network"`
	Width      int    `json:"feature_width"`

	NearestDistance float64 `json:"nearest_distance,omitempty"` // with --neighbours: of the shown samples to the nearest reference picture, root mean square of pixels in [-1,1], mean
}

func (c *evaluateCmd) Run(a *app) error { return skippable(c.run(a), "--skip-broken") }

func (c *evaluateCmd) run(a *app) error {
	net, err := c.network()
	if err != nil {
		return err
	}
	options := net.options()
	options.Split = c.SamplesSplit
	samples, err := c.openSamples(a, options)
	if err != nil {
		return err
	}
	defer samples.Close()
	options.Split = c.ReferenceSplit
	reference, known, err := c.openReference(a, options)
	if err != nil {
		return err
	}
	if reference != nil {
		defer reference.Close()
	} else if err := known.Comparable(&eval.Statistics{Network: net.Identity(), Pool: known.Pool}); err != nil {
		return fmt.Errorf("reference %s: %w", c.Reference, err) // before anything is computed
	}

	pool := tensor.NewPool(c.Threads)
	defer pool.Close()
	g := tensor.NewGraph(pool)
	g.SetContext(a.ctx)
	chosen := spread(len(samples.Labels), c.Count)
	bar := a.newProgress("judging")
	defer bar.finish()
	total := float64(len(chosen))
	var real *judgement
	if reference != nil {
		total += float64(reference.Len())
		if real, err = net.judge(g, labelledSet(reference), spread(reference.Len(), 0), func(done int) { bar.set(float64(done), total) }); err != nil {
			return fmt.Errorf("reference %s: %w", c.Reference, err)
		}
		known = &real.Statistics
	}
	before := total - float64(len(chosen))
	seen, err := net.judge(g, samples, chosen, func(done int) { bar.set(before+float64(done), total) })
	if err != nil {
		return fmt.Errorf("samples %s: %w", c.Samples, err)
	}
	e := &evaluation{N: len(chosen), ReferenceN: known.Pool.N, Features: c.Features, Network: net.Identity(), Width: len(seen.Pool.Mean)}
	if err := e.compare(seen, real, known); err != nil {
		return err
	}
	if err := e.agree(seen.Classes, samples.Labels, chosen); err != nil {
		return err
	}
	if c.Neighbours != "" {
		if e.NearestDistance, err = neighbourSheet(c.Neighbours, samples, chosen, reference); err != nil {
			return err
		}
	}
	if c.Statistics != "" {
		if err := eval.WriteStatistics(c.Statistics, known); err != nil {
			return err
		}
	}
	bar.finish()
	if known.Network == "" {
		a.note("%s does not say which network saw its features, nor how pictures were prepared: the distance means something only if it was this one", c.Reference)
	}
	for _, note := range []string{seen.Pool.Note("samples"), known.Pool.Note("reference pictures")} {
		if note != "" {
			a.note("%s", note)
		}
	}
	if c.JSON {
		return a.printJSON(e)
	}
	c.print(a, e)
	return nil
}

func (c *evaluateCmd) print(a *app, e *evaluation) {
	line := func(name, format string, v *float64, scale float64, low, high *float64, behind string) {
		if v == nil {
			return
		}
		text := fmt.Sprintf(format, scale**v)
		if low != nil && high != nil {
			text += fmt.Sprintf(" ("+format+" to "+format+")", scale**low, scale**high)
		}
		fmt.Fprintf(a.stdout, "%-17s %s%s\n", name, text, behind)
	}
	of := fmt.Sprintf("%d reference pictures", e.ReferenceN)
	if e.ReferenceN == 0 {
		of = "statistics of a reference"
	}
	behind := fmt.Sprintf("  (%d samples, %s, %d features of %s", e.N, of, e.Width, e.Features)
	if e.Preprocess != "" {
		behind += ", prepared as by " + e.Preprocess
	}
	line("Frechet distance", "%.4f", &e.Frechet, 1, e.FrechetLow, e.FrechetHigh, behind+")")
	line("sFID", "%.4f", e.SpatialFrechet, 1, e.SpatialFrechetLow, e.SpatialFrechetHigh, "")
	line("inception score", "%.4f", e.InceptionScore, 1, e.InceptionScoreLow, e.InceptionScoreHigh, "")
	line("precision", "%.4f", e.Precision, 1, e.PrecisionLow, e.PrecisionHigh, "")
	line("recall", "%.4f", e.Recall, 1, e.RecallLow, e.RecallHigh, "")
	line("class agreement", "%.2f %%", e.ClassAgreement, 100, e.ClassAgreementLow, e.ClassAgreementHigh, "")
	if c.Neighbours != "" {
		fmt.Fprintf(a.stdout, "nearest reference %.3f away on average (pixels in [-1,1], root mean square); wrote %s\n", e.NearestDistance, c.Neighbours)
	}
	if c.Statistics != "" {
		fmt.Fprintf(a.stdout, "wrote %s\n", c.Statistics)
	}
}

// resampleCost bounds the time of resampling a classifier's Frechet distance, pictures times the square of features; above it, and with Inception, the distance's first order is resampled.
const resampleCost = 2e9

// seedOfIntervals makes equal evaluations print equal intervals.
const seedOfIntervals = 1

// compare fills in what the samples' features are like beside the reference's. real is nil if the reference is statistics.
func (e *evaluation) compare(seen, real *judgement, known *eval.Statistics) error {
	if err := seen.Comparable(known); err != nil {
		return err
	}
	var err error
	if e.Frechet, err = seen.Pool.Frechet(&known.Pool); err != nil {
		return err
	}
	var in eval.Interval
	if seen.Probabilities == nil && float64(len(seen.Kept))*float64(e.Width) <= resampleCost {
		in, err = eval.BootstrapFrechet(seen.Kept, &known.Pool, eval.FrechetResamples, seedOfIntervals)
	} else {
		in, err = eval.FrechetInterval(&seen.Pool, &known.Pool, seen.Kept, seedOfIntervals)
	}
	if err != nil {
		return err
	}
	e.FrechetLow, e.FrechetHigh = &in.Low, &in.High
	if seen.Probabilities == nil {
		return nil
	}
	return e.inception(seen, real, known)
}

// inception fills in what only Inception's features tell.
func (e *evaluation) inception(seen, real *judgement, known *eval.Statistics) error {
	e.Preprocess = seen.Preprocess
	if seen.Spatial != nil && known.Spatial != nil {
		d, err := seen.Spatial.Frechet(known.Spatial)
		if err != nil {
			return fmt.Errorf("spatial features: %w", err)
		}
		in, err := eval.FrechetInterval(seen.Spatial, known.Spatial, seen.KeptSpatial, seedOfIntervals)
		if err != nil {
			return fmt.Errorf("spatial features: %w", err)
		}
		e.SpatialFrechet, e.SpatialFrechetLow, e.SpatialFrechetHigh = &d, &in.Low, &in.High
	}
	score, err := eval.InceptionScore(seen.Probabilities, eval.InceptionClasses, eval.InceptionScoreSplit)
	if err != nil {
		return err
	}
	in, err := eval.ScoreInterval(seen.Probabilities, eval.InceptionClasses, eval.InceptionScoreSplit, eval.ScoreResamples, seedOfIntervals)
	if err != nil {
		return err
	}
	e.InceptionScore, e.InceptionScoreLow, e.InceptionScoreHigh = &score, &in.Low, &in.High
	const k = eval.ManifoldNeighbours
	if real == nil || len(real.Kept) <= k*e.Width || len(seen.Kept) <= k*e.Width {
		return nil
	}
	good, found, err := eval.PrecisionRecall(real.Kept, seen.Kept, e.Width, k)
	if err != nil {
		return err
	}
	p, pin, err := eval.Share(good, seedOfIntervals)
	if err != nil {
		return err
	}
	r, rin, err := eval.Share(found, seedOfIntervals)
	e.Precision, e.PrecisionLow, e.PrecisionHigh = &p, &pin.Low, &pin.High
	e.Recall, e.RecallLow, e.RecallHigh = &r, &rin.Low, &rin.High
	return err
}

// agree fills in the share of the chosen samples that were put in their class, if they have classes.
func (e *evaluation) agree(classes, labels []int32, chosen []int) error {
	right := rightOnes(classes, labels, chosen)
	if len(right) == 0 {
		return nil
	}
	mean := 0.0
	for _, v := range right {
		mean += v / float64(len(right))
	}
	in, err := eval.BootstrapMean(right, eval.MeanResamples, seedOfIntervals)
	e.ClassAgreement, e.ClassAgreementLow, e.ClassAgreementHigh = &mean, &in.Low, &in.High
	return err
}

// rightOnes says of each of the chosen samples that have a class whether it was put there: 1 or 0. Classes are nil if the network does not know them.
func rightOnes(classes, labels []int32, chosen []int) []float64 {
	var right []float64
	for i := range classes {
		switch label := labels[chosen[i]]; {
		case label < 0:
		case label == classes[i]:
			right = append(right, 1)
		default:
			right = append(right, 0)
		}
	}
	return right
}

// openReference opens the reference: pictures, or the statistics of some.
func (c *evaluateCmd) openReference(a *app, o data.Options) (*data.Set, *eval.Statistics, error) {
	if archive, err := npz.Open(c.Reference); err == nil {
		is := eval.IsStatistics(archive)
		archive.Close()
		if is {
			if c.Neighbours != "" {
				return nil, nil, fmt.Errorf("--neighbours: %s has statistics and no pictures", c.Reference)
			}
			s, err := eval.ReadStatistics(c.Reference)
			return nil, s, err
		}
	}
	if o.Split == "" {
		o.Split = "test"
	}
	set, err := c.openData(a, c.Reference, o)
	if err != nil && c.ReferenceSplit == "" {
		o.Split = ""
		set, err = c.openData(a, c.Reference, o)
	}
	return set, nil, err
}

// labelled are pictures with their classes; -1 is none.
type labelled struct {
	Labels  []int32
	Read    func(i int, dst []float32) error
	Picture func(i int) (*raster.Image, error)
	Close   func() error
}

// openSamples opens a folder that generate wrote, or any data set.
func (c *evaluateCmd) openSamples(a *app, o data.Options) (*labelled, error) {
	if info, err := os.Stat(c.Samples); err == nil && info.IsDir() {
		drawn, err := output.ReadFolder(c.Samples, o.Size, o.Channels)
		if err != nil {
			return nil, err
		}
		if drawn != nil {
			return &labelled{Labels: drawn.Classes, Read: drawn.Read, Picture: drawn.Picture, Close: func() error { return nil }}, nil
		}
	}
	set, err := c.openData(a, c.Samples, o)
	if err != nil {
		return nil, err
	}
	return labelledSet(set), nil
}

// labelledSet are the pictures of a set.
func labelledSet(set *data.Set) *labelled {
	picture := func(i int) (*raster.Image, error) {
		m, err := set.Image(i)
		return (*raster.Image)(m), err
	}
	return &labelled{Labels: set.Labels, Read: set.Read, Picture: picture, Close: set.Close}
}

// openData opens a data set, without its broken files if they are to be skipped.
func (c *evaluateCmd) openData(a *app, path string, o data.Options) (*data.Set, error) {
	o.Skip, o.Warn = c.SkipBad, func(err error) { a.note("skipped: %v", err) }
	set, err := data.Open(a.ctx, path, o)
	if err != nil {
		return nil, err
	}
	if len(set.PassedOver) > 0 {
		a.note("%s: passed over %s", path, set.PassedOver)
	}
	if c.SkipBad {
		if err := set.DropBroken(); err != nil {
			return nil, errors.Join(err, set.Close())
		}
	}
	return set, nil
}

// spread returns count numbers below n, evenly spread, or all. Their remainders differ too, so that of samples that cycle through the classes no class is left out.
func spread(n, count int) []int {
	if count <= 0 || count > n {
		count = n
	}
	list := make([]int, count)
	for i := range list {
		list[i] = i*n/count + i%(n/count)
	}
	return list
}

// neighbourSheet writes some samples, evenly spread, each at the left of its nearest references, and returns the mean distance to the nearest.
func neighbourSheet(path string, samples *labelled, chosen []int, reference *data.Set) (float64, error) {
	const shown, count = 20, 5
	var pictures [][]float32
	for _, i := range spread(len(chosen), shown) {
		m, err := samples.Picture(chosen[i])
		if err != nil {
			return 0, err
		}
		if m.Height != reference.Size || m.Width != reference.Size || m.Channels != reference.Channels {
			return 0, fmt.Errorf("--neighbours: sample %d has %d x %d pixels and %d channels, the reference %d x %d and %d: want equal pictures",
				chosen[i], m.Height, m.Width, m.Channels, reference.Size, reference.Size, reference.Channels)
		}
		pictures = append(pictures, m.Sample())
	}
	nearest, err := eval.Nearest(pictures, reference.Len(), count, reference.Read)
	if err != nil {
		return 0, err
	}
	const pairs = 2 // samples in a row of the sheet
	sheet := sheet.Layout{Columns: pairs * (count + 1)}
	for range pairs {
		sheet.Heads = append(append(sheet.Heads, "drawn", "nearest"), make([]string, count-1)...)
	}
	var cells []*raster.Image
	mean := 0.0
	for s, list := range nearest {
		m, err := raster.FromSample(pictures[s], reference.Channels, reference.Size, reference.Size)
		if err != nil {
			return 0, err
		}
		cells = append(cells, m)
		mean += list[0].Distance / float64(len(nearest))
		for _, n := range list {
			m, err := reference.Image(n.Index)
			if err != nil {
				return 0, err
			}
			cells = append(cells, (*raster.Image)(m))
		}
	}
	m, err := sheet.Render(cells)
	if err != nil {
		return 0, err
	}
	return mean, raster.WritePNG(path, m)
}
