package comparison

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/diffusion"
	"github.com/tokencache/tokencache/eval"
	"github.com/tokencache/tokencache/measure"
	"github.com/tokencache/tokencache/report"
)

const (
	convergedFolder = "converged" // in cellsFolder
	convergedChunk  = 32          // images of a file of the converged solution
	convergedWork   = 4           // of a converged image, in uncached ones of 50 steps

	// maxConverged is of how many images there is a converged solution at most: enough for a mean.
	maxConverged = 256
)

// converge solves what all cells approximate: the ODE of the comparison's own sampling from the
// same noise. It is kept next to the cells and solved once. Where the sampler is stochastic there
// is none.
func (r *runner) converge(ctx context.Context) error {
	if r.Sampling.Stochastic() {
		none := &diffusion.StochasticError{Sampling: r.Sampling.WithDefaults()}
		r.result.Converged = &report.Converged{None: none.Error()}
		return nil
	}
	d, err := r.openFolder(convergedFolder, "", run{Method: convergedFolder})
	if err != nil {
		return err
	}
	have, err := d.count()
	if err != nil {
		return err
	}
	want := min(r.Count, maxConverged)
	if have < want {
		r.stage("solving the ODE of %d images until it converges", want-have)
	}
	if have < want && r.Remote != nil {
		if d, err = r.fetchSolution(ctx); err != nil {
			return err
		}
		have = want
	}
	before := r.done
	for from := have; from < want; from += convergedChunk {
		req := r.request(from, min(convergedChunk, want-from))
		req.OnStep = func(s tokencache.Progress) {
			r.progress(before + convergedWork*(float64(from-have)+float64(s.Images)*s.Share()))
		}
		c, err := r.Pipeline.Converged(ctx, req)
		if err != nil {
			return err
		}
		own, err := measure.SolutionOf(c)
		if err != nil {
			return err
		}
		if d.Solution == nil {
			d.Solution = own // psnr_half is of the first images
		}
		d.Solution.Error = max(d.Solution.Error, own.Error)
		d.Stats = c.Stats
		if err := d.save(); err != nil { // first, so that images are never there without what they are of
			return err
		}
		if err := d.write(from, c.Images); err != nil {
			return err
		}
	}
	if d.Solution == nil {
		return fmt.Errorf("%s has images of a converged solution and does not say its error: delete the folder", d.dir)
	}
	r.progress(before + r.convergedWork())
	r.solution = d
	r.result.Converged = &report.Converged{
		Images:      want,
		Evaluations: d.Solution.Evaluations,
		Error:       d.Solution.Error,
		PSNRHalf:    d.Solution.PSNRHalf,
	}
	r.stage("the converged solution: %d evaluations; half of them give the same within %.1f dB (latents %.1g)",
		d.Solution.Evaluations, d.Solution.PSNRHalf.Mean, d.Solution.Error)
	return nil
}

// solvedImages is of how many images a converged solution is kept.
func (r *runner) solvedImages() int {
	d := &result{dir: filepath.Join(r.Dir, cellsFolder, convergedFolder)}
	have, err := d.count()
	if err != nil {
		return 0
	}
	return have
}

// convergedWork is what converge takes, as work is of a run.
func (r *runner) convergedWork() float64 {
	if r.Sampling.Stochastic() {
		return 0
	}
	return convergedWork * float64(min(r.Count, maxConverged))
}

// fidelity returns how near images are to the first ones of another result.
func fidelity(images []tokencache.Image, other *result) (*eval.Fidelity, error) {
	others, err := other.first(len(images))
	if err != nil {
		return nil, err
	}
	return measure.Fidelity(images, others)
}
