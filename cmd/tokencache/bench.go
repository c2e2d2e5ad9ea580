package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/tokencache/tokencache/cmd/tokencache/internal/bench"
	"github.com/tokencache/tokencache/dit"
	"github.com/tokencache/tokencache/internal/kernel"
	"github.com/tokencache/tokencache/models"
	"github.com/tokencache/tokencache/reuse"
)

type benchCmd struct {
	Kernels benchKernelsCmd `cmd:"" help:"Linear maps and attention at the sizes of DiT-S and DiT-XL."`
	Model   benchModelCmd   `cmd:"" help:"A model's forward pass, with weights made up on the spot."`
	Train   benchTrainCmd   `cmd:"" help:"Training a model, whole updates."`
}

type benchKernelsCmd struct {
	Level   []string `help:"CPU levels: generic, avx2, avx512. Default: the best that the machine has." placeholder:"LEVEL"`
	Threads []int    `help:"Numbers of worker threads. Default: all processors." placeholder:"N"`
	M       []int    `name:"m" help:"Rows of the linear maps." default:"32,64,128,256,512"`
	JSON    bool     `name:"json" help:"Print one JSON object on standard output."`
}

func (c *benchKernelsCmd) Run(a *app) error {
	o := bench.KernelOptions{Threads: c.Threads, M: c.M, Time: 200 * time.Millisecond}
	if len(o.Threads) == 0 {
		o.Threads = []int{0}
	}
	for _, n := range slices.Concat(c.Threads, c.M) {
		if n < 1 || n > 1<<16 {
			return fmt.Errorf("%d threads or rows: want 1 to %d", n, 1<<16)
		}
	}
	if len(c.Level) == 0 {
		o.Levels = []kernel.Level{kernel.ActiveLevel()}
	}
	for _, name := range c.Level {
		level, err := kernel.ParseLevel(name)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(kernel.Impls(), func(im *kernel.Impl) bool { return im.Level == level && im.Supported() })
		if i < 0 {
			return fmt.Errorf("CPU level %s: this machine or build does not have it", name)
		}
		o.Levels = append(o.Levels, level)
	}
	if !c.JSON {
		fmt.Fprintf(a.stdout, "%-10s %-8s %7s %5s %5s %5s %9s %8s\n", "op", "level", "threads", "m", "k", "n", "GFLOP/s", "of peak")
		o.OnRow = func(r bench.KernelRow) {
			fmt.Fprintf(a.stdout, "%-10s %-8s %7d %5d %5d %5d %9.1f %7.1f%%\n", r.Op, r.Level, r.Threads, r.M, r.K, r.N, r.GFLOPs, r.PercentOfPeak)
		}
	}
	r, err := bench.Kernels(a.ctx, o)
	if err != nil {
		return err
	}
	if c.JSON {
		return a.printJSON(r)
	}
	_, err = fmt.Fprintf(a.stdout, "peak of fused multiply-adds: %.1f GFLOP/s\n", r.PeakGFLOPs)
	return err
}

type benchModelCmd struct {
	Arch      string `help:"Architecture: ${architectures}; or an embedded model: ${models}." default:"DiT-XL/2"`
	ImageSize int    `help:"Side of the images in pixels, 8 for each latent." default:"256"`
	Batch     int    `help:"Samples of a forward pass; an image with guidance is two." default:"2"`
	Tokens    string `help:"Share of the tokens that every block computes, or several: 100%,50%,25%." default:"100%"`
	Policy    string `help:"Measure the I- and P-steps of a policy instead, as generate takes it: tokencache:ratio=0.5,..." placeholder:"NAME:KEY=VALUE,..."`
	Steps     int    `help:"With --policy: the first so many steps of 50, each beside an uncached one." default:"8"`
	DiT       bool   `name:"against-dit" help:"Of an MDT: measure a DiT of equal size in turn with it, and print their ratio."`
	Threads   int    `help:"Worker threads. Default: all processors." placeholder:"N"`
	JSON      bool   `name:"json" help:"Print one JSON object on standard output; with several shares, its rows."`
}

func (c *benchModelCmd) Run(a *app) error {
	if c.Batch < 1 || c.Batch > 1024 {
		return fmt.Errorf("--batch %d: want 1 to 1024", c.Batch)
	}
	config, err := benchConfig(c.Arch, c.ImageSize)
	if err != nil {
		return err
	}
	if c.Policy != "" {
		return c.policy(a, config)
	}
	o := bench.ModelOptions{Config: config, Batch: c.Batch, Threads: c.Threads, Time: 3 * time.Second, DiT: c.DiT}
	for _, s := range strings.Split(c.Tokens, ",") {
		percent, err := strconv.ParseFloat(strings.TrimSuffix(s, "%"), 64)
		if err != nil || !(percent > 0 && percent <= 100) {
			return fmt.Errorf("--tokens %s: want shares such as 100%%, 50%%", c.Tokens)
		}
		o.Percent = append(o.Percent, percent)
	}
	a.note("making weights of %s", config.Name())
	reports, err := bench.Model(a.ctx, o)
	if err != nil {
		return err
	}
	if c.JSON {
		if len(reports) == 1 {
			return a.printJSON(reports[0])
		}
		return a.printJSON(map[string]any{"rows": reports})
	}
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "tokens\tms\tGFLOP/s\tof peak\tof the full time\t")
	for _, r := range reports {
		ratio := ""
		if r.Ratio > 0 {
			ratio = fmt.Sprintf("%.1f%%", 100*r.Ratio)
		}
		fmt.Fprintf(w, "%g%%\t%.1f\t%.1f\t%.1f%%\t%s\t\n", r.Percent, r.Milliseconds, r.GFLOPs, r.PercentOfPeak, ratio)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	r := reports[0]
	if d := r.DiT; d != nil {
		fmt.Fprintf(a.stdout, "against %s: %.2f (%.1f ms)", d.Arch, d.Ratio, d.Milliseconds)
		if d.SkipShare > 0 {
			fmt.Fprintf(a.stdout, "; %.2f with skip_linear apart, %.1f%% of the FLOPs", d.Apart, 100*d.SkipShare)
		}
		fmt.Fprintln(a.stdout)
	}
	_, err = fmt.Fprintf(a.stdout, "%s, batch %d, %d threads, %s; peak of fused multiply-adds: %.1f GFLOP/s\n", r.Arch, r.Batch, r.Threads, r.Level, r.PeakGFLOPs)
	return err
}

// policy measures the steps of a policy.
func (c *benchModelCmd) policy(a *app, config dit.Config) error {
	p, err := reuse.Parse(c.Policy)
	if err != nil {
		return err
	}
	if c.Steps < 2 {
		return fmt.Errorf("--steps %d: want 2 or more", c.Steps)
	}
	a.note("making weights of %s", config.Name())
	r, err := bench.Policy(a.ctx, bench.PolicyOptions{Config: config, Batch: c.Batch, Policy: p, Steps: c.Steps, Threads: c.Threads})
	if err != nil {
		return err
	}
	if c.JSON {
		return a.printJSON(r)
	}
	fmt.Fprintf(a.stdout, "%s, batch %d, %d threads, %s; %s\n", r.Arch, r.Batch, r.Threads, r.Level, r.Policy)
	fmt.Fprintf(a.stdout, "without a policy  %8.1f ms\nI-step (%d)        %8.1f ms\n", r.UncachedMS, r.ISteps, r.IStepMS)
	if r.PSteps == 0 {
		_, err = fmt.Fprintf(a.stdout, "no P-step among the first %d steps\n", c.Steps)
		return err
	}
	_, err = fmt.Fprintf(a.stdout, "P-step (%d)        %8.1f ms, %.1f %% of an I-step, with %.1f %% of its FLOPs and %.1f %% of its tokens\ncache             %8.1f MB\n",
		r.PSteps, r.PStepMS, 100*r.Ratio, 100*r.FLOPRatio, 100*r.Share, float64(r.CacheBytes)/(1<<20))
	return err
}

// benchConfig returns the configuration of an official architecture for images of the given side, or of an embedded model.
func benchConfig(arch string, imageSize int) (dit.Config, error) {
	if slices.Contains(models.Names(), arch) {
		w, err := models.Open(arch)
		if err != nil {
			return dit.Config{}, err
		}
		defer w.Close()
		return w.Config, nil
	}
	if imageSize < 8 || imageSize%8 != 0 || imageSize > 4096 {
		return dit.Config{}, fmt.Errorf("--image-size %d: want a multiple of 8 up to 4096", imageSize)
	}
	return dit.Official(arch, imageSize/8)
}

type benchTrainCmd struct {
	Arch      string        `help:"Architecture: ${architectures}; or an embedded model: ${models}." default:"${model}"`
	ImageSize int           `help:"Side of the images in pixels, 8 for each latent." default:"256"`
	Batch     int           `help:"Images of an update." default:"16"`
	Micro     int           `name:"micro-batch" help:"Images in memory together." default:"16"`
	Time      time.Duration `help:"How long to measure." default:"10s"`
	Threads   int           `help:"Worker threads. Default: all processors." placeholder:"N"`
	JSON      bool          `name:"json" help:"Print one JSON object on standard output."`
}

func (c *benchTrainCmd) Run(a *app) error {
	if c.Batch < 1 || c.Batch > 1024 || c.Micro < 1 {
		return fmt.Errorf("--batch %d, --micro-batch %d: want 1 to 1024", c.Batch, c.Micro)
	}
	config, err := benchConfig(c.Arch, c.ImageSize)
	if err != nil {
		return err
	}
	r, err := bench.Train(a.ctx, bench.TrainOptions{Config: config, Batch: c.Batch, Micro: c.Micro, Threads: c.Threads, Time: c.Time})
	if err != nil {
		return err
	}
	if c.JSON {
		return a.printJSON(r)
	}
	_, err = fmt.Fprintf(a.stdout, "%s, %d images an update, %d threads, %s: %.0f ms, %.1f images/s, %.1f GFLOP/s, %.1f%% of the peak of %.1f GFLOP/s\n",
		r.Arch, r.Batch, r.Threads, r.Level, r.Milliseconds, r.Images, r.GFLOPs, r.PercentOfPeak, r.PeakGFLOPs)
	return err
}
