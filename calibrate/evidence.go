package calibrate

import (
	"context"
	"fmt"
	"math"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/eval"
	"github.com/tokencache/tokencache/measure"
	"github.com/tokencache/tokencache/reuse"
)

const (
	enoughMeasured = 32 // images, from which on figures are not called rough
	timedImages    = 8  // of a measurement that decides a parameter
)

// Evidence says what a policy's figures were measured on, and more of them than the policy has.
type Evidence struct {
	Images  int    `json:"images"`
	Seed    uint64 `json:"seed"`              // none that the policy saw images of
	Classes int    `json:"classes,omitempty"` // that they are of
	Prompts int    `json:"prompts,omitempty"` // likewise

	PSNRUncached  *eval.Fidelity    `json:"psnr_uncached"`
	PSNRConverged *eval.Fidelity    `json:"psnr_converged,omitempty"`
	Converged     *measure.Solution `json:"converged,omitempty"`
	// Frechet is the distance from real images, FrechetRatio the factor by which it is larger than
	// that of the uncached images, with its paired interval.
	Frechet      *eval.Estimate `json:"frechet,omitempty"`
	FrechetRatio *eval.Estimate `json:"frechet_ratio,omitempty"`
	// Note says what there is to know of few images, and why there is no converged solution.
	Note string `json:"note,omitempty"`
}

// unseen is the seed of the images that policies are measured on.
func (m *maker) unseen() uint64 { return m.Seed + 1 }

// measured requests images that the policy was not made from, of all subjects or, where there are
// fewer images, of subjects evenly apart.
func (m *maker) measured(images int) tokencache.Request {
	req := m.request(images, m.unseen())
	m.Subjects.Spread(&req, images)
	return req
}

// measure measures the speed of a policy, which decides one of its parameters.
func (m *maker) measure(ctx context.Context, policy reuse.Policy, repeat int) (*measure.Comparison, error) {
	req := m.measured(min(m.Measure, timedImages))
	req.Policy = policy
	return measure.Compare(ctx, m.p, req, repeat)
}

// evidence measures a policy that is ready and sets its figures.
func (m *maker) evidence(ctx context.Context, t *reuse.Trained, repeat int) (*Evidence, error) {
	m.stage("measuring on %d unseen images", m.Measure)
	req := m.measured(m.Measure)
	req.Policy = t
	c, err := measure.Compare(ctx, m.p, req, repeat)
	if err != nil {
		return nil, err
	}
	if err := c.Converge(ctx, m.p, req); err != nil {
		return nil, err
	}
	t.Speed = SpeedOf(&c.Cost, c.Speedup, m.Speed, m.p.Arithmetic())
	t.PSNR = RoundPSNR(c.PSNRUncached.Mean)
	e := NewEvidence(m.Subjects, m.Measure, m.unseen(), c.NoSolution)
	e.PSNRUncached, e.PSNRConverged, e.Converged = c.PSNRUncached, c.PSNRConverged, c.Solution
	if m.Frechet != nil {
		e.Frechet, e.FrechetRatio, err = m.Frechet(ctx, c.Cached, c.Uncached)
	}
	return e, err
}

// NewEvidence returns the evidence of a number of images of a seed, of as many of the subjects as
// there are images, without figures. After a note, which may be "", it says where these are few.
func NewEvidence(s *tokencache.Subjects, images int, seed uint64, note string) *Evidence {
	e := &Evidence{Images: images, Seed: seed, Note: note}
	shown := min(images, s.Len())
	if s.Prompts() != nil {
		e.Prompts = shown
	} else {
		e.Classes = shown
	}
	if images < enoughMeasured {
		e.Add(fmt.Sprintf("rough: %d images, where %d were advised", images, enoughMeasured))
	}
	if shown < s.Len() {
		e.Add(fmt.Sprintf("of %d of the %s", shown, s))
	}
	return e
}

// Add adds a note.
func (e *Evidence) Add(text string) {
	if e.Note != "" {
		e.Note += "; "
	}
	e.Note += text
}

// SpeedOf returns the speed of a policy that was measured to be wall times as fast as the uncached
// model; wanted is the speed that it was made for, or 0.
func SpeedOf(c *reuse.Cost, wall, wanted float64, level string) reuse.Speed {
	return reuse.Speed{Wanted: wanted, FLOPs: c.FLOPReduction(), Wall: wall, Level: level}
}

// RoundPSNR rounds a PSNR to what policies record: hundredths of a decibel.
func RoundPSNR(db float64) float64 { return math.Round(100*db) / 100 }
