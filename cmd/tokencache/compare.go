package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/cmd/tokencache/internal/bench"
	"github.com/tokencache/tokencache/comparison"
	"github.com/tokencache/tokencache/models/bundle"
	"github.com/tokencache/tokencache/report"
)

type compareCmd struct {
	Model    string `help:"Model: a path, or the name of an embedded one: ${models}. Default: ${model}." placeholder:"PATH|NAME"`
	Key      string `help:"Which of several sets of weights in the checkpoint to take. Default: an average (ema), if there is one." placeholder:"KEY"`
	VAE      string `name:"vae" help:"The model's autoencoder, as for generate." placeholder:"PATH"`
	Policies string `help:"What to compare, separated by commas or, where parameters have commas, by spaces: names that stand for a method at all --speeds (${families}), all of them (all), or policies as for generate. steps=N is the uncached model with N steps. Default: all; with --quick those that need no fitting, without variants and controls." placeholder:"LIST"`
	Speeds   string `help:"Speeds of methods, times the uncached model." default:"1.5x,2x,3x,4x"`
	Count    int    `help:"Images of each cell." default:"256"`
	Quick    bool   `help:"32 images at 2x, of methods that need no fitting, without variants: a few minutes."`
	samplingFlags
	Seed      uint64 `help:"Seed of the noise, the same for all." default:"1"`
	Batch     int    `help:"Images denoised together." default:"4"`
	Timed     int    `help:"Images of a measurement of time." default:"4"`
	Repeat    int    `help:"Alternating runs of such a measurement; times are their medians." default:"3"`
	Retime    bool   `help:"Measure the time of finished cells again, for times that were taken while the machine was busy."`
	Reference string `help:"Real pictures, for Frechet distances: a data set or an .npz. Default: /usr/share/datasets/fashion-mnist, if it is there, for a model of such pictures." placeholder:"PATH"`
	Out       string `help:"Folder of the report, the results and the charts; finished cells are kept there and not measured again." placeholder:"DIR" required:""`
	Threads   int    `help:"Worker threads. Default: all processors." placeholder:"N"`
	JSON      bool   `name:"json" help:"Print the results as one JSON object on standard output."`
}

func (c *compareCmd) Help() string {
	return `Examples:
  tokencache compare --quick --out comparison
  tokencache compare --policies all --speeds 1.5x,2x,3x,4x --count 256 --out comparison
  tokencache compare --policies "tokencache fewer-steps taylorseer:n=3,order=1 policies/mine" --count 1000 --out comparison

Every cell draws the same images from the same noise. Its time is measured beside the uncached model's, in turn. Ctrl-C stops; the same command goes on, and a larger --count adds images.`
}

func (c *compareCmd) Run(a *app) error {
	if c.Quick {
		c.Count, c.Speeds, c.Timed, c.Repeat = 32, "2x", min(c.Timed, 2), min(c.Repeat, 2)
	}
	switch {
	case c.Policies == "" && c.Quick:
		c.Policies = strings.Join(comparison.Quick(), ",")
	case c.Policies == "":
		c.Policies = comparison.All
	}
	if c.Count < 2 || c.Timed < 1 || c.Repeat < 1 || c.Batch < 1 {
		return errors.New("--timed, --repeat and --batch: want 1 or more, and --count 2 or more")
	}
	var speeds []float64
	for _, text := range strings.FieldsFunc(c.Speeds, func(r rune) bool { return r == ',' || r == ' ' }) {
		speed, err := parseSpeed(text)
		if err != nil {
			return fmt.Errorf("--speeds: %w", err)
		}
		speeds = append(speeds, speed)
	}
	p, sampling, err := a.open(&c.Model, tokencache.Options{VAE: c.VAE, Threads: c.Threads, Key: c.Key}, &c.samplingFlags)
	if err != nil {
		return err
	}
	defer p.Close()
	o := comparison.Options{
		Dir: c.Out, Pipeline: p, Sampling: sampling, Seed: c.Seed, Batch: c.Batch,
		Policies: splitPolicies(c.Policies), Speeds: speeds, Count: c.Count, Timed: c.Timed, Repeat: c.Repeat, Retime: c.Retime,
		Open:    a.policy,
		OnStage: func(what string) { a.note("%s", what) },
	}
	o.Fit = (&fitter{a: a, p: p, model: c.Model, key: c.Key, dir: filepath.Join(c.Out, "policies"), measure: c.Timed, threads: c.Threads, o: o}).fit
	o.Shipped = func(speed float64) (string, error) {
		t, err := a.opened.bundle.Choose(o.Sampling, speed)
		if none := (*bundle.NoPolicyError)(nil); errors.As(err, &none) && none.Fastest == 0 {
			return "", nil
		}
		if err != nil {
			return "", err
		}
		return t.String(), nil
	}
	result := beginComparison(c.Model, o)
	if err := (judges{reference: c.Reference, threads: c.Threads}).look(a, p, &o, &result); err != nil {
		return err
	}
	bar := a.newProgress("comparing")
	defer bar.finish()
	o.OnProgress = bar.set
	r, err := comparison.Run(a.ctx, o)
	if err != nil {
		return err
	}
	bar.finish()
	result.Cells, result.Calibrations = r.Cells, r.Costs
	overlays, err := c.overlays(a, p, o, &result)
	if err != nil {
		return err
	}
	if err := result.Write(c.Out, sheetOf(r), overlays...); err != nil {
		return err
	}
	if c.JSON {
		return a.printJSON(result)
	}
	for _, cell := range r.Cells {
		fmt.Fprintln(a.stdout, describeCell(cell))
	}
	a.note("wrote %s, results.json, results.csv, sheet.png and the charts as .svg and .png beside it", filepath.Join(c.Out, report.PageFile))
	return nil
}

// beginComparison is a comparison with these options, before anything is measured.
func beginComparison(model string, o comparison.Options) report.Results {
	return report.Results{
		Model: model, Fingerprint: o.Pipeline.Fingerprint(), Sampler: o.Sampler, Steps: o.StepsText(), Guidance: o.Guidance, Seed: o.Seed, Count: o.Count, Batch: o.Batch,
		Threads: o.Pipeline.Threads(), Level: o.Pipeline.Level(), Processor: bench.Processor(), Date: time.Now().UTC().Format(time.DateOnly), Command: "tokencache " + strings.Join(os.Args[1:], " "),
	}
}

// splitPolicies divides a list at spaces or, if it has none, at commas that do not stand within a policy's parameters.
func splitPolicies(text string) []string {
	if fields := strings.Fields(text); len(fields) > 1 {
		return fields
	}
	var list []string
	for _, part := range strings.Split(strings.TrimSpace(text), ",") {
		parameter := strings.Contains(part, "=") && !strings.Contains(part, ":") && !strings.HasPrefix(part, "steps=")
		if n := len(list); n > 0 && parameter && strings.Contains(list[n-1], ":") {
			list[n-1] += "," + part
		} else {
			list = append(list, part)
		}
	}
	return list
}

func describeCell(c report.Cell) string {
	if c.Error != "" {
		return fmt.Sprintf("%-34s %gx: %s", c.Method, c.Wanted, c.Error)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%-34s %5.2fx by the clock, %5.2fx fewer FLOPs", c.Method, c.Speedup, float64(c.UncachedFLOPs)/float64(c.FLOPs))
	if c.PSNR != nil {
		fmt.Fprintf(&b, ", PSNR %.1f dB", c.PSNR.Value)
	}
	if c.Frechet != nil {
		fmt.Fprintf(&b, ", Frechet %.3f (%.3f to %.3f)", c.Frechet.Value, c.Frechet.Low, c.Frechet.High)
	}
	if c.FrechetRatio != nil {
		fmt.Fprintf(&b, ", %+.1f %% (%+.1f to %+.1f)", 100*(c.FrechetRatio.Value-1), 100*(c.FrechetRatio.Low-1), 100*(c.FrechetRatio.High-1))
	}
	if c.Agreement != nil {
		fmt.Fprintf(&b, ", %.1f %% of their class", 100*c.Agreement.Value)
	}
	return b.String() + "  " + c.Policy
}
