package comparison

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/internal/regularfile"
	"github.com/tokencache/tokencache/measure"
	"github.com/tokencache/tokencache/report"
)

// Remote has tasks done elsewhere, by a Worker of the same options, and hands each result to take,
// or why there is none, in any order. of identifies what the results depend on besides the tasks.
type Remote func(ctx context.Context, of string, tasks []json.RawMessage,
	take func(i int, result []byte, failed error) error) error

// task is images From to To-1 of a run.
type task struct {
	Run       run  `json:"run"`
	From      int  `json:"from"`
	To        int  `json:"to"`
	Counted   bool `json:"counted,omitempty"`   // against the uncached model, as a measurement of time does
	Converged bool `json:"converged,omitempty"` // of the converged solution; Run has no policy
}

// made is what becomes of a task.
type made struct {
	Stats    tokencache.Stats    `json:"stats"`
	Timing   *measure.Comparison `json:"timing,omitempty"` // without a clock
	Steps    []measure.StepCost  `json:"step_costs,omitempty"`
	Step     measure.StepCost    `json:"uncached_step,omitzero"`
	Solution *measure.Solution   `json:"solution,omitempty"`
	Images   []byte              `json:"images"` // the chunk's file
}

// Worker does the tasks of a comparison or a search that has a Remote.
type Worker struct{ runners []*runner }

// NewWorker returns a worker for comparisons of the same options; Dir is a folder of its own. With
// measured, the number of unseen images, it is one for searches.
func NewWorker(o Options, measured int) (*Worker, error) {
	all := []Options{o}
	if measured > 0 {
		seen, unseen := twoSets(o, measured)
		all = []Options{seen, unseen}
	}
	w := &Worker{}
	for _, o := range all {
		r, err := newRunner(o)
		if err != nil {
			return nil, err
		}
		w.runners = append(w.runners, r)
	}
	return w, nil
}

// runner returns the one whose images are identified by of.
func (w *Worker) runner(of string) (*runner, error) {
	for _, r := range w.runners {
		if r.key(r.Pipeline) == of {
			return r, nil
		}
	}
	return nil, fmt.Errorf("it would make other images: they are %s, want %s", w.runners[0].key(w.runners[0].Pipeline), of)
}

// Check reports that the worker would make other images than those identified by of.
func (w *Worker) Check(of string) error {
	_, err := w.runner(of)
	return err
}

// Do does a task of a comparison that is identified by of.
func (w *Worker) Do(ctx context.Context, of string, text json.RawMessage) ([]byte, error) {
	var t task
	if err := json.Unmarshal(text, &t); err != nil {
		return nil, fmt.Errorf("task: %w", err)
	}
	r, err := w.runner(of)
	if err != nil {
		return nil, err
	}
	if t.From < 0 || t.To <= t.From || t.To-t.From > maxTask {
		return nil, fmt.Errorf("task: images %d to %d, want from 1 to %d of them", t.From, t.To-1, maxTask)
	}
	m := &made{}
	var images []tokencache.Image
	switch {
	case t.Converged:
		images, err = m.solve(ctx, r, t)
	default:
		images, err = m.generate(ctx, r, t)
	}
	if err != nil {
		return nil, err
	}
	m.Stats.Seconds, m.Stats.DecodeSeconds = 0, 0 // machines' clocks do not mix
	if m.Images, err = encodeChunk(images); err != nil {
		return nil, err
	}
	return json.Marshal(m)
}

// maxTask bounds the images of a task.
const maxTask = 1 << 12

// generate makes the images of a task.
func (m *made) generate(ctx context.Context, r *runner, t task) ([]tokencache.Image, error) {
	policy, sampling, err := r.policyOf(t.Run)
	if err != nil {
		return nil, err
	}
	req := r.request(t.From, t.To-t.From)
	req.Policy, req.Sampling = policy, sampling
	if !t.Counted {
		generated, err := r.Pipeline.Generate(ctx, req)
		if err != nil {
			return nil, err
		}
		m.Stats = generated.Stats
		return generated.Images, nil
	}
	c, err := measure.CompareWith(ctx, r.Pipeline, req, r.Sampling, 1)
	if err != nil {
		return nil, err
	}
	c.ForgetTime()
	m.Timing = c
	if sampling == r.Sampling {
		m.Steps, m.Step = c.Steps, c.UncachedStep
	}
	return c.Cached, nil
}

// solve makes the images of a task of the converged solution.
func (m *made) solve(ctx context.Context, r *runner, t task) ([]tokencache.Image, error) {
	c, err := r.Pipeline.Converged(ctx, r.request(t.From, t.To-t.From))
	if err != nil {
		return nil, err
	}
	m.Stats = c.Stats
	m.Solution, err = measure.SolutionOf(c)
	return c.Images, err
}

// encodeChunk returns the file of images.
func encodeChunk(images []tokencache.Image) ([]byte, error) {
	dir, err := os.MkdirTemp("", "tokencache-chunk-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	d := &result{dir: dir}
	if err := d.write(0, images); err != nil {
		return nil, err
	}
	return regularfile.Read(d.chunk(0), math.MaxInt64)
}

// decodeChunk returns the images of a file.
func decodeChunk(b []byte) ([]tokencache.Image, error) {
	dir, err := os.MkdirTemp("", "tokencache-chunk-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	d := &result{dir: dir}
	if err := os.WriteFile(d.chunk(0), b, 0o600); err != nil {
		return nil, err
	}
	return d.read(0)
}

// wanted is a result of which images are missing.
type wanted struct {
	*result
	tasks []task
}

// missing returns the tasks that bring a run's result to count images, in the files in which they
// are kept if they are made here.
func (r *runner) missing(s run, d *result, count int, counted bool) (*wanted, error) {
	w := &wanted{result: d}
	have, err := d.count()
	if err != nil {
		return nil, err
	}
	if counted && d.Timing == nil {
		w.tasks = append(w.tasks, task{Run: s, To: r.Timed, Counted: true})
		have = max(have, r.Timed)
	}
	for from := have; from < count; {
		t := task{Run: s, From: from, To: r.chunkEnd(d, from, count)}
		from = t.To
		if there, err := d.read(t.From); err != nil || len(there) != t.To-t.From {
			w.tasks = append(w.tasks, t)
		}
	}
	return w, nil
}

// fetch has the tasks of all done by the Remote, and keeps what they make. It returns why runs
// failed, by their folders.
func (r *runner) fetch(ctx context.Context, all []*wanted) (map[string]error, error) {
	var tasks []json.RawMessage
	var of []*wanted
	var each []task
	for _, w := range all {
		for _, t := range w.tasks {
			text, err := json.Marshal(t)
			if err != nil {
				return nil, err
			}
			tasks, of, each = append(tasks, text), append(of, w), append(each, t)
		}
	}
	failures := map[string]error{}
	err := r.Remote(ctx, r.key(r.Pipeline), tasks, func(i int, result []byte, failed error) error {
		if failed != nil {
			failures[each[i].Run.folder()] = failed
			return nil
		}
		var m made
		if err := json.Unmarshal(result, &m); err != nil {
			return fmt.Errorf("result of %s: %w", each[i].Run.Policy, err)
		}
		return of[i].take(each[i], &m)
	})
	return failures, err
}

// take keeps what a task made.
func (d *wanted) take(t task, m *made) error {
	last := &d.tasks[len(d.tasks)-1]
	switch {
	case t.Counted:
		d.Timing, d.Steps, d.Step = m.Timing, m.Steps, m.Step
	case t.Converged:
		d.solved(t, m)
	}
	if !t.Counted && (d.Stats.Images == 0 || t == *last) {
		d.Stats = m.Stats // as of the images that are generated last
	}
	if err := os.MkdirAll(d.dir, 0o777); err != nil {
		return err
	}
	if err := d.save(); err != nil { // first, so that images are never there without what they are of
		return err
	}
	if _, err := os.Stat(d.chunk(t.From)); err == nil && t.Counted {
		return nil // more images than are counted are there
	} else if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	images, err := decodeChunk(m.Images)
	if err == nil && len(images) != t.To-t.From {
		err = fmt.Errorf("%d images, want %d", len(images), t.To-t.From)
	}
	if err != nil {
		return fmt.Errorf("result of %s: %w", t.Run.Policy, err)
	}
	return d.write(t.From, images)
}

// solved takes over what is known of a part of the converged solution.
func (d *wanted) solved(t task, m *made) {
	if d.Solution == nil {
		d.Solution = &measure.Solution{}
	}
	d.Solution.Error = max(d.Solution.Error, m.Solution.Error)
	if t.From == 0 {
		d.Solution.Evaluations, d.Solution.PSNRHalf = m.Solution.Evaluations, m.Solution.PSNRHalf
	}
}

// prefetch has the images of runs made by the Remote, and those of the converged solution. Why a
// run failed becomes its Error.
func (r *runner) prefetch(ctx context.Context, runs []run) error {
	var all []*wanted
	for i := range runs {
		s := &runs[i]
		if s.Error != "" {
			continue
		}
		policy, sampling, err := r.policyOf(*s)
		if err != nil {
			continue // as it is said when it is measured
		}
		d, err := r.open(*s, policy, sampling)
		if err != nil {
			continue
		}
		w, err := r.missing(*s, d, r.Count, s.Method != report.Uncached)
		if err != nil {
			return err
		}
		all = append(all, w)
	}
	solution, err := r.missingSolution()
	if err != nil {
		return err
	}
	if solution != nil {
		all = append(all, solution)
	}
	failures, err := r.fetch(ctx, all)
	if err != nil {
		return err
	}
	for i := range runs {
		if failed := failures[runs[i].folder()]; failed != nil && runs[i].Error == "" {
			runs[i].Error = failed.Error()
		}
	}
	return nil
}

// missingSolution returns the tasks of the converged solution, nil if there is none.
func (r *runner) missingSolution() (*wanted, error) {
	if r.Sampling.Stochastic() {
		return nil, nil
	}
	d, err := r.openFolder(convergedFolder, "", run{Method: convergedFolder})
	if err != nil {
		return nil, err
	}
	w := &wanted{result: d}
	have, err := d.count()
	want := min(r.Count, maxConverged)
	for from := have; from < want; from += convergedChunk {
		w.tasks = append(w.tasks, task{
			Run:       run{Method: convergedFolder},
			From:      from,
			To:        min(from+convergedChunk, want),
			Converged: true,
		})
	}
	return w, err
}

// fill brings a result to count images, which have of them are there: here, or by the Remote.
func (r *runner) fill(ctx context.Context, s run, d *result, have, count int, req tokencache.Request,
	made func(images float64)) error {
	if r.Remote == nil {
		return r.complete(ctx, d, have, count, req, made)
	}
	w, err := r.missing(s, d, count, false)
	if err != nil {
		return err
	}
	failures, err := r.fetch(ctx, []*wanted{w})
	return errors.Join(err, failures[s.folder()])
}

// fetchSolution has the converged solution made by the Remote.
func (r *runner) fetchSolution(ctx context.Context) (*result, error) {
	w, err := r.missingSolution()
	if err != nil {
		return nil, err
	}
	failures, err := r.fetch(ctx, []*wanted{w})
	return w.result, errors.Join(err, failures[convergedFolder+" "])
}

// ahead implements lab: it has the images of all trials made at the same time.
func (b *bench) ahead(ctx context.Context, next []*pick, images int) error {
	r := b.seen
	if r.Remote == nil {
		return nil
	}
	var all []*wanted
	for _, p := range next {
		s, err := b.run(ctx, p.arm, p.at)
		if err != nil {
			continue // the trial says it
		}
		policy, sampling, err := r.policyOf(s)
		if err != nil {
			continue
		}
		d, err := r.open(s, policy, sampling)
		if err != nil {
			continue
		}
		w, err := r.missing(s, d, images, false)
		if err != nil {
			return err
		}
		all = append(all, w)
	}
	_, err := r.fetch(ctx, all) // what fails is tried again by its trial, which says why
	return err
}
