package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/tokencache/tokencache/cmd/tokencache/internal/jobsrun"
	"github.com/tokencache/tokencache/cmd/tokencache/internal/output"
	"github.com/tokencache/tokencache/comparison"
	"github.com/tokencache/tokencache/data"
	"github.com/tokencache/tokencache/eval"
	"github.com/tokencache/tokencache/internal/atomicfile"
	"github.com/tokencache/tokencache/models"
	"github.com/tokencache/tokencache/shard"
)

type evaluateCmd struct {
	Samples        string `once:"" help:"Images to evaluate: an .npz or a folder as generate writes them, a folder of the parts of a run, or a data set, also one of images with captions or its file of captions." placeholder:"PATH" required:""`
	Reference      string `once:"" help:"Real images to compare them with: a data set or an .npz; or an .npz of their statistics, as --statistics, pytorch-fid and the ADM evaluator write it, whose images, if it has them too, are used for precision and recall." placeholder:"PATH" required:""`
	SamplesSplit   string `help:"Part of the samples, if they are a data set: train, test or all." enum:"train,test,all," default:""`
	ReferenceSplit string `help:"Part of the reference: train, test or all. Default: test where there are parts." enum:"train,test,all," default:""`
	Count          *int   `short:"n" help:"Evaluate at most this number of samples: every k-th. Default: all." placeholder:"N"`
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
  tokencache generate --model fashion --count 1000 --seed 1 --out samples.npz --labels
  tokencache evaluate --samples samples.npz --reference /usr/share/datasets/fashion-mnist
  tokencache evaluate --samples samples.npz --reference VIRTUAL_imagenet256_labeled.npz --features pt_inception-2015-12-05-6726825d.pth

The Fréchet distance is between the network's features of the samples and of the reference (Heusel et al. 2017).
It is comparable only for equal numbers of samples: small sets have larger distances. The class agreement is the
share of samples that the network assigns to their class. Of samples with prompts, and a network that train classifier
made of images with captions, the prompt retrieval is the share whose most likely class has the prompt among its captions. In parentheses are bootstrap intervals of 95 % for other
samples of the same model. With Inception the distance is FID, and there are sFID, the inception score, and
precision and recall (of at most 10,000 images of either side), and it takes many times as long as with a classifier; progress says how long.`
}

func (c *evaluateCmd) Run(a *app) error { return skippable(c.run(a), "--skip-broken") }

func (c *evaluateCmd) run(a *app) error {
	if c.Count != nil && *c.Count < 1 {
		return fmt.Errorf("--count %d: want 1 or more", *c.Count)
	}
	for _, o := range []struct{ flag, path, ending string }{
		{"statistics", c.Statistics, ".npz"},
		{"neighbours", c.Neighbours, ".png"},
	} {
		if o.path != "" && filepath.Ext(o.path) != o.ending {
			return fmt.Errorf("--%s %s: want a name that ends in %s", o.flag, o.path, o.ending)
		}
	}
	outputs := []string{c.Statistics, c.Neighbours}
	if err := output.Apart(outputs, c.Samples, c.Reference, c.Features); err != nil {
		return err
	}
	for _, path := range outputs {
		if path == "" {
			continue
		}
		if err := atomicfile.Prepare(path); err != nil {
			return err
		}
	}
	s, err := c.open(a)
	if err != nil {
		return err
	}
	defer s.close()
	remote, err := a.far.Of(nil)
	if err != nil {
		return err
	}
	if remote != nil {
		f := s.features(c)
		if err := f.Predict(a.ctx, remote); err != nil {
			return err
		}
		s.samples, s.reference.Images = f.Samples, f.Reference
	}
	net, samples, reference := s.net, s.samples, s.reference
	bar := a.newProgress("evaluating")
	defer bar.Finish()
	e, err := eval.Evaluate(a.ctx, samples, reference, net.Network, eval.Options{
		Threads:    c.Threads,
		OnProgress: func(done, total int) { bar.Set(float64(done), float64(total)) },
	})
	if err != nil {
		return fmt.Errorf("%s against %s: %w", c.Samples, c.Reference, err)
	}
	e.Features = c.Features
	if c.Neighbours != "" {
		e.NearestDistance, err = output.Neighbours(a.ctx, c.Neighbours, samples, reference.Images)
		if err != nil {
			return fmt.Errorf("--neighbours: %w", err)
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
	if err := e.WriteText(a.stdout); err != nil {
		return err
	}
	if c.Neighbours != "" {
		fmt.Fprintf(a.stdout, "nearest reference %.3f away on average (pixels in [-1,1], root mean square); wrote %s\n",
			e.NearestDistance, c.Neighbours)
	}
	if c.Statistics != "" {
		fmt.Fprintf(a.stdout, "wrote %s\n", c.Statistics)
	}
	return nil
}

// evaluated is what is evaluated, open.
type evaluated struct {
	net       *models.Network
	samples   eval.Images
	reference eval.Reference
	close     func()
}

// open opens the network and the images.
func (c *evaluateCmd) open(a *app) (*evaluated, error) {
	net, err := models.ResolveNetwork(c.Features, models.NetworkOptions{Preprocess: c.Preprocess, Size: c.Size})
	if errors.Is(err, models.ErrClassifier) {
		return nil, fmt.Errorf("--preprocess and --size are for Inception: %w", err)
	}
	if err != nil {
		return nil, err
	}
	options := data.Options{
		Size:     net.Size,
		Channels: net.Channels,
		Skip:     c.SkipBad,
		Warn:     func(err error) { a.note("skipped: %v", err) },
	}
	samples, closeSamples, err := c.openSamples(a, options, net.Network.Identity())
	if err != nil {
		return nil, err
	}
	reference, closeReference, err := c.openReference(a, options)
	if err != nil {
		return nil, errors.Join(err, closeSamples())
	}
	return &evaluated{
		net:       net,
		samples:   samples.Spread(or(c.Count, 0)),
		reference: reference,
		close:     func() { _, _ = closeSamples(), closeReference() },
	}, nil
}

// features are what is evaluated, for workers.
func (s *evaluated) features(c *evaluateCmd) *jobsrun.Features {
	return &jobsrun.Features{Network: s.net.Network, Samples: s.samples, Reference: s.reference.Images, Threads: c.Threads}
}

// openReference opens the reference, images or the statistics of images, and returns what closes
// it.
func (c *evaluateCmd) openReference(a *app, o data.Options) (eval.Reference, func() error, error) {
	var r eval.Reference
	if eval.IsStatistics(c.Reference) {
		var err error
		if r.Statistics, err = eval.ReadStatistics(c.Reference); err != nil {
			return r, nil, err
		}
		if !eval.HasImages(c.Reference) {
			if c.Neighbours != "" {
				return r, nil, fmt.Errorf("--neighbours: %s has statistics and no images", c.Reference)
			}
			return r, func() error { return nil }, nil
		}
	}
	o.Split = c.ReferenceSplit
	set, err := comparison.OpenReference(a.ctx, c.Reference, o)
	if err != nil {
		return r, nil, orModel(c.Reference, err)
	}
	a.notePassedOver(c.Reference, set)
	r.Images = imagesOf(set)
	return r, set.Close, nil
}

// openSamples opens a folder that generate wrote, of images or of parts, or any data set, and returns
// what closes it. The network is what evaluates them.
func (c *evaluateCmd) openSamples(a *app, o data.Options, network string) (eval.Images, func() error, error) {
	if info, err := os.Stat(c.Samples); err == nil && info.IsDir() && !data.IsCaptioned(c.Samples) {
		folder, err := shard.Scan(c.Samples)
		if err != nil {
			return eval.Images{}, nil, err
		}
		if len(folder.Runs) > 0 {
			parts, err := folder.Choose("")
			if err != nil {
				return eval.Images{}, nil, fmt.Errorf("samples %s: %w", c.Samples, err)
			}
			return output.PartImages(parts, network)
		}
		s, err := output.ReadFolder(c.Samples)
		if err != nil || s != nil {
			return s.Evaluated(), func() error { return nil }, err
		}
	}
	o.Split = c.SamplesSplit
	set, err := comparison.OpenImages(a.ctx, c.Samples, o)
	if err != nil {
		return eval.Images{}, nil, err
	}
	a.notePassedOver(c.Samples, set)
	return imagesOf(set), set.Close, nil
}

// imagesOf are the images of a data set.
func imagesOf(set *data.Set) eval.Images { return comparison.ImagesOf(set) }
