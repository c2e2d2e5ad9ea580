package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/cmd/tokencache/internal/bench"
	"github.com/tokencache/tokencache/comparison"
	"github.com/tokencache/tokencache/dit"
	"github.com/tokencache/tokencache/models"
	"github.com/tokencache/tokencache/report"
)

// comparison opens a model for a comparison, and returns what closes it.
func (a *app) comparison(model *string, options tokencache.Options,
	f *samplingFlags) (o *comparison.Options, done func(), err error) {
	p, sampling, err := a.open(model, options, f)
	if err != nil {
		return nil, nil, err
	}
	o = &comparison.Options{
		Pipeline: p,
		Sampling: sampling,
		Open:     a.policy,
		Calibration: comparison.Calibration{
			Threads: options.Threads,
			Open: func() (*dit.Weights, error) {
				return models.ResolveWeights(a.ctx, *model, dit.Options{Key: options.Key, Heads: options.Heads})
			},
		},
		Model:     *model,
		VAE:       options.VAE,
		Command:   commandLine(),
		Processor: bench.Processor(),
		OnStage:   func(what string) { a.note("%s", what) },
	}
	return o, p.Close, nil
}

// fashionMNIST is where Debian's package has the data that the bundled models were trained on.
const fashionMNIST = "/usr/share/datasets/fashion-mnist"

// reference sets the network and the real images that a comparison evaluates images with, if there
// are any for the model. An empty path is that of Fashion-MNIST.
func (a *app) reference(o *comparison.Options, path string) error {
	net, err := models.Classifier(models.Default)
	if err != nil {
		return err
	}
	height, width, channels := o.Pipeline.ImageSize()
	if height != net.Size || width != net.Size || channels != net.Channels {
		return nil
	}
	o.Reference = comparison.NewReference(net, models.Default)
	if path == "" {
		if _, err := os.Stat(fashionMNIST); err != nil {
			a.note("no Fréchet distances: give real images with --reference")
			return nil
		}
		path = fashionMNIST
	}
	return o.Reference.Open(a.ctx, path, o.Count, o.Calibration.Threads, o.Seed)
}

// commandLine is the command line of the program.
func commandLine() string {
	return report.NewCommand(append([]string{"tokencache"}, os.Args[1:]...)...).String()
}

func describeCell(c *report.Cell) string {
	if c.Error != "" {
		return fmt.Sprintf("%-34s %gx: %s", c.Method, c.Wanted, c.Error)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%-34s %5.2fx wall-clock, %5.2fx fewer FLOPs", c.Method, c.Speedup, c.FLOPReduction())
	if c.PSNR != nil {
		fmt.Fprintf(&b, ", PSNR %.1f dB", c.PSNR.Value)
	}
	if e := c.Frechet; e != nil {
		fmt.Fprintf(&b, ", Fréchet %.3f (%.3f to %.3f)", e.Value, e.Low, e.High)
	}
	if e := c.FrechetRatio; e != nil {
		fmt.Fprintf(&b, ", %+.1f %% (%+.1f to %+.1f)", 100*(e.Value-1), 100*(e.Low-1), 100*(e.High-1))
	}
	if c.Agreement != nil {
		fmt.Fprintf(&b, ", %.1f %% of their class", 100*c.Agreement.Value)
	}
	return b.String() + "  " + c.Policy
}
