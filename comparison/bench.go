package comparison

import (
	"context"
	"fmt"

	"github.com/tokencache/tokencache/report"
)

// bench is the lab of a search: the model, with images that the search may look at and others.
type bench struct {
	seen, unseen *runner
	target       Target
	against      Against

	tried   []Trial
	known   map[string]outcome // of trials, by policy and number of images
	done    float64
	all     float64 // work
	told    func(done, all float64)
	started bool // the uncached model's images of unseen are there
}

// Trial is a candidate on the images of the search's seed.
type Trial struct {
	Method  string  `json:"method"`
	Policy  string  `json:"policy"`
	Images  int     `json:"images"`
	FLOPs   float64 `json:"fewer_flops"` // times fewer than the uncached model
	PSNR    float64 `json:"psnr_db,omitempty"`
	Frechet float64 `json:"frechet_ratio,omitempty"`
}

// prepare makes the images that trials are compared with.
func (b *bench) prepare(ctx context.Context) error {
	r := b.seen
	d, err := r.generate(ctx, uncached())
	if err != nil {
		return err
	}
	r.base = d
	if b.against == AgainstConverged && (b.target.psnr > 0 || b.target.speed > 0) {
		if err := r.converge(ctx); err != nil {
			return err
		}
	}
	if b.target.NeedsFrechet() {
		if err := b.openReal(ctx); err != nil {
			return err
		}
		images, err := d.first(r.Count)
		if err != nil {
			return err
		}
		return r.features(ctx, &report.Cell{}, images, d.Run)
	}
	return nil
}

// openReal opens the real images, if there are any and none are open.
func (b *bench) openReal(ctx context.Context) error {
	open := b.unseen.RealImages
	if open == nil || b.unseen.Reference.Gaussian != nil {
		return nil
	}
	b.say("reading the real images")
	if err := open(ctx); err != nil {
		return err
	}
	for _, r := range []*runner{b.seen, b.unseen} { // which share them
		r.Reference.describe(&r.result.Results)
	}
	return nil
}

// run returns the run of a rung, and calibrates its policy if that is to be done.
func (b *bench) run(ctx context.Context, a *arm, at int) (run, error) {
	r := &a.rungs[at]
	if r.policy == "" {
		dir, err := b.unseen.calibrate(ctx, a.calibrated, r.speed)
		if err != nil {
			return run{}, err
		}
		r.policy = dir
	}
	return run{Method: a.title, Policy: r.policy, Wanted: b.target.speed}, nil
}

// trial implements lab.
func (b *bench) trial(ctx context.Context, a *arm, at, images int) (outcome, error) {
	s, err := b.run(ctx, a, at)
	if err != nil {
		return outcome{}, err
	}
	key := fmt.Sprint(images, " ", s.Policy)
	if o, ok := b.known[key]; ok {
		return o, nil
	}
	o, err := b.seen.trial(ctx, s, images, b.target.NeedsFrechet())
	if err != nil {
		return o, err
	}
	b.known[key] = o
	b.tried = append(b.tried, Trial{
		Method:  s.Method,
		Policy:  s.Policy,
		Images:  images,
		FLOPs:   o.fewer,
		PSNR:    o.psnr,
		Frechet: o.frechet,
	})
	return o, nil
}

// clock implements lab.
func (b *bench) clock(ctx context.Context, a *arm, at int) (float64, error) {
	s, err := b.run(ctx, a, at)
	if err != nil {
		return 0, err
	}
	defer b.passed(b.clockWork())
	return b.unseen.timed(ctx, s)
}

// verify implements lab.
func (b *bench) verify(ctx context.Context, a *arm, at int) (outcome, error) {
	s, err := b.run(ctx, a, at)
	if err != nil {
		return outcome{}, err
	}
	if !b.started {
		if err := b.openReal(ctx); err != nil {
			return outcome{}, err
		}
		if err := b.unseen.measure(ctx, uncached()); err != nil {
			return outcome{}, err
		}
		b.started = true
	}
	if err := b.unseen.measure(ctx, s); err != nil {
		return outcome{}, err
	}
	cells := b.unseen.result.Cells
	cell := &cells[len(cells)-1]
	if cell.Error != "" {
		return outcome{}, fmt.Errorf("%s", cell.Error)
	}
	return outcomeOf(cell, b.against), nil
}

// say implements lab.
func (b *bench) say(format string, args ...any) { b.seen.stage(format, args...) }

// passed implements lab.
func (b *bench) passed(work float64) {
	b.done = min(b.done+work, b.all)
	if b.told != nil {
		b.told(b.done, b.all)
	}
}

// forward returns what tells the progress of a runner, whose work counts from 0, as the search's.
func (b *bench) forward() func(done, all float64) {
	before := 0.0
	return func(done, _ float64) {
		b.passed(max(0, done-before))
		before = max(before, done)
	}
}

// armWork is about what scouting an arm takes.
func (b *bench) armWork(few int) func(*arm) float64 {
	return func(a *arm) float64 {
		work := tries(len(a.rungs)) * float64(few) * cachedShare
		if a.calibrated != "" {
			work = float64(few) + b.seen.Calibration.work(a.calibrated)
		}
		return work
	}
}

// clockWork is about what a measurement of time takes.
func (b *bench) clockWork() float64 {
	return float64(b.unseen.Timed*b.unseen.Repeat) * (1 + cachedShare)
}

// prepareWork is what prepare takes.
func (b *bench) prepareWork() float64 {
	work := float64(b.seen.Count)
	if b.against == AgainstConverged {
		work += b.seen.convergedWork()
	}
	return work
}

// work is about what the search takes.
func (b *bench) work(arms []*arm, few int) float64 {
	work := b.prepareWork() + survivors*float64(b.seen.Count)*cachedShare + finalists*b.clockWork()
	for _, a := range arms {
		work += b.armWork(few)(a)
	}
	return work + float64(b.unseen.Count)*(1+cachedShare) + b.unseen.convergedWork()
}

// trial measures a run on the first images, without its time.
func (r *runner) trial(ctx context.Context, s run, images int, frechet bool) (outcome, error) {
	var o outcome
	policy, sampling, err := r.policyOf(s)
	if err != nil {
		return o, err
	}
	d, err := r.open(s, policy, sampling)
	if err != nil {
		return o, err
	}
	have, err := d.count()
	if err != nil {
		return o, err
	}
	if have < images {
		req := r.request(0, 0)
		req.Policy, req.Sampling = policy, sampling
		if err := r.fill(ctx, s, d, have, images, req, func(float64) {}); err != nil {
			return o, err
		}
	}
	made, err := d.first(images)
	if err != nil {
		return o, err
	}
	perImage := func(d *result) float64 { return float64(d.Stats.FLOPs) / float64(d.Stats.Images) }
	o.fewer = perImage(r.base) / perImage(d)
	reference := r.base
	if r.solution != nil {
		reference = r.solution
	}
	f, err := fidelity(made, reference)
	if err != nil {
		return o, err
	}
	o.psnr = f.Mean
	if !frechet {
		return o, nil
	}
	var cell report.Cell
	err = r.features(ctx, &cell, made, s)
	if cell.FrechetRatio != nil {
		o.frechet = cell.FrechetRatio.Value
	}
	return o, err
}

// timed returns how many times as fast as the uncached model a run is.
func (r *runner) timed(ctx context.Context, s run) (float64, error) {
	policy, sampling, err := r.policyOf(s)
	if err != nil {
		return 0, err
	}
	d, err := r.open(s, policy, sampling)
	if err != nil {
		return 0, err
	}
	if d.Timing == nil || r.Retime {
		r.stage("timing %s", s)
		if err := r.time(ctx, d, policy, sampling); err != nil {
			return 0, err
		}
	}
	return d.Timing.Speedup, nil
}
