package verify

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/tokencache/tokencache/checkpoint"
	"github.com/tokencache/tokencache/diffusion"
	"github.com/tokencache/tokencache/dit"
	"github.com/tokencache/tokencache/tensor"
)

// solverInputs is the file with the starts of recorded solver runs.
const solverInputs = "inputs.safetensors"

// solverTolerance is of the largest number of a step, or of 1: diffusers in float32 is up to 3e-5
// from its formulas.
const solverTolerance = 2e-4

// isSolverFolder reports whether dir holds recorded runs of diffusers' solvers: their inputs have
// the noise schedule.
func isSolverFolder(dir string) bool {
	f, err := checkpoint.Open(filepath.Join(dir, solverInputs))
	if err != nil {
		return false
	}
	defer f.Close()
	_, ok := f.Lookup("alphas_cumprod")
	return ok
}

// solvers checks the named files of recorded runs and tables.
func (r *run) solvers(dir string, names []string) error {
	w, err := dit.Open(filepath.Join(dir, "model.safetensors"), dit.Options{})
	if err != nil {
		return err
	}
	defer w.Close()
	m, err := w.Load()
	if err != nil {
		return err
	}
	inputs, err := openRecording(filepath.Join(dir, solverInputs))
	if err != nil {
		return err
	}
	defer inputs.Close()
	noise := solverNetwork{model: m}
	if noise.start, err = inputs.solverStart(m, ""); err != nil {
		return err
	}
	flow, closeFlow := solverFlow(dir, inputs)
	defer closeFlow()
	for _, name := range names {
		if name == solverInputs || name == "model.safetensors" {
			continue
		}
		c, err := openRecording(filepath.Join(dir, name))
		if err != nil {
			r.fail(stem(name), err)
			continue
		}
		if err := r.solverFile(noise, flow, c); err != nil {
			r.fail(c.stem, err)
		}
		c.Close()
		if err := r.graph.Err(); err != nil {
			return err
		}
	}
	return nil
}

// solverNetwork is a network that solvers were recorded on, and what all runs on it start from.
type solverNetwork struct {
	model *dit.Model
	start denoising
	err   error // why there is none
}

// The folder of recorded solvers, and the one of the network of its flows, which is next to it under
// the same suffix.
const (
	solverFolder = "solvers"
	flowFolder   = "sit-tiny"
)

// solverFlow opens the flow that solvers in dir were recorded on.
func solverFlow(dir string, inputs *recording) (n solverNetwork, closed func()) {
	if !inputs.has("flow.x_T") {
		n.err = errors.New("inputs.safetensors has no flow.x_T")
		return n, func() {}
	}
	full, err := filepath.Abs(dir)
	if err != nil {
		return solverNetwork{err: err}, func() {}
	}
	suffix := strings.TrimPrefix(filepath.Base(full), solverFolder)
	w, err := dit.Open(filepath.Join(filepath.Dir(full), flowFolder+suffix, "model.safetensors"), dit.Options{})
	if err != nil {
		return solverNetwork{err: fmt.Errorf("the network of flows: %w", err)}, func() {}
	}
	if n.model, n.err = w.Load(); n.err == nil {
		n.start, n.err = inputs.solverStart(n.model, "flow.")
	}
	return n, func() { w.Close() }
}

// solverStart reads what all runs on a network start from. The recordings have the images once,
// guidance needs them twice.
func (c *recording) solverStart(m *dit.Model, network string) (denoising, error) {
	x, err := c.matrix(network + "x_T")
	if err != nil {
		return denoising{}, err
	}
	d := denoising{start: tensor.FromSlice(slices.Repeat(x.Flat(), 2), 2*x.Rows, x.Cols)}
	if d.labels, err = c.labels(network + "y"); err != nil {
		return d, err
	}
	if len(d.labels) != d.start.Rows {
		return d, fmt.Errorf("%d labels for %d rows of x_T: want two of each", len(d.labels), x.Rows)
	}
	scale, err := c.Float32(network + "cfg_scale")
	if err != nil || len(scale) != 1 {
		return d, fmt.Errorf("tensor cfg_scale: want one number: %w", err)
	}
	d.guidance = guidance(m.Config, float64(scale[0]), officialPower)
	return d, nil
}

// solverFile checks every run and every table of a file. Those of flow models are skipped where
// their network is not there.
func (r *run) solverFile(noise, flow solverNetwork, c *recording) error {
	skipped := 0
	for _, name := range c.Names() {
		prefix, isRun := strings.CutSuffix(name, ".x")
		if !isRun {
			var isTable bool
			if prefix, isTable = strings.CutSuffix(name, ".timesteps"); !isTable || c.has(prefix+".x") {
				continue
			}
		}
		on := noise
		if isFlowRun(name) {
			on = flow
		}
		if on.err != nil && isRun {
			skipped++
			continue
		}
		sampler, err := recordedSolver(prefix)
		if err == nil && isRun {
			err = r.solverRun(on.model, c, prefix, sampler, on.start)
		}
		if err == nil {
			err = r.solverTable(c, prefix, sampler)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", prefix, err)
		}
	}
	if skipped > 0 {
		r.skip(c.stem, fmt.Sprintf("%d recordings are of a flow: %v", skipped, flow.err))
	}
	return nil
}

// isFlowRun tells whether a recording of that name is of a flow.
func isFlowRun(name string) bool { return strings.HasPrefix(name, flowRunPrefix) }

const flowRunPrefix = "flow_"

// recordedSolver returns the solver of a recording's name.
func recordedSolver(name string) (*diffusion.Multistep, error) {
	s, err := solverSampling(name)
	if err != nil {
		return nil, err
	}
	network := diffusion.Network{}
	if isFlowRun(name) {
		network.Schedule, network.Prediction = diffusion.LinearPath.Schedule(), diffusion.PredictVelocity
	}
	sampler, err := s.New(network)
	if err != nil {
		return nil, err
	}
	solver, ok := sampler.(*diffusion.Multistep)
	if !ok {
		return nil, fmt.Errorf("%+v is sampled by a %T, not by a solver of diffusers", s, sampler)
	}
	return solver, nil
}

// solverSampling reads the name of a recorded run or table: the sampler and options, joined by
// dots.
func solverSampling(name string) (diffusion.Sampling, error) {
	fields := joinNumbers(strings.Split(strings.TrimPrefix(name, flowRunPrefix), "."))
	s := diffusion.Sampling{Sampler: strings.Replace(fields[0], "dpmpp", "dpm++", 1)}
	if s.Sampler == "deis" {
		s.Final = diffusion.FinalSigmaMin // always, in diffusers
	}
	curve := ""
	for _, field := range fields[1:] {
		if err := solverOption(&s, &curve, field); err != nil {
			return s, fmt.Errorf("option %s: %w", field, err)
		}
	}
	if isFlowRun(name) {
		s.Spacing = cmp.Or(curve, "linspace")
		if slices.Contains(fields, "linear") {
			s.Mu = math.Log(s.Mu) // the shift itself was given
		}
		return s, nil
	}
	switch {
	case s.Spacing == "" || curve != "" && !slices.Contains([]string{"euler", "euler_a", "lms"}, s.Sampler):
		s.Spacing = curve
	case curve != "":
		s.Spacing += "+" + curve
	}
	return s, nil
}

func solverOption(s *diffusion.Sampling, curve *string, field string) (err error) {
	key, value, _ := strings.Cut(field, "_")
	switch field {
	case "midpoint", "heun", "bh1", "bh2", "plms", "prk", "stochastic":
		s.Variant = field
	case "x0", "eps":
		s.Predict = field
	case "linspace", "leading", "trailing":
		s.Spacing = field
	case "karras", "exponential", "lu", "beta":
		*curve = field
	case "final_zero", "alpha_one":
		s.Final = diffusion.FinalZero
	case "final_sigma_min", "alpha_first":
		s.Final = diffusion.FinalSigmaMin
	case "linear":
	case "no_lower_order_final":
		s.NoLowerOrderFinal = true
	case "euler_at_final":
		s.EulerAtFinal = true
	case "clip_1.0":
		s.Clip = true
	default:
		switch key {
		case "steps":
			s.Steps, err = strconv.Atoi(value)
		case "order":
			s.Order, err = strconv.Atoi(value)
		case "offset":
			s.StepsOffset, err = strconv.Atoi(value)
			if s.Spacing != "leading" {
				s.StepsOffset = 0 // diffusers ignores it
			}
		case "shift":
			s.Shift, err = strconv.ParseFloat(value, 64)
		case "mu":
			s.Mu, err = strconv.ParseFloat(value, 64)
		case "terminal":
			s.ShiftTerminal, err = strconv.ParseFloat(value, 64)
		case "eta":
			s.Eta, err = strconv.ParseFloat(value, 64)
		case "no":
			steps, ok := strings.CutPrefix(value, "corrector_")
			if !ok {
				return fmt.Errorf("unknown")
			}
			s.DisableCorrector = strings.ReplaceAll(steps, "_", ",")
		default:
			return fmt.Errorf("unknown")
		}
	}
	return err
}

// solverRun checks x after every step, and the x_0 predicted there.
func (r *run) solverRun(m *dit.Model, c *recording, prefix string, solver *diffusion.Multistep, start denoising) error {
	start.sampler = solver
	images := start.start.Rows / 2
	size := images * start.start.Cols // of a step's images
	x, err := c.Float32(prefix + ".x")
	if err != nil {
		return err
	}
	steps := solver.Steps()
	if len(x) != steps*size {
		return fmt.Errorf("%d numbers of x, want %d", len(x), steps*size)
	}
	if c.has(prefix + ".noise") {
		noise, err := c.Float32(prefix + ".noise")
		if err != nil {
			return err
		}
		if len(noise) != steps*size {
			return fmt.Errorf("%d numbers of noise, want %d", len(noise), steps*size)
		}
		for step := range steps {
			start.noise = append(start.noise, slices.Repeat(noise[step*size:][:size], 2)...)
		}
	}
	r.work("%s", prefix)
	done, err := r.denoise(m, start)
	if err != nil {
		return err
	}
	// Samplers of x/alpha are recorded as such.
	if name, _, _ := strings.Cut(prefix, "."); slices.Contains([]string{"euler", "euler_a", "lms"}, name) {
		for k := range x {
			x[k] *= float32(solver.Level(steps - 2 - k/size).Alpha)
		}
	}
	r.compareSteps(c.stem+"/"+prefix+".x", done.x, x, size)
	if !c.has(prefix + ".pred_x0") {
		return nil
	}
	x0, err := c.Float32(prefix + ".pred_x0")
	if err != nil {
		return err
	}
	r.compareSteps(c.stem+"/"+prefix+".pred_x0", done.predictions, x0, size)
	return nil
}

// compareSteps checks the first halves of the steps of got against want, [steps, size], by each
// step's largest number.
func (r *run) compareSteps(name string, got, want []float32, size int) {
	var first []float32
	for step := range slices.Chunk(got, 2*size) {
		first = append(first, step[:min(size, len(step))]...)
	}
	r.compareByStep(name, first, want, size, solverTolerance)
}

// compareByStep checks got against want, both [steps, size], by each step's largest number.
func (r *run) compareByStep(name string, got, want []float32, size int, tolerance float64) {
	check := Check{Name: name, Tolerance: r.tolerance(tolerance)}
	if len(got) != len(want) {
		check.Error, check.Reason = noNumber, fmt.Sprintf("%d numbers, want %d", len(got), len(want))
	}
	for at := 0; at < len(want) && check.Reason == ""; at += size {
		largest, worst := 1.0, 0.0
		for k, w := range want[at : at+size] {
			largest = max(largest, math.Abs(float64(w)))
			worst = max(worst, math.Abs(float64(got[at+k])-float64(w)))
		}
		if math.IsNaN(worst) {
			worst = noNumber
		}
		check.Error = max(check.Error, worst/largest)
	}
	r.add(check)
}

// solverTable checks the timesteps and, where there are any, the noise levels.
func (r *run) solverTable(c *recording, prefix string, solver *diffusion.Multistep) error {
	n := solver.Steps()
	timesteps, sigmas := make([]float32, n), make([]float32, n+1)
	for k := range sigmas {
		sigmas[k] = float32(solver.Sigma(n - 1 - k))
		if isFlowRun(prefix) {
			sigmas[k] = float32(solver.Level(n - 1 - k).Sigma)
		}
		if k < n {
			timesteps[k] = float32(solver.Timestep(n - 1 - k))
		}
	}
	for name, got := range map[string][]float32{".timesteps": timesteps, ".sigmas": sigmas} {
		if !c.has(prefix + name) {
			continue
		}
		want, err := c.Float32(prefix + name)
		if err != nil {
			return err
		}
		r.compare(c.stem+"/"+prefix+name, got, want, solverTolerance)
	}
	return nil
}
