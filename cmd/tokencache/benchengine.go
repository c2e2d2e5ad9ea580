package main

import (
	"fmt"
	"text/tabwriter"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/cmd/tokencache/internal/bench"
	"github.com/tokencache/tokencache/models"
)

type benchEngineCmd struct {
	Model   string     `help:"A bundled model." default:"${model}"`
	Policy  policyText `help:"What is reused, as generate takes it. Default: what suits the model." placeholder:"NAME:KEY=VALUE,..."`
	Repeat  int        `help:"Rounds of images alone, in a batch and at the same time, of which the medians count." default:"5"`
	Arrive  int        `help:"Requests that arrive at random times, for each rate." default:"200"`
	Seed    uint64     `help:"Seed of the times of arrival." default:"1"`
	Threads int        `help:"Worker threads. Default: all processors." placeholder:"N"`
	JSON    bool       `name:"json" help:"Print one JSON object on standard output."`
}

// engineFigures are those with the policy, and without any.
type engineFigures struct {
	*bench.EngineReport
	Policy   string              `json:"policy"`
	Uncached *bench.EngineReport `json:"uncached"`
}

func (c *benchEngineCmd) Run(a *app) error {
	p, req, err := models.Open(c.Model, tokencache.Options{Threads: c.Threads})
	if err != nil {
		return err
	}
	defer p.Close()
	if c.Policy != "" {
		if req.Policy, err = models.ResolvePolicy(nil, string(c.Policy)); err != nil {
			return err
		}
	}
	figures := engineFigures{Policy: req.Policy.String()}
	o := bench.EngineOptions{Request: req, Repeat: c.Repeat, Arrive: c.Arrive, Seed: c.Seed}
	o.OnStage = func(what string) { a.note("%s: %s", figures.Policy, what) }
	if figures.EngineReport, err = bench.Engine(a.ctx, p, o); err != nil {
		return err
	}
	o.Request.Policy = nil
	o.OnStage = func(what string) { a.note("uncached: %s", what) }
	if figures.Uncached, err = bench.Engine(a.ctx, p, o); err != nil {
		return err
	}
	if c.JSON {
		return a.printJSON(figures)
	}
	return figures.print(a)
}

// print writes a table of images a second, with the share of the rate of one request of 8 images.
func (f *engineFigures) print(a *app) error {
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "images/s\twith the policy\tuncached\t")
	rate := func(name string, get func(*bench.EngineReport) float64) {
		fmt.Fprintf(w, "%s", name)
		for _, r := range []*bench.EngineReport{f.EngineReport, f.Uncached} {
			fmt.Fprintf(w, "\t%.2f (%.0f %%)", get(r), 100*get(r)/r.Batch8)
		}
		fmt.Fprintln(w, "\t")
	}
	rate("one request of 8 images", func(r *bench.EngineReport) float64 { return r.Batch8 })
	rate("one image after another", func(r *bench.EngineReport) float64 { return r.Alone })
	rate("8 requests at the same time", func(r *bench.EngineReport) float64 { return r.Concurrent })
	rate("requests that join at random times", func(r *bench.EngineReport) float64 { return r.Joining })
	fmt.Fprintf(w, "latency at 80 %% of capacity, median\t%.0f ms\t%.0f ms\t\n", f.P50, f.Uncached.P50)
	fmt.Fprintf(w, "latency at 80 %% of capacity, 99th percentile\t%.0f ms\t%.0f ms\t\n", f.P99, f.Uncached.P99)
	fmt.Fprintf(w, "images equal to those generated alone\t%t\t%t\t\n", f.Identical, f.Uncached.Identical)
	if err := w.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(a.stdout, "policy: %s\n", f.Policy)
	return err
}
