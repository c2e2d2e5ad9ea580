package main

import (
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/tokencache/tokencache/cmd/tokencache/internal/bench"
	"github.com/tokencache/tokencache/dit"
	"github.com/tokencache/tokencache/reuse"
)

type benchModelCmd struct {
	Arch      string     `help:"Architecture: ${architectures}; or a bundled model: ${models}." default:"DiT-XL/2"`
	ImageSize int        `help:"Side of the images in pixels, 8 for each latent." default:"256"`
	Batch     int        `help:"Samples of a forward pass; an image with guidance is two." default:"2"`
	Tokens    string     `help:"Share of the tokens that every block computes, or several: 100%,50%,25%." default:"100%"`
	Policy    policyText `help:"Measure the I- and P-steps of a policy instead, as generate takes it: tokencache:ratio=0.5,..." placeholder:"NAME:KEY=VALUE,..."`
	Steps     int        `help:"With --policy: how many of the first of 50 steps are measured, each against an uncached one." default:"8"`
	DiT       bool       `name:"against-dit" help:"Of an MDT: measure a DiT of equal size too, alternating, and print their ratio."`
	Threads   int        `help:"Worker threads. Default: all processors." placeholder:"N"`
	JSON      bool       `name:"json" help:"Print one JSON object on standard output; with several shares, its rows."`
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
	o := bench.ModelOptions{
		Config:  config,
		Batch:   c.Batch,
		Threads: c.Threads,
		Time:    3 * time.Second,
		DiT:     c.DiT,
	}
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
	return printBenchModel(a, reports)
}

// printBenchModel prints a row for each share of the tokens.
func printBenchModel(a *app, reports []bench.ModelReport) error {
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
			fmt.Fprintf(a.stdout, "; %.2f without skip_linear, which is %.1f%% of the FLOPs", d.Apart, 100*d.SkipShare)
		}
		fmt.Fprintln(a.stdout)
	}
	_, err := fmt.Fprintf(a.stdout, "%s, batch %d, %d threads, %s; peak of fused multiply-adds: %.1f GFLOP/s\n",
		r.Arch, r.Batch, r.Threads, r.Level, r.PeakGFLOPs)
	return err
}

// policy measures the steps of a policy.
func (c *benchModelCmd) policy(a *app, config dit.Config) error {
	p, err := reuse.Parse(string(c.Policy))
	if err != nil {
		return err
	}
	if c.Steps < 2 {
		return fmt.Errorf("--steps %d: want 2 or more", c.Steps)
	}
	a.note("making weights of %s", config.Name())
	r, err := bench.Policy(a.ctx, bench.PolicyOptions{
		Config:  config,
		Batch:   c.Batch,
		Policy:  p,
		Steps:   c.Steps,
		Threads: c.Threads,
	})
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
	_, err = fmt.Fprintf(a.stdout, "P-step (%d)        %8.1f ms, "+
		"%.1f %% of an I-step, with %.1f %% of its FLOPs and %.1f %% of its tokens\n"+
		"cache             %8.1f MB\n",
		r.PSteps, r.PStepMS, 100*r.Ratio, 100*r.FLOPRatio, 100*r.Share, float64(r.CacheBytes)/(1<<20))
	return err
}
