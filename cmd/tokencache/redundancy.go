package main

import (
	"errors"
	"math"
	"os"
	"strings"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/internal/classes"
	"github.com/tokencache/tokencache/redundancy"
)

// redundancyFlags are inspect's for looking at a model as it draws.
type redundancyFlags struct {
	Redundancy bool   `help:"Draw images, and pictures of how alike the model's steps are and of what a policy computes: see docs/tokencache.md." group:"With --redundancy:"`
	Out        string `help:"Folder of the pictures." placeholder:"DIR" group:"With --redundancy:"`
	VAE        string `name:"vae" help:"The model's autoencoder, as for generate." placeholder:"PATH" group:"With --redundancy:"`
	samplingFlags
	Class   []string `help:"Classes, as for generate. Default: the first." placeholder:"N|NAME" sep:"none" group:"With --redundancy:"`
	Count   int      `help:"Images." default:"4" group:"With --redundancy:"`
	Seed    uint64   `help:"Seed of the random numbers." default:"1" group:"With --redundancy:"`
	Policy  string   `help:"Policy whose choice of tokens is shown, as for generate." default:"tokencache" placeholder:"NAME|DIR" group:"With --redundancy:"`
	Threads int      `help:"Worker threads. Default: all processors." placeholder:"N" group:"With --redundancy:"`
}

// redundancyReport is what --json prints.
type redundancyReport struct {
	Model       string       `json:"model"`
	Fingerprint string       `json:"fingerprint"`
	Sampler     string       `json:"sampler"`
	Steps       int          `json:"steps"`
	CFG         float64      `json:"cfg"`
	Seed        uint64       `json:"seed"`
	Classes     []int        `json:"classes"`
	Policy      string       `json:"policy"`
	Change      float64      `json:"mean_change"`          // of updates from a step to the next, relative
	ChangeBlock []float64    `json:"mean_change_of_block"` // likewise, of each
	Alike       []alikeBlock `json:"alike"`
	ISteps      []int        `json:"i_steps"`
	Computed    float64      `json:"tokens_computed"`
	Importance  string       `json:"importance"`
	Alpha       []*float64   `json:"mean_alpha"` // of each step; null where nothing is ranked
	Files       []string     `json:"files"`
}

// alikeBlock is how alike a block's tokens are from a step to the next, as mean cosines.
type alikeBlock struct {
	Block   int     `json:"block"`
	Updates float64 `json:"updates"`
	Output  float64 `json:"output"`
}

// redundancy draws images with the model and writes pictures of what was seen.
func (c *inspectCmd) redundancy(a *app) error {
	if c.Out == "" {
		return errors.New("--redundancy writes pictures: give a folder for them (--out DIR)")
	}
	if c.Count < 1 {
		return errors.New("--count: want 1 or more")
	}
	p, sampling, err := a.open(&c.Path, tokencache.Options{VAE: c.VAE, Threads: c.Threads, Heads: c.Heads, InputSize: c.InputSize, DecodeLayer: c.Decode}, &c.samplingFlags)
	if err != nil {
		return err
	}
	defer p.Close()
	policy, err := a.policy(c.Policy)
	if err != nil {
		return err
	}
	chosen, err := c.classes(p)
	if err != nil {
		return err
	}
	req := tokencache.Request{Classes: chosen, Seed: c.Seed, Sampling: sampling, Policy: policy}
	if err := p.Check(req); err != nil {
		return err
	}
	if err := os.MkdirAll(c.Out, 0o777); err != nil {
		return err
	}
	bar := a.newProgress("looking")
	defer bar.finish()
	o := redundancy.Options{Request: req, Policy: policy, OnStage: func(what string) { a.note("%s", what) }, OnPart: bar.set}
	watch, err := redundancy.WatchUncached(a.ctx, p, o)
	if err != nil {
		return err
	}
	record, frames, err := redundancy.RecordFrames(a.ctx, p, o)
	if err != nil {
		return err
	}
	bar.finish()
	importance := record.Importance
	if importance == nil {
		importance = watch.Importance()
	}
	files, err := draw(c.Out, p, watch, record, importance, frames, chosen)
	if err != nil {
		return err
	}
	if c.JSON {
		return a.printJSON(c.report(p, req, watch, record, importance, files))
	}
	a.note("an update changes by %.1f %% from a step to the next; %s: %d I-steps of %d, %.1f %% of the tokens computed", 100*watch.MeanChange(), policy, len(record.ISteps), record.Steps, 100*record.Computed())
	a.note("wrote %s", strings.Join(files, ", "))
	return nil
}

// classes returns what is drawn: the model's first classes, unless others are asked for.
func (c *inspectCmd) classes(p *tokencache.Pipeline) ([]int, error) {
	if len(c.Class) == 0 {
		all := make([]int, p.Config().NumClasses)
		for i := range all {
			all[i] = i
		}
		return classes.Cycle(all, c.Count), nil
	}
	chosen, err := p.SelectClasses(c.Class)
	if err != nil {
		return nil, err
	}
	return classes.Cycle(chosen, c.Count), nil
}

// draw writes all pictures.
func draw(dir string, p *tokencache.Pipeline, w *redundancy.Watch, r *redundancy.Record, m *redundancy.Importance, frames []redundancy.Frame, chosen []int) ([]string, error) {
	name := p.Config().Name()
	files, err := w.Draw(dir, name)
	if err != nil {
		return nil, err
	}
	alpha, err := m.Draw(dir, name, r.Images)
	if err != nil {
		return nil, err
	}
	schedule, err := r.DrawSchedule(dir, name)
	if err != nil {
		return nil, err
	}
	overlay, err := r.DrawOverlay(dir, name, frames, chosen, p.ClassNames())
	return append(append(files, alpha, schedule), overlay...), err
}

func (c *inspectCmd) report(p *tokencache.Pipeline, req tokencache.Request, w *redundancy.Watch, r *redundancy.Record, m *redundancy.Importance, files []string) redundancyReport {
	report := redundancyReport{
		Model: c.Path, Fingerprint: p.Fingerprint(), Sampler: c.Sampler, Steps: w.Steps, CFG: req.Guidance, Seed: c.Seed, Classes: req.Classes, Policy: r.Policy,
		Change: w.MeanChange(), ISteps: r.ISteps, Computed: r.Computed(), Importance: m.Kind, Files: files,
	}
	for l := range w.Blocks {
		report.ChangeBlock = append(report.ChangeBlock, w.BlockChange(l))
	}
	for _, s := range w.Alike {
		report.Alike = append(report.Alike, alikeBlock{s.Block, redundancy.Neighbours(s.Updates), redundancy.Neighbours(s.Output)})
	}
	for _, v := range m.Mean {
		if math.IsNaN(v) {
			report.Alpha = append(report.Alpha, nil)
		} else {
			report.Alpha = append(report.Alpha, &v)
		}
	}
	return report
}
