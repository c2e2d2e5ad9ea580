package calibrate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/diffusion"
	"github.com/tokencache/tokencache/internal/atomicfile"
	"github.com/tokencache/tokencache/internal/regularfile"
)

// SolversFile is the file of learned solvers in a folder.
const SolversFile = "solvers.json"

// Solver fits a learned solver to a model: the timesteps and weights of a multistep method whose
// samples are near the converged solution of the probability-flow ODE.
//
// The solution of some images is computed once. Then the solver runs with the network on all of
// them together. At each step its weights are set by linear least squares, so that the state after
// the step is as near as possible to the solution, where frequencies count by how deviations
// survive to the end; and the run goes on from there. The timesteps begin where the universal
// solver has them, and are moved one by one as long as that brings the result nearer to the
// solution.
type Solver struct {
	Trials int     // moves of a timestep that are tried
	Few    int     // images that they are tried on
	Ridge  float64 // relative strength of the pull of the weights towards Adams' method
}

// NewSolver returns the default settings.
func NewSolver() *Solver { return &Solver{Trials: 100, Few: 16, Ridge: 1e-6} }

// LearnedSolverMethod is the name of Solver among the methods of calibration. It makes no policy.
const LearnedSolverMethod = "learned-solver"

// Fidelity is how near images are to the converged solution: the PSNR in dB of values clamped to
// [-1,1].
type Fidelity struct {
	Mean   float64 `json:"mean"`
	Min    float64 `json:"min"`
	Images int     `json:"images"`
	Seed   uint64  `json:"seed"`
}

// maxSolverSteps bounds the steps of a learned solver.
const maxSolverSteps = 64

// check reports settings that have no meaning.
func (c *Solver) check(o *Options) error {
	switch {
	case o.Steps < 2 || o.Steps > maxSolverSteps:
		return fmt.Errorf("a learned solver of %d steps: want 2 to %d", o.Steps, maxSolverSteps)
	case o.Images < 2 || c.Few < 2 || o.Measure < 1 || c.Trials < 0:
		return fmt.Errorf("%d images, %d of a trial, %d of a measurement and %d trials: want 2, 2, 1 and 0 or more",
			o.Images, c.Few, o.Measure, c.Trials)
	case !(c.Ridge > 0):
		return fmt.Errorf("ridge %g: want more than 0", c.Ridge)
	}
	return nil
}

// Run fits a solver of o.Steps evaluations under the guidance of o, and saves it in o.Dir next to
// those of other numbers of steps. Its provenance has the fidelity of the images that it was
// fitted to, and of o.Measure images of the seed that follows. Sampler, Spacing and Speed of o are
// not used.
func (c *Solver) Run(ctx context.Context, p *tokencache.Pipeline, o Options) (*diffusion.LearnedSolver, error) {
	if err := c.check(&o); err != nil {
		return nil, err
	}
	m, err := newMaker(p, o)
	if err != nil {
		return nil, err
	}
	net, err := m.newNetwork()
	if err != nil {
		return nil, err
	}
	defer net.close()
	truth, err := m.solution(ctx, o.Images, o.Seed)
	if err != nil {
		return nil, err
	}
	few := truth.first(min(c.Few, o.Images))
	nodes, err := c.place(net.of(ctx, few), few, startNodes(truth, o.Steps), m.stage)
	if err != nil {
		return nil, err
	}
	m.stage("fitting the weights on %d images", o.Images)
	fit := newSolverRun(net.of(ctx, truth), truth, nodes, c.Ridge)
	if err := fit.finish(); err != nil {
		return nil, err
	}
	l, err := fit.learned()
	if err != nil {
		return nil, err
	}
	unseen, err := m.solution(ctx, o.Measure, o.Seed+1)
	if err != nil {
		return nil, err
	}
	m.stage("measuring on %d unseen images", o.Measure)
	test := newSolverRun(net.of(ctx, unseen), unseen, nodes, c.Ridge)
	test.given = fit.weights
	if err := test.finish(); err != nil {
		return nil, err
	}
	l.Provenance = map[string]any{
		"command":  o.Command,
		"model":    p.Name(),
		"guidance": o.Guidance,
		"fitted":   fit.fidelity(o.Seed),
		"unseen":   test.fidelity(o.Seed + 1),
		"seconds":  math.Round(time.Since(m.start).Seconds()),
	}
	if o.GuidancePower != 0 {
		l.Provenance["guidance_power"] = o.GuidancePower
	}
	return l, SaveSolver(filepath.Join(o.Dir, SolversFile), l)
}

// startNodes returns the log-SNRs that the search begins with: those of the universal solver with
// the nearest number of steps, stretched to this one.
func startNodes(t *solution, steps int) []float64 {
	var nearest []float64
	for _, l := range diffusion.UniversalSolvers() {
		if nearest == nil || abs(len(l.Timesteps)-steps) < abs(len(nearest)-steps) {
			nearest = l.Timesteps
		}
	}
	linear := diffusion.UniversalSchedule()
	nodes := make([]float64, steps)
	for k := range nodes {
		at := float64(k) / float64(steps-1) * float64(len(nearest)-1)
		i := min(int(at), len(nearest)-2)
		from, to := linear.LogSNR(nearest[i]), linear.LogSNR(nearest[i+1])
		nodes[k] = from + (to-from)*(at-float64(i))
	}
	return nodes
}

func abs(n int) int { return max(n, -n) }

// OpenSolvers reads a file of learned solvers.
func OpenSolvers(path string) ([]*diffusion.LearnedSolver, error) {
	f, _, err := regularfile.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return diffusion.ReadLearnedSolvers(f)
}

// SaveSolver adds a learned solver to a file, which may be new. It takes the place of one of the
// same schedule and number of steps.
func SaveSolver(path string, l *diffusion.LearnedSolver) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return err
	}
	kept, err := OpenSolvers(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: %w", path, err)
	}
	kept = slices.DeleteFunc(kept, func(o *diffusion.LearnedSolver) bool {
		return o.Schedule == l.Schedule && len(o.Timesteps) == len(l.Timesteps)
	})
	kept = append(kept, l)
	slices.SortFunc(kept, func(a, b *diffusion.LearnedSolver) int { return len(a.Timesteps) - len(b.Timesteps) })
	return atomicfile.Write(path, func(w io.Writer) error { return diffusion.WriteLearnedSolvers(w, kept) })
}
