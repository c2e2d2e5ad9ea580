package comparison

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/tokencache/tokencache/internal/regularfile"
	"github.com/tokencache/tokencache/report"
)

// ErrNothingFinished reports a folder in which the uncached model's images are not all there yet.
var ErrNothingFinished = errors.New("the uncached images are not finished: there is nothing to compare with yet")

// Finished evaluates what a folder has, and generates, times and calibrates nothing: the results of
// o's settings that have o.Count images and, apart from the uncached model's, a time. The others
// are told to OnStage. It takes results of whatever policies, and Options.Policies is not used.
func Finished(ctx context.Context, o Options) (*Result, error) {
	r, err := newRunner(o)
	if err != nil {
		return nil, err
	}
	base, err := r.open(uncached(), nil, r.Sampling)
	if err != nil {
		return nil, err
	}
	if have, err := base.count(); err != nil || have < r.Count {
		return nil, cmp.Or(err, fmt.Errorf("%w: %d of %d", ErrNothingFinished, have, r.Count))
	}
	r.base = base
	if err := r.solvedAlready(ctx); err != nil {
		return nil, err
	}
	list, err := r.kept()
	if err != nil {
		return nil, err
	}
	r.all = float64(len(list))
	for n, d := range list {
		cell, images, err := r.evaluate(ctx, d, base)
		if err != nil {
			return nil, err
		}
		if err := r.describe(&cell, d.Run); err != nil { // a policy that is no longer there has no note
			r.stage("%s: %s", d.Run.Policy, err)
		}
		r.result.Cells, r.result.Images = append(r.result.Cells, cell), append(r.result.Images, images)
		r.progress(float64(n + 1))
	}
	markBest(r.result.Cells)
	r.result.MarkDisturbed()
	return r.result, nil
}

// kept returns the finished results, the uncached model's first, then in the order of the methods
// and by speed.
func (r *runner) kept() ([]*result, error) {
	entries, err := os.ReadDir(filepath.Join(r.Dir, cellsFolder))
	if err != nil {
		return nil, err
	}
	var list []*result
	for _, e := range entries {
		d := &result{dir: filepath.Join(r.Dir, cellsFolder, e.Name())}
		b, err := regularfile.Read(filepath.Join(d.dir, resultFile), regularfile.MaxText)
		switch {
		case errors.Is(err, os.ErrNotExist) || e.Name() == convergedFolder:
			continue
		case err == nil:
			err = json.Unmarshal(b, d)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", d.dir, err)
		}
		have, err := d.count()
		if err != nil {
			return nil, err
		}
		if have < r.Count || d.Timing == nil && !d.Run.isBase() {
			r.stage("left out: %s %s, with %d of %d images", d.Run.Method, d.Run, have, r.Count)
			continue
		}
		if d.Run.isBase() {
			d = r.base
		}
		list = append(list, d)
	}
	titles := []string{report.Uncached}
	for _, m := range allMethods() {
		titles = append(titles, r.title(&m))
	}
	place := func(d *result) int {
		if i := slices.Index(titles, d.Run.Method); i >= 0 {
			return i
		}
		return len(titles)
	}
	slices.SortStableFunc(list, func(a, b *result) int {
		return cmp.Or(cmp.Compare(place(a), place(b)), cmp.Compare(a.Run.Method, b.Run.Method),
			cmp.Compare(a.Run.Wanted, b.Run.Wanted))
	})
	return list, nil
}

// solvedAlready takes the converged solution if all of its images are there.
func (r *runner) solvedAlready(ctx context.Context) error {
	if !r.Sampling.Stochastic() {
		d, err := r.openFolder(convergedFolder, "", run{Method: convergedFolder})
		if err != nil {
			return err
		}
		if have, err := d.count(); err != nil || have < min(r.Count, maxConverged) {
			r.stage("left out: the converged solution, with %d of %d images", have, min(r.Count, maxConverged))
			return err
		}
	}
	return r.converge(ctx)
}
