package comparison

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/diffusion"
	"github.com/tokencache/tokencache/eval"
	"github.com/tokencache/tokencache/internal/atomicfile"
	"github.com/tokencache/tokencache/internal/median"
	"github.com/tokencache/tokencache/measure"
	"github.com/tokencache/tokencache/report"
	"github.com/tokencache/tokencache/reuse"
)

// Options says what to compare.
type Options struct {
	Dir      string // finished cells are in Dir/cells
	Pipeline *tokencache.Pipeline
	diffusion.Sampling
	Seed  uint64
	Batch int

	Policies []string  // names of families, policies as --policy takes them, or all
	Speeds   []float64 // of families
	Count    int       // images of a cell
	Timed    int       // images of a measurement of time
	Repeat   int       // alternating runs of such a measurement
	Retime   bool      // measure the time of finished cells again

	Open    func(text string) (reuse.Policy, error)
	Shipped func(speed float64) (string, error) // the policy that comes with the model for a speed, empty if there is none; nil: a TokenCache is fitted, too

	// Fit fits a method to the model for a speed, or takes what was fitted before, and returns the policy and what it took once.
	Fit func(ctx context.Context, method string, speed float64) (policy string, cost report.Calibration, err error)

	Net       *eval.Classifier // judges, where it fits the model's pictures; else nil
	Reference *eval.Normal     // of real pictures, seen by Net; nil if there are none

	OnStage    func(what string)
	OnProgress func(done, all float64) // in images that the uncached model draws in the same time
}

// run is the state of a comparison.
type run struct {
	Options
	plan      reuse.Plan
	classes   int
	counts    counts
	done, all float64
	costs     []report.Calibration

	base        *drawn    // the uncached model's cell
	baseFrechet float64   // of its images
	baseDraws   []float64 // likewise, of each resampling
}

// Result is what was measured, and the first images of each cell.
type Result struct {
	Cells  []report.Cell
	Images [][]tokencache.Image
	Costs  []report.Calibration // paid once, of policies that were fitted to the model
}

func newRun(o Options) (*run, error) {
	r := &run{Options: o, classes: o.Pipeline.Config().NumClasses}
	var err error
	if r.plan, err = o.Pipeline.Plan(o.Sampling); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Join(o.Dir, "cells"), 0o777); err != nil {
		return nil, err
	}
	r.counts, err = openCounts(filepath.Join(o.Dir, countsFile), r.conditions())
	return r, err
}

// Run measures all cells.
func Run(ctx context.Context, o Options) (*Result, error) {
	r, err := newRun(o)
	if err != nil {
		return nil, err
	}
	subjects, err := r.subjects(ctx)
	if err != nil {
		return nil, err
	}
	for _, s := range subjects {
		r.all += r.cost(s)
	}
	result := &Result{Costs: r.costs}
	for _, s := range subjects {
		cell, images, err := r.measure(ctx, s)
		if err != nil {
			return nil, err
		}
		result.Cells, result.Images = append(result.Cells, cell), append(result.Images, images)
	}
	return result, nil
}

// measure draws and judges a subject; the first must be the uncached model. What fails is in the cell, but for the uncached model and where ctx ended.
func (r *run) measure(ctx context.Context, s subject) (report.Cell, []tokencache.Image, error) {
	cell := report.Cell{Method: s.Method, Policy: s.Policy, Wanted: s.Wanted, Error: s.Error}
	if s.Error != "" {
		return cell, nil, nil
	}
	d, err := r.cell(ctx, s)
	if ctx.Err() != nil {
		return cell, nil, ctx.Err()
	}
	var images []tokencache.Image
	if err == nil {
		if r.base == nil {
			r.base = d
		}
		cell, images, err = r.judge(s, d, r.base)
	}
	if err != nil && s.Method == report.Uncached {
		return cell, nil, err
	}
	if err != nil {
		cell.Error = err.Error()
	}
	return cell, images, nil
}

func (r *run) stage(format string, args ...any) {
	if r.OnStage != nil {
		r.OnStage(fmt.Sprintf(format, args...))
	}
}

// request draws count images from the from-th on; image i has the same class and noise in every cell.
func (r *run) request(from, count int) tokencache.Request {
	req := tokencache.Request{Seed: r.Seed, Sampling: r.Sampling, Batch: r.Batch}
	r.choose(&req, from, count)
	return req
}

// choose makes a request draw count images from the from-th on.
func (r *run) choose(req *tokencache.Request, from, count int) {
	req.Classes, req.Skip = nil, func(i int) bool { return i < from }
	for i := range from + count {
		req.Classes = append(req.Classes, i%r.classes)
	}
}

// subjects lists what is to be measured, the uncached model first. What was found by counting is kept in the folder.
func (r *run) subjects(ctx context.Context) ([]subject, error) {
	list := []subject{{Method: report.Uncached, Policy: "none"}}
	for _, name := range r.names() {
		i := slices.IndexFunc(families, func(f family) bool { return f.name == name })
		if i < 0 {
			s := subject{Method: methodOf(name), Policy: name}
			if !strings.HasPrefix(name, stepsPrefix) {
				p, err := r.Open(name)
				if err != nil {
					return nil, err
				}
				if t, ok := p.(*reuse.Trained); ok && t.Policy != nil && t.Policy.Learned {
					s.Method = shippedTitle // one of the kind that comes with models
				}
			}
			list = append(list, s)
			continue
		}
		for _, speed := range r.Speeds {
			s, ok := r.subject(ctx, families[i], speed, false)
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			if !ok {
				continue
			}
			if !slices.ContainsFunc(list, func(o subject) bool { return o.Policy == s.Policy && s.Error == "" }) {
				list = append(list, s)
			}
		}
	}
	return list, nil
}

// subject is a family at a speed: the policy nearest to it or, with atLeast, the slowest that is not slower. ok is false where the family has none.
func (r *run) subject(ctx context.Context, f family, speed float64, atLeast bool) (s subject, ok bool) {
	s = subject{Method: f.title, Wanted: speed}
	var err error
	switch {
	case f.name == stepsFamily:
		s.Policy = stepsPrefix + fewer(r.plan.Steps(), speed)
	case f.name == shippedFamily && r.Shipped != nil:
		if s.Policy, err = r.Shipped(speed); err == nil && s.Policy == "" {
			return s, false
		}
	case f.fitted, f.name == shippedFamily:
		var cost report.Calibration
		if s.Policy, cost, err = r.Fit(ctx, f.name, speed); err == nil {
			r.costs = append(r.costs, cost)
		}
	default:
		r.stage("looking for %s at %gx", f.title, speed)
		s.Policy, err = r.nearest(ctx, f.ladder, speed, atLeast)
	}
	if err != nil {
		s.Error = err.Error()
	}
	return s, true
}

// names returns the wanted policies, all written out.
func (r *run) names() []string {
	var names []string
	for _, name := range r.Policies {
		if name == All {
			names = append(names, Families()...)
		} else {
			names = append(names, name)
		}
	}
	return names
}

// methodOf returns what to call a policy that is no family.
func methodOf(policy string) string {
	name, _, _ := strings.Cut(policy, ":")
	for _, f := range families {
		if f.name == name && f.name != shippedFamily {
			return f.title
		}
	}
	return policy
}

// cost is about what a cell takes, in images that the uncached model draws in that time.
func (r *run) cost(s subject) float64 {
	share := 1.0
	if s.Wanted > 0 {
		share = 1 / s.Wanted
	}
	timing := 0.0
	if s.Method != report.Uncached {
		timing = float64(r.Timed) * (float64(r.Repeat) + float64(r.Repeat-1)*share) // one of the runs draws images of the cell
	}
	return float64(r.Count)*share + timing
}

// drawn is a cell's images and what they took, as it is kept in the folder: images in chunks, cell.json beside.
type drawn struct {
	Of      string              `json:"of"` // everything that the images depend on
	Subject subject             `json:"subject"`
	Stats   tokencache.Stats    `json:"stats"` // of the images drawn last
	Timing  *measure.Comparison `json:"timing,omitempty"`
	Steps   []measure.StepCost  `json:"step_costs,omitempty"`
	Step    measure.StepCost    `json:"uncached_step,omitzero"`

	dir string
}

// cell measures a subject, or what is left of it to be measured.
func (r *run) cell(ctx context.Context, s subject) (*drawn, error) {
	before := r.done
	defer func() { r.progress(before + r.cost(s)) }()
	policy, sampling, err := r.policyOf(s)
	if err != nil {
		return nil, err
	}
	d, err := r.openCell(s)
	if err != nil {
		return nil, err
	}
	if (d.Timing == nil || r.Retime) && s.Method != report.Uncached {
		r.stage("timing %s", s.Policy)
		if err := r.time(ctx, d, policy, sampling); err != nil {
			return nil, err
		}
	}
	have, err := d.chunks()
	if err != nil {
		return nil, err
	}
	if have < r.Count {
		r.stage("drawing %d images with %s", r.Count-have, s.Policy)
		req := r.request(0, 0)
		req.Policy, req.Sampling = policy, sampling
		err = r.draw(ctx, d, have, req, func(drawn float64) { r.progress(before + r.cost(s)*(float64(have)+drawn)/float64(r.Count)) })
	}
	return d, err
}

func (r *run) progress(done float64) {
	r.done = done
	if r.OnProgress != nil {
		r.OnProgress(done, r.all)
	}
}

// time measures a policy beside the uncached model, in turn, and how long each of its steps takes.
func (r *run) time(ctx context.Context, d *drawn, policy reuse.Policy, sampling diffusion.Sampling) error {
	req := r.request(0, r.Timed)
	req.Policy = policy
	if sampling != r.Sampling {
		return r.timeFewer(ctx, d, req, sampling)
	}
	c, err := measure.Compare(ctx, r.Pipeline, req, r.Repeat)
	if err != nil {
		return err
	}
	d.Timing, d.Steps, d.Step = c, c.Steps, c.UncachedStep
	return d.keep(c.Cached)
}

// timeFewer is time for the uncached model with fewer steps.
func (r *run) timeFewer(ctx context.Context, d *drawn, req tokencache.Request, fewer diffusion.Sampling) error {
	var few, all []float64
	var images []tokencache.Image
	c := &measure.Comparison{Images: len(req.Classes), Repeat: r.Repeat}
	for range r.Repeat {
		for _, s := range []diffusion.Sampling{r.Sampling, fewer} {
			req.Sampling = s
			result, err := r.Pipeline.Generate(ctx, req)
			if err != nil {
				return err
			}
			if s == fewer {
				few, c.FLOPs, c.ISteps = append(few, result.Stats.Seconds), result.Stats.FLOPs, result.Stats.Steps
				images = result.Images
			} else {
				all, c.UncachedFLOPs = append(all, result.Stats.Seconds), result.Stats.FLOPs
			}
		}
	}
	c.WallSeconds, c.UncachedWallSeconds = median.Of(few), median.Of(all)
	c.Speedup = c.UncachedWallSeconds / c.WallSeconds
	d.Timing = c
	return d.keep(images)
}

// keep keeps the first images of a cell that has none yet: those that its time was measured with.
func (d *drawn) keep(images []tokencache.Image) error {
	if have, err := d.chunks(); err != nil || have > 0 {
		return errors.Join(err, d.save())
	}
	if err := d.save(); err != nil { // first, so that images are never there without what they are of
		return err
	}
	return d.write(0, images)
}

// conditions are what all images depend on, whatever the policy.
func (r *run) conditions() string {
	return fmt.Sprintf("%s %s %s %s %g %g %d", r.Pipeline.Fingerprint(), r.Pipeline.Level(), r.Sampler, r.StepsText(), r.Guidance, r.GuidancePower, r.Seed)
}

// openCell opens the folder of a subject. What was drawn under other conditions is refused.
func (r *run) openCell(s subject) (*drawn, error) {
	name := s.Method + " " + s.Policy
	if s.Method == report.Uncached {
		name = report.Uncached
	}
	fingerprint := s.Policy
	if p, _, err := r.policyOf(s); err == nil {
		if t, ok := p.(*reuse.Trained); ok {
			fingerprint = fmt.Sprintf("%s %v %v %v", t.Method, t.Speed, t.PSNR, t.Provenance["seconds"])
		}
	}
	d := &drawn{
		Of:      r.conditions() + " " + fingerprint,
		Subject: s, dir: filepath.Join(r.Dir, "cells", FileName(name)),
	}
	b, err := os.ReadFile(filepath.Join(d.dir, cellFile))
	if errors.Is(err, os.ErrNotExist) {
		return d, os.MkdirAll(d.dir, 0o777)
	}
	if err != nil {
		return nil, err
	}
	old := *d
	if err := json.Unmarshal(b, &old); err != nil {
		return nil, fmt.Errorf("%s: %w; delete the folder to measure it again", filepath.Join(d.dir, cellFile), err)
	}
	if old.Of != d.Of {
		return nil, fmt.Errorf("%s holds another comparison (%s, not %s): delete it or give another --out", d.dir, old.Of, d.Of)
	}
	old.Subject = s
	return &old, nil
}

const cellFile = "cell.json"

// FileName makes a name of a folder of a text.
func FileName(text string) string {
	return strings.Map(func(c rune) rune {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("-.=,", c) {
			return c
		}
		return '_'
	}, text)
}

func (d *drawn) save() error { return writeJSON(filepath.Join(d.dir, cellFile), d) }

func writeJSON(path string, v any) error {
	b, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		return err
	}
	return atomicfile.Write(path, func(w io.Writer) error {
		_, err := w.Write(b)
		return err
	})
}
