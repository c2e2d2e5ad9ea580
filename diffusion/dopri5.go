package diffusion

// Default tolerances of dopri5, SiT's.
const (
	defaultAbsTol = 1e-6
	defaultRelTol = 1e-3
)

// maxDopriCalls bounds the evaluations of an image: far above what smooth velocities need.
const maxDopriCalls = 6*500 + 2

// adaptive tells whether the steps are chosen while sampling.
func (s Sampling) adaptive() bool {
	return s.Sampler == odeName && (s.Variant == "" || s.Variant == dopriName)
}

// Dopri5 is the method of Dormand and Prince 1980 of fifth order with steps of its own choosing, on
// the velocity of a flow, as torchdiffeq has it. The error of a step is the root mean square over
// all values of a trajectory, one image, so that an image does not depend on others.
//
// It evaluates beyond the end: the last step is not cut, and the sample is read from its
// interpolation.
type Dopri5 struct {
	schedule       Schedule
	from, to       float64 // of t
	absTol, relTol float64

	// OnStep, if not nil, is told of every step that a trajectory tries.
	OnStep func(ODEStep)
}

func (s Sampling) dopri5(schedule Schedule) (Sampler, error) {
	if s.Clip {
		return nil, &FieldError{"Clip", true, "false with dopri5"}
	}
	d := &Dopri5{schedule: schedule, absTol: s.AbsTol, relTol: s.RelTol}
	d.from, d.to = s.span(schedule)
	if d.absTol == 0 {
		d.absTol = defaultAbsTol
	}
	if d.relTol == 0 {
		d.relTol = defaultRelTol
	}
	return d, nil
}

// Steps returns the largest number of evaluations. A trajectory ends before.
func (d *Dopri5) Steps() int { return maxDopriCalls }

// Timestep returns the timestep of even steps. Those of a trajectory are its own.
func (d *Dopri5) Timestep(i int) float64 {
	return timestepOfTime(d.to + (d.from-d.to)*float64(i+1)/maxDopriCalls)
}

// LogSNR implements Sampler, for even steps.
func (d *Dopri5) LogSNR(i int) float64 { return d.schedule.LogSNR(d.Timestep(i)) }

// Sigma implements Sampler, for even steps.
func (d *Dopri5) Sigma(i int) float64 { return d.schedule.Level(d.Timestep(i)).ratio() }

// DrawsNoise reports false.
func (d *Dopri5) DrawsNoise() bool { return false }

func (d *Dopri5) memory() (past int, base bool) { return dopriStages, true }

func (d *Dopri5) startScale() float32 { return float32(d.schedule.noiseScale()) }

// begin starts a trajectory, whose memory is as long as x.
func (d *Dopri5) begin(t *Trajectory) {
	t.dopri = &dopri[float32]{
		x:      t.x,
		base:   t.base,
		k:      t.past,
		t:      d.from,
		to:     d.to,
		absTol: d.absTol,
		relTol: d.relTol,
	}
	if d.OnStep != nil {
		t.dopri.taken = func(at, size float64, accepted bool) { d.OnStep(ODEStep{at, size, accepted}) }
	}
}

// timestep returns that of the evaluation to come.
func (d *Dopri5) timestep(t *Trajectory) float64 { return timestepOfTime(t.dopri.now()) }

func (d *Dopri5) step(t *Trajectory, i int, out, _ []float32) {
	r := d.schedule.read(d.schedule.point(d.timestep(t)))
	if r.x0.finite() {
		r.x0.apply(t.x0, t.x, out[:len(t.x)])
	}
	r.velocity.apply(t.dopri.slot(), t.x, out[:len(t.x)])
	if t.dopri.take(i == 0) {
		t.index = 0 // the last
	}
}
