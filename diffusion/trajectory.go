package diffusion

import "fmt"

// Trajectory is the state of one image on its way from noise to a sample. Trajectories of different
// images share nothing that changes, so they may be stepped concurrently and may stand at different
// steps.
type Trajectory struct {
	sampler Sampler
	index   int
	x       []float32
	x0      []float32
	past    [][]float32 // predictions that the sampler keeps
	base    []float32   // where a move starts, if that is not x
	taken   int         // steps since the start

	dopri *dopri[float32] // of Dopri5
}

// NewTrajectory starts an image from x [C*HW], standard normal noise, which is copied.
func NewTrajectory(s Sampler, x []float32) *Trajectory {
	past, base := s.memory()
	t := &Trajectory{
		sampler: s,
		x:       make([]float32, len(x)),
		x0:      make([]float32, len(x)),
		past:    make([][]float32, past),
	}
	for k := range t.past {
		t.past[k] = make([]float32, len(x))
	}
	if base {
		t.base = make([]float32, len(x))
	}
	t.Reset(x)
	return t
}

// Reset starts another image of the same size in the same memory.
func (t *Trajectory) Reset(x []float32) {
	checkLength("starting noise", len(x), len(t.x))
	copy(t.x, x)
	if scale := t.sampler.startScale(); scale != 1 {
		for k := range t.x {
			t.x[k] *= scale
		}
	}
	clear(t.x0)
	t.index = t.sampler.Steps() - 1
	t.taken = 0
	if d, ok := t.sampler.(*Dopri5); ok {
		d.begin(t)
	}
}

// Seek makes the step at index i the next to be taken, where X is data with the noise of that index
// and not what the sampler made, so that there is no past to extrapolate from. It panics if there
// is no such step.
func (t *Trajectory) Seek(i int) {
	if i < 0 || i >= t.sampler.Steps() {
		panic(fmt.Sprintf("diffusion: no step %d of %d", i, t.sampler.Steps()))
	}
	t.index, t.taken = i, 0
}

// X is the current sample [C*HW], as the network takes it. It keeps its place in memory and is
// rewritten by Step; the caller may edit it between steps.
func (t *Trajectory) X() []float32 { return t.x }

// PredXStart is the x_0 [C*HW] that the last step predicted, valid until the next.
func (t *Trajectory) PredXStart() []float32 { return t.x0 }

// Index is the index of the step to be taken: Steps()-1 at the start, 0 at the last step, -1 when
// done.
func (t *Trajectory) Index() int { return t.index }

// Timestep is what the model is told at the step to be taken; -1 when done.
func (t *Trajectory) Timestep() float64 {
	if t.Done() {
		return -1
	}
	if d, ok := t.sampler.(*Dopri5); ok {
		return d.timestep(t)
	}
	return t.sampler.Timestep(t.index)
}

// Taken is the number of steps taken since the start.
func (t *Trajectory) Taken() int { return t.taken }

// Done tells whether X is the finished sample.
func (t *Trajectory) Done() bool { return t.index < 0 }

// Step takes one step. modelOut is the network's output for X at Timestep, guided if there is
// guidance: epsilon [C*HW], or epsilon and variance values [2*C*HW]. noise is standard normal
// [C*HW]; nil will do where the sampler adds none (the deterministic ones, DDIM with eta 0, and the
// last step of any). Nothing is allocated.
//
// It panics if a length is wrong or the trajectory is done.
func (t *Trajectory) Step(modelOut, noise []float32) {
	if t.Done() {
		panic("diffusion: step of a finished trajectory")
	}
	if n := len(t.x); len(modelOut) != n && len(modelOut) != 2*n {
		panic(fmt.Sprintf("diffusion: model output has %d values, want %d, or %d with variance", len(modelOut), n, 2*n))
	}
	t.sampler.step(t, t.index, modelOut, noise)
	t.taken++
	t.index--
}
