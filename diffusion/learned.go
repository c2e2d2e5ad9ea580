package diffusion

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// LearnedSolver is a linear multistep method whose timesteps and weights were fitted to the
// converged probability-flow ODE of a network: sampler "learned" at one number of evaluations.
// With y = x/Alpha and s = Sigma/Alpha, step k takes y to
//
//	Weights[k][0]*y + (s' - s) * sum over j of Weights[k][1+j]*eps_j
//
// where eps_0 is this step's prediction of the noise, guided if there is guidance, eps_1 that of
// the step before, and so on; s' is 0 at the last step. A consistent method has weights of 1 for y
// and of sum 1 for the predictions; fitted ones are near that. Nothing inside the network is kept.
//
// Solvers fitted to a network are those of Bespoke Solvers (Shaul et al. 2023, arXiv 2310.19075),
// Bespoke Non-Stationary Solvers (Shaul et al. 2024, arXiv 2403.01329, whose equation 12 has this
// form with all past predictions), S4S (Frankel et al. 2025, arXiv 2502.17423), Differentiable
// Solver Search (Wang et al. 2025, arXiv 2505.21114) and L2P (arXiv 2604.26365). They minimize a
// loss by gradient descent through the network; here the weights are linear least squares on the
// solver's own trajectory, see package calibrate.
type LearnedSolver struct {
	Schedule  string      `json:"schedule"`  // as Network has it
	Timesteps []float64   `json:"timesteps"` // of the evaluations: falling, real
	Weights   [][]float64 `json:"weights"`   // of each step: of y, then of predictions, the newest first
	// Provenance tells how it was made, for people to read.
	Provenance map[string]any `json:"provenance,omitempty"`
}

// maxLearnedPast bounds the predictions that a step combines.
const maxLearnedPast = 8

// learnedFormat is the version of the files of learned solvers.
const learnedFormat = 1

// learnedFile is a file of learned solvers.
type learnedFile struct {
	Format  int              `json:"format"`
	Solvers []*LearnedSolver `json:"solvers"`
}

// Validate reports timesteps or weights that have no meaning.
func (l *LearnedSolver) Validate() error {
	schedule, err := ParseSchedule(l.Schedule, Timesteps)
	if err != nil {
		return err
	}
	n, last := len(l.Timesteps), schedule.First()
	if n == 0 || len(l.Weights) != n {
		return fmt.Errorf("learned solver: %d timesteps and weights of %d steps, want as many, 1 or more",
			n, len(l.Weights))
	}
	for k, t := range l.Timesteps {
		if !(t >= 0 && t <= last) || k > 0 && t >= l.Timesteps[k-1] {
			return fmt.Errorf("learned solver: timestep %v at step %d: want falling ones from %v to 0", t, k, last)
		}
		w := l.Weights[k]
		if most := 1 + min(k+1, maxLearnedPast); len(w) < 2 || len(w) > most {
			return fmt.Errorf("learned solver: %d weights at step %d, want 2 to %d", len(w), k, most)
		}
		if slices.ContainsFunc(w, func(v float64) bool { return !finite(v) }) {
			return fmt.Errorf("learned solver: weights %v at step %d: want finite numbers", w, k)
		}
	}
	return nil
}

// Digest identifies what the solver computes: equal digests mean equal samples.
func (l *LearnedSolver) Digest() string {
	text, err := json.Marshal(LearnedSolver{Schedule: l.Schedule, Timesteps: l.Timesteps, Weights: l.Weights})
	if err != nil { // only numbers that are not finite, which no valid solver has
		text = []byte(err.Error())
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:16])
}

// solver returns the tables of l, which is valid.
//
// On a network of another schedule it visits the levels of the same log-SNR.
func (l *LearnedSolver) solver(schedule Schedule, clip bool) (*Multistep, error) {
	own, err := ParseSchedule(l.Schedule, Timesteps)
	if err != nil {
		return nil, err
	}
	same := own.path == schedule.path && own.noiseScale() == schedule.noiseScale()
	g := grid{end: clean}
	for _, t := range l.Timesteps {
		at := own.point(t)
		if !same {
			at = schedule.pointOf(own.LogSNR(t))
		}
		g.points = append(g.points, at)
	}
	slots := 0
	for _, w := range l.Weights {
		slots = max(slots, len(w)-1)
	}
	m := Sampling{Clip: clip}.newMultistep(g, predictedNoise, slots)
	for k, from := range g.points {
		to := g.level(k + 1)
		scale := to.Alpha * (to.ratio() - from.level.ratio())
		w := weights{x: l.Weights[k][0] * to.Alpha / from.level.Alpha}
		for _, v := range l.Weights[k][1:] {
			w.past = append(w.past, scale*v)
		}
		if past := len(w.past) - 1; past > 0 {
			m.add(k, 0, firstOrder(predictedNoise, from.level, to)) // after a Seek
			m.add(k, past, w)
		} else {
			m.add(k, 0, w)
		}
	}
	return m, nil
}

// ReadLearnedSolvers reads a file that WriteLearnedSolvers wrote.
func ReadLearnedSolvers(r io.Reader) ([]*LearnedSolver, error) {
	var f learnedFile
	d := json.NewDecoder(r)
	d.DisallowUnknownFields()
	if err := d.Decode(&f); err != nil {
		return nil, fmt.Errorf("learned solvers: %w", err)
	}
	if f.Format != learnedFormat || len(f.Solvers) == 0 {
		return nil, fmt.Errorf("learned solvers: format %d with %d solvers, want format %d with 1 or more",
			f.Format, len(f.Solvers), learnedFormat)
	}
	for _, l := range f.Solvers {
		if l == nil {
			return nil, errors.New("learned solvers: one is null")
		}
		if err := l.Validate(); err != nil {
			return nil, err
		}
	}
	return f.Solvers, nil
}

// WriteLearnedSolvers writes learned solvers as JSON.
func WriteLearnedSolvers(w io.Writer, solvers []*LearnedSolver) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	return e.Encode(learnedFile{learnedFormat, solvers})
}

//go:embed learned.json
var universalFile []byte

// UniversalSolvers returns the learned solvers that are used with networks that have none of their
// own, for the schedule linear and, by log-SNR, for flows. They were fitted to one network under one
// guidance, and carry over:
// docs/experiments.md has what that costs.
func UniversalSolvers() []*LearnedSolver { return universal() }

// UniversalSchedule returns the schedule of the universal solvers.
func UniversalSchedule() Schedule {
	s, _ := Linear(Timesteps) // which is long enough
	return s
}

var universal = sync.OnceValue(func() []*LearnedSolver {
	solvers, err := ReadLearnedSolvers(bytes.NewReader(universalFile))
	if err != nil {
		panic(err) // a broken build
	}
	return solvers
})

// learnedSolver returns the learned solver of s.Steps evaluations: the network's own or, where it
// has none for as many, the universal one.
func (s Sampling) learnedSolver(n Network) (*LearnedSolver, error) {
	if s.Spacing != "" {
		return nil, &FieldError{"Spacing", abbreviate(s.Spacing), "none: sampler \"learned\" has timesteps of its own"}
	}
	name := func(schedule string) string {
		if schedule == "" {
			return "linear"
		}
		return schedule
	}
	_, flow := flowSchedules[n.Schedule]
	var counts []int
	for k, l := range slices.Concat(n.Learned, UniversalSolvers()) {
		universal := k >= len(n.Learned)
		if name(l.Schedule) != name(n.Schedule) && !(flow && universal) {
			continue
		}
		if len(l.Timesteps) == s.Steps {
			return l, nil
		}
		counts = append(counts, len(l.Timesteps))
	}
	if len(counts) == 0 {
		return nil, fmt.Errorf("sampler \"learned\": there are no weights for the schedule %s", name(n.Schedule))
	}
	slices.Sort(counts)
	var want []string
	for _, c := range slices.Compact(counts) {
		want = append(want, strconv.Itoa(c))
	}
	return nil, &FieldError{"Steps", s.Steps, strings.Join(want, ", ") + " with sampler \"learned\""}
}

// learned returns the solver with learned weights.
func (s Sampling) learned(n Network, schedule Schedule) (*Multistep, error) {
	l, err := s.learnedSolver(n)
	if err != nil {
		return nil, err
	}
	if err := l.Validate(); err != nil {
		return nil, err
	}
	return l.solver(schedule, s.Clip)
}

// SolverDigest identifies the learned weights that s samples with, which s does not tell. It is ""
// for all other samplers, and where there is no solver for s.
func (s Sampling) SolverDigest(n Network) string {
	if s.Sampler != learnedName {
		return ""
	}
	l, err := s.WithDefaults().learnedSolver(n)
	if err != nil {
		return ""
	}
	return l.Digest()
}

// learnedName is the name of the sampler with learned weights.
const learnedName = "learned"
