package verify

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/tokencache/tokencache/diffusion"
	"github.com/tokencache/tokencache/tensor"
)

// Tolerances of runs of dopri5, whose second step hangs on rounding where the first made nearly no
// error, and of the lengths of its steps.
const (
	adaptiveTolerance = 1e-2
	tightTolerance    = 1e-3
	stepTolerance     = 3e-3
)

// flowRun is a recorded run of SiT's samplers, by its name.
type flowRun struct {
	kind, path, predicts, method string // ode or sde, ...
	points                       int    // num_steps
	sampling                     diffusion.Sampling
	unguided, reverse, tight     bool
}

var flowMethods = map[string]string{"heun2": "heun", "dopri5_tight": "dopri5", "Euler": "euler", "Heun": "heun"}

// parseFlowRun reads the name of a run.
func parseFlowRun(name string) (f flowRun, err error) {
	fields := joinNumbers(strings.Split(name, "."))
	if len(fields) < 4 {
		return f, fmt.Errorf("want a path, a prediction and a method")
	}
	f.kind, f.path, f.predicts, f.method = fields[0], fields[1], fields[2], fields[3]
	s := &f.sampling
	s.Sampler, s.Variant = f.kind, f.method
	if own, ok := flowMethods[f.method]; ok {
		s.Variant = own
	}
	if f.tight = f.method == "dopri5_tight"; f.tight {
		s.AbsTol, s.RelTol = 1e-5, 1e-5
	}
	fields = fields[4:]
	if f.kind == "sde" && len(fields) > 0 {
		s.Form, fields = fields[0], fields[1:]
	}
	for _, field := range fields {
		key, value := field, ""
		if at := strings.LastIndexByte(field, '_'); at >= 0 {
			key, value = field[:at], field[at+1:]
		}
		switch field {
		case "no_cfg":
			f.unguided = true
			continue
		case "reverse":
			f.reverse = true
			continue
		}
		switch key {
		case "steps":
			f.points, err = strconv.Atoi(value)
		case "last":
			s.LastStep = strings.ToLower(value)
		case "norm":
			s.FormScale, err = strconv.ParseFloat(value, 64)
		case "size":
			s.LastStepSize, err = strconv.ParseFloat(value, 64)
		case "sample_eps", "eps":
			s.SampleEps, err = strconv.ParseFloat(value, 64)
		case "train_eps":
		default:
			err = fmt.Errorf("unknown option %s", field)
		}
		if err != nil {
			return f, err
		}
	}
	if s.Steps = f.points; f.kind == "ode" && f.points > 0 {
		s.Steps-- // SiT counts the points
	}
	return f, nil
}

// joinNumbers joins what a split at dots took apart: numbers with a fraction.
func joinNumbers(fields []string) []string {
	for i := len(fields) - 1; i > 0; i-- {
		if _, err := strconv.Atoi(fields[i]); err == nil {
			fields[i-1] += "." + fields[i]
			fields = slices.Delete(fields, i, i+1)
		}
	}
	return fields
}

// sitRuns is what the runs of a file share.
type sitRuns struct {
	*recording
	flows    *flows
	z, ahead *tensor.Tensor // noise, and data for reverse runs: all images twice
	noise    []float32      // of each step, of the images once
	labels   []int32
	guidance diffusion.Guidance
}

func (r *run) flowSampling(f *flows, c *recording) error {
	s := sitRuns{recording: c, flows: f}
	var err error
	if s.z, err = c.matrix("z"); err != nil {
		return err
	}
	if s.labels, err = c.labels("y"); err != nil {
		return err
	}
	scale, err := c.Float32("cfg_scale")
	if err != nil || len(scale) != 1 || len(s.labels) != s.z.Rows || s.z.Rows%2 != 0 {
		return fmt.Errorf("want z and y of the images twice, and a cfg_scale: %w", err)
	}
	s.guidance = diffusion.Guidance{Scale: float64(scale[0])}
	if c.has("reverse.x1") {
		if s.ahead, err = c.matrix("reverse.x1"); err != nil {
			return err
		}
	}
	if c.has("sde.noise") {
		if s.noise, err = c.Float32("sde.noise"); err != nil {
			return err
		}
	}
	for _, name := range c.Names() {
		prefix, ok := strings.CutSuffix(name, ".x")
		if final, isFinal := strings.CutSuffix(name, ".x_final"); isFinal {
			prefix, ok = final, true
		}
		if !ok || !strings.HasPrefix(prefix, "ode.") && !strings.HasPrefix(prefix, "sde.") {
			continue
		}
		r.work("%s", prefix)
		if err := r.sitRun(&s, prefix); err != nil {
			r.fail(c.stem+"/"+prefix, err)
		}
	}
	if c.has("likelihood.euler.steps_5.logp") && !r.rounding.narrow() {
		if err := r.flowLikelihood(&s, "likelihood.euler.steps_5"); err != nil {
			return fmt.Errorf("likelihood: %w", err)
		}
	}
	if c.has("equation.t") {
		return r.equations(c)
	}
	return nil
}

// sitRun checks one run.
func (r *run) sitRun(s *sitRuns, name string) error {
	f, err := parseFlowRun(name)
	if err != nil {
		return err
	}
	m, err := s.flows.model(f.predicts)
	if err != nil {
		return err
	}
	rows, g := s.z.Rows, &s.guidance
	if f.unguided {
		rows, g = rows/2, nil
	}
	pass, err := r.newFlowPass(m, rows, s.z.Cols, s.labels, g)
	if err != nil {
		return err
	}
	network := m.Network()
	network.Schedule = diffusion.Path(f.path).Schedule()
	if r.rounding.narrow() {
		if f.kind != "ode" || f.predicts != mainFlow || strings.HasPrefix(f.method, "dopri5") {
			r.skip(s.stem+"/"+name, "runs other than a velocity's with fixed steps are compared in float32 only")
			return nil
		}
		scale := 1.0
		if g != nil {
			scale = g.Scale
		}
		r.rounding.after(diffusion.Guidance{Scale: scale}, f.points*f.evaluations())
	}
	if strings.HasPrefix(f.method, "dopri5") {
		return r.sitAdaptive(s, name, f, pass, network)
	}
	sampler, err := f.sampler(network)
	if err != nil {
		return err
	}
	got, err := s.steps(pass, f, sampler)
	if err != nil {
		return err
	}
	want, err := s.Float32(name + ".x")
	if err != nil {
		return err
	}
	size := s.z.Rows / 2 * s.z.Cols
	r.compareByStep(s.stem+"/"+name+".x", got, want, size, solverTolerance)
	if full := name + ".x_full"; s.has(full) {
		want, err := s.Float32(full)
		if err != nil {
			return err
		}
		got, err := s.bothHalves(pass, sampler)
		if err != nil {
			return err
		}
		r.compareByStep(s.stem+"/"+full, got, want, 2*size, solverTolerance)
	}
	return nil
}

// sampler returns the sampler of a run with fixed steps.
func (f flowRun) sampler(n diffusion.Network) (*diffusion.Multistep, error) {
	if f.reverse {
		// SiT's code goes from 1 to 1 less the end: of VP, to what keeps from the end.
		end := 0.0
		if f.path == string(diffusion.VPPath) {
			end = 1e-3
		}
		var times []float64
		for k := range f.points {
			times = append(times, 1+(end-1)*float64(k)/float64(f.points-1))
		}
		return diffusion.ODEThrough(n, f.sampling.Variant, times)
	}
	sampler, err := f.sampling.New(n)
	if err != nil {
		return nil, err
	}
	m, ok := sampler.(*diffusion.Multistep)
	if !ok {
		return nil, fmt.Errorf("a %T, want fixed steps", sampler)
	}
	return m, nil
}

// steps runs a sampler and returns the images once after every step of SiT's code, which may
// evaluate the network several times.
func (s *sitRuns) steps(pass *flowPass, f flowRun, sampler *diffusion.Multistep) ([]float32, error) {
	images, size := s.z.Rows/2, s.z.Cols
	start := s.z
	if f.reverse {
		start = s.ahead
	}
	draw := func(step, image int) []float32 { return s.noise[(step*images+image)*size:][:size] }
	paths := make([]*diffusion.Trajectory, images)
	stepSize := f.evaluations()
	for i := range paths {
		x := start.Row(i)
		if first := sampler.StartNoise(); first > 0 { // SiT's Heun adds noise before it evaluates
			x = slices.Clone(x)
			for k, z := range draw(0, i) {
				x[k] = float32((float64(x[k]) + first*float64(z)) / math.Hypot(1, first))
			}
		}
		paths[i] = diffusion.NewTrajectory(sampler, x)
	}
	var made []float32
	for !paths[0].Done() {
		for row := range pass.batch.X.Rows {
			copy(pass.batch.X.Row(row), paths[row%images].X())
		}
		out, err := pass.output(paths[0].Timestep())
		if err != nil {
			return nil, err
		}
		taken := paths[0].Taken() + 1
		scale := sampler.NoiseScale(paths[0].Index())
		ends := taken%stepSize == 0 || paths[0].Index() == 0
		for i, path := range paths {
			var z []float32
			if scale != 0 {
				z = draw((taken-1)/stepSize+stepSize-1, i) // of Heun the next step's
			}
			path.Step(out.Row(i), z)
			if !ends {
				continue
			}
			x := slices.Clone(path.X())
			if stepSize > 1 { // the noise of Heun's next step is in it already
				for k := range z {
					x[k] -= float32(scale * float64(z[k]))
				}
			}
			made = append(made, x...)
		}
	}
	if f.sampling.LastStep == diffusion.LastNone { // x is recorded again
		made = append(made, made[len(made)-images*size:]...)
	}
	return made, nil
}

// evaluations returns how many evaluations a step takes.
func (f flowRun) evaluations() int {
	return map[string]int{"heun": 2, "midpoint": 2, "heun3": 3, "rk4": 4}[f.sampling.Variant] + map[bool]int{true: 1}[f.sampling.Variant == "euler"]
}

// bothHalves runs a sampler of one evaluation a step with both halves of guidance.
func (s *sitRuns) bothHalves(pass *flowPass, sampler diffusion.Sampler) (made []float32, err error) {
	paths := make([]*diffusion.Trajectory, s.z.Rows)
	for i := range paths {
		paths[i] = diffusion.NewTrajectory(sampler, s.z.Row(i))
	}
	for !paths[0].Done() {
		for row := range paths {
			copy(pass.batch.X.Row(row), paths[row%(len(paths)/2)].X())
		}
		out, err := pass.output(paths[0].Timestep())
		if err != nil {
			return nil, err
		}
		for row, path := range paths {
			path.Step(out.Row(row), nil)
			made = append(made, path.X()...)
		}
	}
	return made, nil
}

// sitAdaptive checks a run of dopri5, of which SiT's code takes all rows as one.
func (r *run) sitAdaptive(s *sitRuns, name string, f flowRun, pass *flowPass, n diffusion.Network) error {
	sampler, err := f.sampling.New(n)
	if err != nil {
		return err
	}
	adaptive, ok := sampler.(*diffusion.Dopri5)
	if !ok {
		return fmt.Errorf("a %T, want dopri5", sampler)
	}
	var steps []diffusion.ODEStep
	adaptive.OnStep = func(step diffusion.ODEStep) { steps = append(steps, step) }
	rows, size := pass.batch.X.Rows, s.z.Cols
	path := diffusion.NewTrajectory(adaptive, s.z.Flat()[:rows*size])
	calls := 0
	for ; !path.Done(); calls++ {
		s.together(pass, path.X())
		out, err := pass.output(path.Timestep())
		if err != nil {
			return err
		}
		path.Step(out.Flat(), nil)
	}
	tolerance := adaptiveTolerance
	same := f.predicts == "score"
	if same || f.tight || f.predicts == "noise" {
		tolerance = tightTolerance
	}
	want, err := s.Float32(name + ".x_final")
	if err != nil {
		return err
	}
	r.compareByStep(s.stem+"/"+name+".x_final", path.X()[:len(want)], want, len(want), tolerance)
	if same {
		var flat []float32
		for _, step := range steps {
			accepted := float32(0)
			if step.Accepted {
				accepted = 1
			}
			flat = append(flat, float32(step.T), float32(step.Size), accepted)
		}
		r.compareRecorded(s.recording, name+".steps", flat, stepTolerance)
		r.compareRecorded(s.recording, name+".nfe", []float32{float32(calls)}, tolerance)
	}
	if s.has(name + ".x_saved") {
		return r.sitSaved(s, name, pass, n)
	}
	return nil
}

// together fills the batch with all rows, of which under guidance the first half counts.
func (s *sitRuns) together(pass *flowPass, x []float32) {
	rows, size := pass.batch.X.Rows, s.z.Cols
	images := rows
	if pass.guidance != nil {
		images /= 2
	}
	for row := range rows {
		copy(pass.batch.X.Row(row), x[row%images*size:][:size])
	}
}

// savedPoints are those that are recorded of the 50 that dopri5 interpolates.
var savedPoints = []int{1, 10, 25, 40}

// sitSaved checks points on the way of a run of velocities.
func (r *run) sitSaved(s *sitRuns, name string, pass *flowPass, n diffusion.Network) error {
	const points = 50
	times := make([]float64, points)
	for k := range times {
		times[k] = float64(k) / (points - 1)
	}
	rows := pass.batch.X.Rows * s.z.Cols
	start, single := make([]float64, rows), make([]float32, rows)
	for k, v := range s.z.Flat()[:rows] {
		start[k] = float64(v)
	}
	var failed error
	ys, _ := diffusion.SolveODE("dopri5", times, start, func(dy, y []float64, t float64) {
		for k, v := range y {
			single[k] = float32(v)
		}
		s.together(pass, single)
		out, err := pass.output(diffusion.Timesteps * (1 - t))
		if err != nil {
			failed = err
			return
		}
		for k, v := range out.Flat() {
			dy[k] = float64(v)
		}
	})
	want, err := s.Float32(name + ".x_saved")
	if err != nil || failed != nil {
		return fmt.Errorf("x_saved: %v, %w", err, failed)
	}
	size := len(want) / len(savedPoints)
	var got []float32
	for _, point := range savedPoints {
		for _, v := range ys[point][:size] {
			got = append(got, float32(v))
		}
	}
	r.compareByStep(s.stem+"/"+name+".x_saved", got, want, size, adaptiveTolerance)
	return nil
}

// equations checks the integrators alone, in float64, on an equation of which the solution was
// recorded.
func (r *run) equations(c *recording) error {
	times, err := c.Float32("equation.t")
	if err != nil {
		return err
	}
	omega, err := c.Float64("equation.omega")
	if err != nil {
		return err
	}
	at := make([]float64, len(times))
	for k := range at {
		at[k] = 0.5 * float64(k)
	}
	for _, name := range c.Names() {
		method, ok := strings.CutPrefix(strings.TrimSuffix(name, ".y"), "equation.")
		if !ok || !strings.HasSuffix(name, ".y") {
			continue
		}
		own := method
		if method == "heun2" {
			own = "heun"
		}
		calls := 0
		ys, steps := diffusion.SolveODE(own, at, []float64{0.5, -1}, func(dy, y []float64, t float64) {
			calls++
			dy[0], dy[1] = y[1], (1-y[0]*y[0])*y[1]-y[0]+math.Cos(omega[0]*t)
		})
		want, err := c.Float64(name)
		if err != nil {
			return err
		}
		r.compare64(c.stem+"/"+name, slices.Concat(ys...), want)
		if len(steps) == 0 {
			continue
		}
		var flat []float64
		for _, step := range steps {
			accepted := 0.0
			if step.Accepted {
				accepted = 1
			}
			flat = append(flat, step.T, step.Size, accepted)
		}
		if want, err = c.Float64("equation.dopri5.steps"); err != nil {
			return err
		}
		r.compare64(c.stem+"/equation.dopri5.steps", flat, want)
		r.compareRecorded(c, "equation.dopri5.nfe", []float32{float32(calls)}, tolerance)
	}
	return nil
}

// doubleTolerance is of computations in float64.
const doubleTolerance = 1e-10

// compare64 checks numbers of float64 by their largest.
func (r *run) compare64(name string, got, want []float64) {
	c := Check{Name: name, Tolerance: doubleTolerance}
	if len(got) != len(want) {
		c.Error, c.Reason = noNumber, fmt.Sprintf("%d numbers, want %d", len(got), len(want))
		r.add(c)
		return
	}
	largest := 0.0
	for k, w := range want {
		largest = max(largest, math.Abs(w))
		c.Error = max(c.Error, math.Abs(got[k]-w))
	}
	c.Error /= largest
	r.add(c)
}
