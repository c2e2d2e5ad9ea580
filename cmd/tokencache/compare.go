package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/cmd/tokencache/internal/bench"
	"github.com/tokencache/tokencache/cmd/tokencache/internal/effect"
	"github.com/tokencache/tokencache/cmd/tokencache/internal/output"
	"github.com/tokencache/tokencache/comparison"
	"github.com/tokencache/tokencache/models"
	"github.com/tokencache/tokencache/report"
)

type compareCmd struct {
	Model    string `short:"m" once:"" help:"Model: a path, or the name of a bundled one: ${models}. Default: ${model}." placeholder:"PATH|NAME"`
	Key      string `help:"Which of several sets of weights in the checkpoint to take. Default: an average (ema), if there is one." placeholder:"KEY"`
	VAE      string `name:"vae" help:"The model's autoencoder, as for generate." placeholder:"PATH"`
	Policies string `help:"What to compare, separated by commas or, where parameters have commas, by spaces: names of methods, which are run at all --speeds (${families}), all of them (all), or policies as for generate. fewer-steps stands for the solvers without a cache (own-steps, dpm++, unipc3), of which the best is the baseline; steps=N is the uncached model with N steps, steps=unipc3:logsnr19 with another sampler. Default: all; with --quick those that need no calibration, without variants and controls." placeholder:"LIST"`
	Speeds   string `help:"Speeds of methods, times the uncached model." default:"1.5x,2x,3x,4x"`
	Count    int    `short:"n" help:"Images of each policy." default:"256"`
	MinPSNR  string `name:"min-psnr" help:"Instead of comparing policies: generate --count unseen images with what generate --min-psnr takes for each of these PSNRs (or with the one policy in --policies), and report how many keep it, with the 95 % interval, and what is left of the speed-up. --reference says what the PSNR is to: uncached, converged or uncached,converged. What is sampled is kept in --out." placeholder:"DB,..."`
	Quick    bool   `help:"Without --policies of methods that need no calibration, without variants, and where no flag says otherwise 32 images at 2x: a few minutes."`
	samplingFlags
	subjectFlags
	Seed       uint64    `short:"s" help:"Seed of the noise, the same for all, and not that of calibrations." default:"${compareSeed}"`
	Batch      int       `help:"Images denoised together." default:"4"`
	Timed      int       `help:"Images of a measurement of time." default:"4"`
	Repeat     int       `help:"Alternating runs of such a measurement; times are their medians." default:"3"`
	Axes       bool      `help:"Cross what is computed (uniform interval, planned, threshold-driven, tokens) with what the rest gets (held, forecasts of several kinds) at --speeds, instead of --policies."`
	ReportOnly bool      `help:"Make the report of what is finished in --out, and measure nothing: results with fewer than --count images are left out."`
	Retime     bool      `help:"Measure the time of finished results again, for times that were taken while the machine was busy."`
	Reference  string    `once:"" help:"Real images, for Fréchet distances: a data set or an .npz. Default: /usr/share/datasets/fashion-mnist, if it is there, for a model of such images." placeholder:"PATH"`
	Out        string    `short:"o" once:"" help:"Folder of the report, the results and the charts; what is finished is kept there and not measured again." placeholder:"DIR" required:""`
	DType      dtypeName `name:"dtype" help:"Number format of the network's blocks: f32, bf16 or int8, the last two faster and less exact; auto is f32." enum:"auto,f32,bf16,int8" default:"auto"`
	CacheDType dtypeName `name:"cache-dtype" help:"Number format of what policies forecast from: f32, or bf16 for half of the memory." enum:"f32,bf16" default:"f32"`
	DTypes     string    `name:"dtypes" help:"Cross the policies with these number formats, such as f32,bf16,int8: every policy, and the model without one, in each of them, all against the uncached model in f32. Default: --dtype alone." placeholder:"LIST"`
	Threads    int       `help:"Worker threads. Default: all processors." placeholder:"N"`
	JSON       bool      `name:"json" help:"Print the results as one JSON object on standard output."`

	given effect.Given `kong:"-"`
}

// AfterApply notes which flags there are.
func (c *compareCmd) AfterApply(k *kong.Context) error {
	c.given = effect.Of(k)
	return nil
}

func (c *compareCmd) Help() string {
	return `Examples:
  tokencache compare --quick --out comparison
  tokencache compare --policies all --speeds 1.5x,2x,3x,4x --count 256 --out comparison
  tokencache compare --axes --speeds 2x,3x --count 64 --out axes
  tokencache compare --dtypes f32,bf16,int8 --policies learned-residual,tokencache --speeds 1x,2x,3x,5x --out precision
  tokencache compare --count 64 --out comparison --report-only
  tokencache compare --min-psnr 40,45 --count 1000 --out coverage
  tokencache compare --policies "tokencache fewer-steps taylorseer:n=3,order=1 policies/mine" --count 1000 --out comparison

On two cores and for fashion, all methods at four speeds with 256 images take three
hours, --quick three minutes.

Every policy generates the same images from the same noise. Its time is measured against the uncached model's,
alternating; the command says beforehand about how long it takes. A policy that fails is told in the report, and makes
the exit status 1 after all others. Times taken while the machine was busy are marked: --retime measures them again.
Ctrl-C stops; the same command resumes, and a larger --count adds images.`
}

func (c *compareCmd) Run(a *app) error {
	if err := c.checkEffect(); err != nil {
		return err
	}
	if c.MinPSNR != "" {
		return c.coverage(a)
	}
	if _, err := c.check(); err != nil { // before a folder is made
		return err
	}
	claim, err := output.ClaimFolder(c.Out, compareFiles, []string{"cells", "overlays", keptFolder})
	if err != nil {
		return err
	}
	defer claim.Release()
	formats, err := c.formats()
	if err != nil {
		return err
	}
	o, done, err := c.options(a)
	if err != nil {
		return err
	}
	defer done()
	closeFormats, err := a.formats(o, formats)
	if err != nil {
		return err
	}
	defer closeFormats()
	if !c.ReportOnly {
		if err := comparison.Check(*o); err != nil {
			return err
		}
	}
	remote, err := a.far.Of(o.Pipeline)
	if err != nil {
		return err
	}
	if remote != nil && len(formats) > 0 {
		return errors.New("--dtypes: workers make the images of one number format alone")
	}
	o.Remote = comparison.Remote(remote)
	if err := a.reference(o, c.Reference); err != nil {
		return err
	}
	a.printRemarks()
	bar := a.newProgress("comparing")
	defer bar.Finish()
	o.OnProgress = bar.Set
	work := comparison.Run
	if c.ReportOnly {
		work = comparison.Finished
	}
	r, err := work(a.ctx, *o)
	if err != nil {
		return err
	}
	bar.Finish()
	return c.report(a, r, o)
}

// check completes the flags, reports those that make no sense, and returns the speeds.
func (c *compareCmd) check() (speeds []float64, err error) {
	if c.Quick {
		c.quicken()
	}
	switch {
	case c.Policies == "" && c.Quick:
		c.Policies = strings.Join(comparison.Quick(), ",")
	case c.Policies == "":
		c.Policies = comparison.All
	}
	if c.Count < 2 || c.Timed < 1 || c.Repeat < 1 || c.Batch < 1 {
		return nil, errors.New("--timed, --repeat and --batch: want 1 or more, and --count 2 or more")
	}
	return parseSpeeds(c.Speeds)
}

// quicken sets what --quick is short for, where no flag says otherwise.
func (c *compareCmd) quicken() {
	if !c.given["speeds"] {
		c.Speeds = "2x"
	}
	for _, of := range []struct {
		flag  string
		value *int
		quick int
	}{{"count", &c.Count, 32}, {"timed", &c.Timed, 2}, {"repeat", &c.Repeat, 2}} {
		if !c.given[of.flag] {
			*of.value = of.quick
		}
	}
}

// checkEffect reports flags that have no effect in the run that they ask for.
func (c *compareCmd) checkEffect() error {
	return effect.Compare{
		MinPSNR:    c.MinPSNR != "",
		Axes:       c.Axes,
		ReportOnly: c.ReportOnly,
		Methods:    c.Policies == "" || slices.ContainsFunc(comparison.SplitPolicies(c.Policies), comparison.IsMethod),
	}.Check(c.given)
}

// options opens the model and returns what is to be compared, and what closes it.
func (c *compareCmd) options(a *app) (o *comparison.Options, done func(), err error) {
	speeds, err := c.check()
	if err != nil {
		return nil, nil, err
	}
	o, done, err = a.comparison(&c.Model, tokencache.Options{
		VAE:        c.VAE,
		Key:        c.Key,
		Threads:    c.Threads,
		DType:      c.DType.dtype(),
		CacheDType: c.CacheDType.dtype(),
	}, &c.samplingFlags, &c.subjectFlags)
	if err != nil {
		return nil, nil, err
	}
	o.Dir = c.Out
	o.Policies, o.Speeds = comparison.SplitPolicies(c.Policies), speeds
	o.Seed = c.Seed
	o.Batch = c.Batch
	o.Count = c.Count
	o.Timed, o.Repeat, o.Retime, o.Axes = c.Timed, c.Repeat, c.Retime, c.Axes
	return o, done, nil
}

// report writes the report and prints the results. It fails if a policy failed.
func (c *compareCmd) report(a *app, r *comparison.Result, o *comparison.Options) error {
	var overlays []report.Image
	if !c.ReportOnly { // they are generated
		var err error
		if overlays, err = r.Overlays(a.ctx, *o); err != nil {
			return err
		}
	}
	if err := r.Write(c.Out, r.Sheet(), overlays...); err != nil {
		return err
	}
	if err := c.print(a, r); err != nil {
		return err
	}
	if failed := r.Failed(); len(failed) > 0 {
		return fmt.Errorf("%d of %d settings failed, the first: %s %s: %s",
			len(failed), len(r.Cells), failed[0].Name(), failed[0].Policy, failed[0].Error)
	}
	return nil
}

// print prints the results: as JSON, or a line for each and the tables.
func (c *compareCmd) print(a *app, r *comparison.Result) error {
	if c.JSON {
		return a.printJSON(&r.Results)
	}
	for i := range r.Cells {
		fmt.Fprintln(a.stdout, r.Cells[i].Summary())
	}
	fmt.Fprintln(a.stdout)
	if err := r.WriteTables(a.stdout); err != nil {
		return err
	}
	a.note("wrote %s, with results.json, results.csv, tables.md, sheet.png and the charts as .svg and .png",
		filepath.Join(c.Out, report.PageFile))
	return nil
}

// compareFiles are the files of a comparison's folder, apart from those of its cells.
var compareFiles = []string{
	report.PageFile, report.ResultsFile, report.TablesFile, coverageFile, "results.csv", "counted.json", "sheet.png",
	"frontier-psnr.png", "frontier-converged.png", "frontier-frechet.png", "step-time.png", "memory.png",
	"frontier-psnr.svg", "frontier-converged.svg", "frontier-frechet.svg", "step-time.svg", "memory.svg",
	"pareto.png", "pareto.svg", "pareto-narrow.svg", "cache-x-precision.png", "cache-x-precision.svg",
}

// formats returns the number formats of --dtypes besides f32, which is always among them.
func (c *compareCmd) formats() ([]tokencache.DType, error) {
	if c.DTypes != "" && c.DType != "auto" {
		return nil, errors.New("give --dtype or --dtypes, not both")
	}
	var list []tokencache.DType
	for _, name := range strings.FieldsFunc(c.DTypes, listed) {
		d, err := tokencache.ParseDType(name)
		if err != nil {
			return nil, fmt.Errorf("--dtypes: %w", err)
		}
		if d != tokencache.F32 && !slices.Contains(list, d) {
			list = append(list, d)
		}
	}
	return list, nil
}

// listed reports what separates the entries of lists.
func listed(r rune) bool { return r == ',' || r == ' ' }

// parseSpeeds reads a list of speeds. A speed of 1x is that of the uncached model, which is always
// compared.
func parseSpeeds(list string) ([]float64, error) {
	var speeds []float64
	for _, text := range strings.FieldsFunc(list, listed) {
		if text == "1x" || text == "1" {
			continue
		}
		speed, err := parseSpeed(text)
		if err != nil {
			return nil, fmt.Errorf("--speeds: %w", err)
		}
		speeds = append(speeds, speed)
	}
	return speeds, nil
}

// comparison opens a model for a comparison, and returns what closes it.
func (a *app) comparison(model *string, options tokencache.Options, f *samplingFlags, s *subjectFlags) (
	o *comparison.Options, done func(), err error,
) {
	p, subjects, sampling, err := a.openSubjects(model, options, f, s)
	if err != nil {
		return nil, nil, err
	}
	o = &comparison.Options{
		Pipeline: p,
		Sampling: sampling,
		Subjects: subjects,
		Open:     a.policy,
		Bundled: func(speed float64) (string, error) {
			return a.opened.bundle.ForSpeed(sampling, speed)
		},
		Calibration: comparison.Calibration{
			Threads: options.Threads,
			Open:    a.weights(p, *model, options),
		},
		Model:      *model,
		VAE:        options.VAE,
		PromptFile: s.PromptFile,
		Command:    commandLine(),
		Processor:  bench.Processor(),
		OnStage:    func(what string) { a.note("%s", what) },
	}
	return o, p.Close, nil
}

// formats opens the model of a comparison in other number formats too, and returns what closes
// them.
func (a *app) formats(o *comparison.Options, list []tokencache.DType) (done func(), err error) {
	done = func() {
		for _, p := range o.Formats {
			p.Close()
		}
	}
	for _, d := range list {
		options := a.opened.options
		options.DType = d
		p, _, _, err := models.Resolve(a.ctx, a.opened.model, options)
		if err != nil {
			done()
			return nil, err
		}
		o.Formats = append(o.Formats, p)
	}
	return done, nil
}

// reference sets the network and the real images that a comparison evaluates images with, if there
// are any for the model. An empty path is that of Fashion-MNIST.
func (a *app) reference(o *comparison.Options, path string) error {
	path, err := a.evaluator(o, path)
	if err != nil || path == "" {
		return err
	}
	return o.Reference.Open(a.ctx, path, o.Count, o.Calibration.Threads, o.Seed)
}

// evaluator sets the network alone, and returns where the real images are, "" if there are none.
func (a *app) evaluator(o *comparison.Options, path string) (images string, err error) {
	r, fits, err := a.classifierOf(o.Pipeline)
	if err != nil {
		return "", err
	}
	if r == nil && path != "" {
		return "", fmt.Errorf("--reference %s: no classifier is bundled with this text-to-image model: "+
			"leave --reference out", path)
	}
	if !fits {
		if path != "" {
			net := r.Network
			height, width, channels := o.Pipeline.ImageSize()
			return "", fmt.Errorf("--reference %s: the bundled classifier evaluates images of %dx%d pixels and %d channels, "+
				"and this model's are of %dx%d and %d: leave --reference out",
				path, net.Size, net.Size, net.Channels, height, width, channels)
		}
		return "", nil
	}
	o.Reference = r
	if path == "" {
		if _, err := os.Stat(comparison.FashionMNIST); err != nil || r.Name != models.Default {
			a.opened.remark("no Fréchet distances: give real images with --reference")
			return "", nil
		}
		path = comparison.FashionMNIST
	}
	return path, nil
}

// classifierOf returns the bundled classifier, without real images, and whether it evaluates images
// such as the model's. That of a text-to-image model is bundled with it; nil: there is none.
func (a *app) classifierOf(p *tokencache.Pipeline) (r *comparison.Reference, fits bool, err error) {
	name := models.Default
	if p.TakesPrompts() {
		if a.opened.bundle == nil {
			return nil, false, nil
		}
		name = a.opened.bundle.Name
	}
	net, err := models.Classifier(name)
	if p.TakesPrompts() && errors.Is(err, fs.ErrNotExist) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	height, width, channels := p.ImageSize()
	fits = height == net.Size && width == net.Size && channels == net.Channels
	return comparison.NewReference(net, name), fits, nil
}

// commandLine is the command line of the program.
func commandLine() string {
	return report.NewCommand(append([]string{"tokencache"}, os.Args[1:]...)...).String()
}
