package comparison

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/diffusion"
	"github.com/tokencache/tokencache/eval"
	"github.com/tokencache/tokencache/internal/digest"
	"github.com/tokencache/tokencache/measure"
	"github.com/tokencache/tokencache/report"
	"github.com/tokencache/tokencache/reuse"
)

// runner is the state of a comparison.
type runner struct {
	Options
	plan      reuse.Plan
	counts    counts
	done, all float64 // progress, as OnProgress is told
	perImage  float64 // seconds of an uncached image, 0: not measured
	result    *Result

	solution *result       // the converged one, nil if there is none
	base     *result       // of the uncached model
	drawn    map[run]drawn // Fréchet distances of what was evaluated
}

// drawn is a Fréchet distance and that of each resample; of equal counts resamples are paired.
type drawn struct {
	value float64
	draws []float64
}

// over is the factor by which a distance is larger than another, with its paired interval.
func (d drawn) over(other drawn) eval.Estimate {
	ratios := make([]float64, len(d.draws))
	for i := range ratios {
		ratios[i] = d.draws[i] / other.draws[i]
	}
	return eval.Around(d.value/other.value, ratios)
}

func newRunner(o Options) (*runner, error) {
	var err error
	if o.Subjects, err = o.Pipeline.SubjectsOr(o.Subjects); err != nil {
		return nil, err
	}
	r := &runner{
		Options: o,
		result:  newResult(&o),
		drawn:   map[run]drawn{},
	}
	if r.plan, err = o.Pipeline.Plan(o.Sampling); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Join(o.Dir, cellsFolder), 0o777); err != nil {
		return nil, err
	}
	r.counts, err = openCounts(filepath.Join(o.Dir, countsFile), r.key(o.Pipeline))
	return r, err
}

// Run measures all policies.
func Run(ctx context.Context, o Options) (*Result, error) {
	if err := o.checkCounts(); err != nil {
		return nil, err
	}
	r, err := newRunner(o)
	if err != nil {
		return nil, err
	}
	return r.run(ctx)
}

// run measures all policies.
func (r *runner) run(ctx context.Context) (*Result, error) {
	if r.Remote == nil {
		policies, work := r.expected()
		err := r.announce(ctx, work, "%d policies of %d images, less what is finished already", policies, r.Count)
		if err != nil {
			return nil, err
		}
	}
	runs, err := r.runs(ctx)
	if err != nil {
		return nil, err
	}
	if r.Remote != nil {
		if err := r.prefetch(ctx, runs); err != nil {
			return nil, err
		}
	}
	r.remaining(runs)
	r.all = r.convergedWork()
	for _, s := range runs {
		r.all += r.work(s)
	}
	for _, s := range runs {
		if err := r.measure(ctx, s); err != nil {
			return nil, err
		}
	}
	markBest(r.result.Cells)
	r.result.MarkDisturbed()
	return r.result, nil
}

// measure generates and evaluates the images of a run and adds its cell; the first run must be the
// uncached model's. A failure is recorded in the cell; only ctx's end and a failure of the uncached
// model are returned.
func (r *runner) measure(ctx context.Context, s run) error {
	cell := report.Cell{
		Method:      s.Method,
		Policy:      s.Policy,
		Wanted:      s.Wanted,
		DType:       s.DType,
		Error:       s.Error,
		Unreachable: s.Unreachable,
	}
	var images []tokencache.Image
	if s.Error == "" {
		made, first, err := r.try(ctx, s)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		switch {
		case err == nil:
			cell, images = made, first
		case s.isBase():
			return err
		default:
			cell.Error = err.Error()
		}
	}
	r.result.Cells, r.result.Images = append(r.result.Cells, cell), append(r.result.Images, images)
	return nil
}

// try generates and evaluates the images of a run.
func (r *runner) try(ctx context.Context, s run) (report.Cell, []tokencache.Image, error) {
	d, err := r.generate(ctx, s)
	if err != nil {
		return report.Cell{}, nil, err
	}
	if r.base == nil {
		r.base = d
		if err := r.converge(ctx); err != nil {
			return report.Cell{}, nil, err
		}
	}
	cell, images, err := r.evaluate(ctx, d, r.base)
	if err != nil {
		return cell, nil, err
	}
	return cell, images, r.describe(&cell, s)
}

// describe fills in what a cell says of its policy: the sampling, where it is another than the
// comparison's, and whether the policy saw the images.
func (r *runner) describe(cell *report.Cell, s run) error {
	policy, sampling, err := r.policyOf(s)
	if sampling != r.Sampling {
		cell.Sampling = &sampling
	}
	if t, ok := policy.(*reuse.Trained); ok && err == nil && t.Saw(r.Seed) {
		cell.Note = fmt.Sprintf("made from images of seed %d: not unseen here", r.Seed)
	}
	return err
}

func (r *runner) stage(format string, args ...any) {
	if r.OnStage != nil {
		r.OnStage(fmt.Sprintf(format, args...))
	}
}

// request asks for count images from image from on; image i has the same subject and noise in every
// run.
func (r *runner) request(from, count int) tokencache.Request {
	req := tokencache.Request{Seed: r.Seed, Sampling: r.Sampling, Batch: r.Batch}
	r.choose(&req, from, count)
	return req
}

// choose sets the images of a request.
func (r *runner) choose(req *tokencache.Request, from, count int) {
	req.Skip = func(i int) bool { return i < from }
	r.Subjects.Show(req, from+count, r.subject)
}

// subject returns the subject of an image: they follow each other or, with Spread, are evenly apart
// where there are more of them than images.
func (r *runner) subject(image int) int {
	if r.spreads() {
		return image * r.Subjects.Len() / r.Count
	}
	return image % r.Subjects.Len()
}

// spreads reports whether there are images of some of the subjects alone, evenly apart.
func (r *runner) spreads() bool { return r.Spread && r.Count < r.Subjects.Len() }

// work is an estimate of what a run takes, in images that the uncached model generates in that
// time.
func (r *runner) work(s run) float64 {
	share := 1.0
	if s.Wanted > 0 {
		share = 1 / s.Wanted
	}
	timing := 0.0
	if !s.isBase() {
		// One of the measurement's runs generates images that are kept.
		timing = float64(r.Timed) * (float64(r.Repeat) + float64(r.Repeat-1)*share)
	}
	return float64(r.Count)*share + timing
}

func (r *runner) progress(done float64) {
	r.done = done
	if r.OnProgress != nil {
		r.OnProgress(done, r.all)
	}
}

// generate returns the result of a run, of which it measures what is missing.
func (r *runner) generate(ctx context.Context, s run) (*result, error) {
	before := r.done
	defer func() { r.progress(before + r.work(s)) }()
	policy, sampling, err := r.policyOf(s)
	if err != nil {
		return nil, err
	}
	d, err := r.open(s, policy, sampling)
	if err != nil {
		return nil, err
	}
	if (d.Timing == nil || r.Retime) && !s.isBase() {
		r.stage("timing %s", s)
		if err := r.time(ctx, d, policy, sampling); err != nil {
			return nil, err
		}
	}
	have, err := d.count()
	if err != nil || have >= r.Count {
		return d, err
	}
	r.stage("generating %d images with %s", r.Count-have, s)
	req := r.request(0, 0)
	req.Policy, req.Sampling = policy, sampling
	return d, r.fill(ctx, s, d, have, r.Count, req, func(made float64) {
		r.progress(before + r.work(s)*(float64(have)+made)/float64(r.Count))
	})
}

// complete generates the images of a result from image have on, count in all. made is told how
// many.
func (r *runner) complete(ctx context.Context, d *result, have, count int, req tokencache.Request,
	made func(images float64)) error {
	if err := d.save(); err != nil { // first, so that images are never there without what they are of
		return err
	}
	p, err := r.pipeline(d.Run)
	if err != nil {
		return err
	}
	for from, to := have, 0; from < count; from = to {
		to = r.chunkEnd(d, from, count)
		req.OnStep = func(s tokencache.Progress) {
			made(float64(from-have) + float64(s.Images)*s.Share())
		}
		r.choose(&req, from, to-from)
		generated, err := p.Generate(ctx, req)
		if err != nil {
			return err
		}
		d.Stats = generated.Stats
		if err := d.save(); err != nil { // first, so that images are never there without their costs
			return err
		}
		if err := d.write(from, generated.Images); err != nil {
			return err
		}
	}
	return nil
}

// chunkEnd is the image after the last in the file that begins with image from, of count in all. The
// first file of a result that has been timed holds the images of the measurement.
func (r *runner) chunkEnd(d *result, from, count int) int {
	if from == 0 && d.Timing != nil {
		return min(r.Timed, count)
	}
	return min(from+chunkImages, count)
}

// time measures a policy against the uncached model, alternating, and the time of each of its
// steps.
func (r *runner) time(ctx context.Context, d *result, policy reuse.Policy, sampling diffusion.Sampling) error {
	req := r.request(0, r.Timed)
	req.Policy, req.Sampling = policy, sampling
	p, err := r.pipeline(d.Run)
	if err != nil {
		return err
	}
	c, err := measure.CompareOn(ctx, r.Pipeline, p, req, r.Sampling, r.Repeat)
	if err != nil {
		return err
	}
	d.Timing = c
	if sampling == r.Sampling { // the others have other steps
		d.Steps, d.Step = c.Steps, c.UncachedStep
	}
	return d.keep(c.Cached)
}

// key identifies what all images of a pipeline depend on, whatever the policy.
func (r *runner) key(p *tokencache.Pipeline) string {
	of := []any{p.Fingerprint(), p.Arithmetic(), r.Sampling, r.Seed, p.Autoencoder()}
	if r.spreads() {
		of = append(of, "spread", r.Count)
	}
	for _, text := range []string{r.Pipeline.SolverDigest(r.Sampling), r.Subjects.Digest()} {
		if text != "" {
			of = append(of, text)
		}
	}
	return digest.Of(of...)
}
