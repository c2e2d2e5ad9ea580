package comparison

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/tokencache/tokencache/calibrate"
	"github.com/tokencache/tokencache/internal/atomicfile"
	"github.com/tokencache/tokencache/report"
	"github.com/tokencache/tokencache/reuse"
)

// otherImages is how far apart the seeds of a calibration and of a comparison are.
const otherImages = 1000

// DefaultSeed is the seed of a comparison: another one than that of calibrations.
const DefaultSeed = 1 + otherImages

// SearchDefaults sets the settings of a search: policies are evaluated on other images than those
// that a calibration with seed learns from, and a TokenCache of each speed is calibrated with fewer
// trials than one policy alone.
func SearchDefaults(o *Options, seed uint64) {
	const batch = 4
	o.Seed = seed + otherImages
	o.Batch, o.Timed, o.Repeat = batch, batch, 3
	o.Calibration.Trials, o.Calibration.Few = 16, 8
}

// SearchMethods lists the methods that a search tries unless others are named: all but solvers, the
// control, the paper's versions, and l2c, which takes long to calibrate.
func SearchMethods() []string {
	omitted := []string{"update-norm", reuse.L2CMethod}
	return slices.DeleteFunc(cacheMethods(), func(name string) bool { return slices.Contains(omitted, name) })
}

// CheckMethods reports names that Search does not take: those of no method, and solvers, which are
// no policies.
func CheckMethods(names []string) error {
	known := cacheMethods()
	for _, name := range names {
		if !slices.Contains(known, name) {
			return fmt.Errorf("%q is no cache method to be tried: want some of %s", name, strings.Join(known, ", "))
		}
	}
	return nil
}

// searched are the speeds at which a search tries methods.
var searched = []float64{1.5, 2, 2.4, 3, 4, 5, 6, 8}

// ErrNoReference reports a target that is about Fréchet distances where there are no real images.
var ErrNoReference = errors.New("no real images to compute Fréchet distances to")

// Winner is the result of a search.
type Winner struct {
	*Result // everything that was tried, the uncached model first
	// Cell is the best policy's; nil if none meets the target.
	Cell *report.Cell
	// Policy is the best policy as one of its own, with its evidence; nil likewise.
	Policy *reuse.Trained
}

// Search searches the methods of o.Policies for the best policy that meets a target. Where a speed
// is wanted, each method is tried at it. Where quality is bounded, each is tried at the slowest
// speed that would be better than the best so far, and if it meets the bound at higher ones, by
// bisection.
func Search(ctx context.Context, o Options, t Target) (*Winner, error) {
	start := time.Now()
	r, err := newRunner(o)
	if err != nil {
		return nil, err
	}
	r.OnProgress = nil // of one run
	names := r.names()
	if err := CheckMethods(names); err != nil {
		return nil, err
	}
	if t.NeedsFrechet() && (o.Reference == nil || o.Reference.Gaussian == nil) {
		return nil, fmt.Errorf("target %s: %w", t.Text, ErrNoReference)
	}
	s := &search{runner: r, target: t, best: -1}
	if _, err := s.try(ctx, uncached()); err != nil {
		return nil, err
	}
	for n, name := range names {
		if o.OnProgress != nil {
			o.OnProgress(float64(n), float64(len(names)))
		}
		if err := s.method(ctx, methodOf(name)); err != nil {
			return nil, err
		}
	}
	w := &Winner{Result: r.result}
	if s.best < 0 {
		return w, nil
	}
	w.Cell = &r.result.Cells[s.best]
	if w.Policy, err = r.policy(w.Cell); err != nil {
		return nil, err
	}
	evidence := *w.Cell
	evidence.StepMillis, evidence.StepFLOPs = nil, nil // the report has them
	seen := w.Policy.Provenance["seed"]                // of the images that it learned from
	w.Policy.Provenance = map[string]any{
		"command":  o.Command,
		"target":   t.Text,
		"tried":    len(r.result.Cells) - 1,
		"images":   o.Count,
		"seed":     o.Seed,
		"seconds":  math.Round(time.Since(start).Seconds()),
		"evidence": &evidence,
	}
	if seen != nil {
		w.Policy.Provenance["other_seeds"] = []any{seen}
	}
	return w, nil
}

// search is the state of a search.
type search struct {
	*runner
	target Target
	best   int // cell; -1: none meets the target
	passed int // of searched, that some policy meets the target at
}

// method tries a method.
func (s *search) method(ctx context.Context, m *method) error {
	speeds := searched[s.passed:]
	if s.target.measure == targetSpeed {
		speeds = []float64{s.target.bound}
	}
	passed, err := climb(speeds, func(speed float64) (bool, error) { return s.test(ctx, m, speed) })
	if s.target.measure != targetSpeed {
		s.passed += passed
	}
	return err
}

// test reports whether a method meets the target at a speed.
func (s *search) test(ctx context.Context, m *method, speed float64) (bool, error) {
	one, ok := s.at(ctx, m, speed, s.target.measure == targetSpeed)
	if ctx.Err() != nil || !ok {
		return false, ctx.Err()
	}
	cells := s.result.Cells
	i := slices.IndexFunc(cells, func(c report.Cell) bool { return c.Policy == one.Policy && one.Error == "" })
	if i < 0 {
		var err error
		if i, err = s.try(ctx, one); err != nil {
			return false, err
		}
	}
	cell := &s.result.Cells[i]
	if !s.target.meets(cell) {
		return false, nil
	}
	if s.best < 0 || s.target.better(cell, &s.result.Cells[s.best]) {
		s.best = i
		s.stage("best so far: %s, %.2fx", cell.Policy, cell.Speedup)
	}
	return true, nil
}

// try measures a run and returns the index of its cell.
func (s *search) try(ctx context.Context, one run) (int, error) {
	err := s.measure(ctx, one)
	return len(s.result.Cells) - 1, err
}

// policy returns the policy of a cell as one of its own.
func (r *runner) policy(cell *report.Cell) (*reuse.Trained, error) {
	policy, err := r.Open(cell.Policy)
	if err != nil {
		return nil, err
	}
	t, ok := policy.(*reuse.Trained)
	if !ok {
		t = &reuse.Trained{Spec: reuse.Spec(cell.Policy)}
	}
	t.Model, t.Fingerprint, t.Sampling = r.Pipeline.Config().Name(), r.Pipeline.Fingerprint(), r.Sampling
	t.Speed = calibrate.SpeedOf(&cell.Cost, cell.Speedup, t.Speed.Wanted, r.Pipeline.Arithmetic())
	t.PSNR = calibrate.RoundPSNR(cell.PSNRUncached.Mean)
	return t, nil
}

// Save writes the best policy to a folder, with the file that it learned.
func (w *Winner) Save(dir string) error {
	learned := filepath.Join(w.Cell.Policy, reuse.PredictorFile)
	if _, err := os.Stat(learned); w.Policy.Spec != "" || errors.Is(err, os.ErrNotExist) {
		return w.Policy.Save(dir, nil)
	}
	b, err := os.ReadFile(learned)
	if err != nil {
		return err
	}
	return w.Policy.Save(dir, func(path string) error {
		return atomicfile.Write(path, func(w io.Writer) error {
			_, err := w.Write(b)
			return err
		})
	})
}

// climb returns the number of the speeds, which rise, that pass: it tries the first, and then
// bisects the others.
func climb(speeds []float64, pass func(speed float64) (bool, error)) (int, error) {
	if len(speeds) == 0 {
		return 0, nil
	}
	ok, err := pass(speeds[0])
	if err != nil || !ok {
		return 0, err
	}
	low, high := 1, len(speeds) // low pass, and at most high
	for low < high {
		middle := (low + high) / 2
		if ok, err = pass(speeds[middle]); err != nil {
			return 0, err
		}
		if ok {
			low = middle + 1
		} else {
			high = middle
		}
	}
	return low, nil
}
