package tokencache

import (
	"math"

	"github.com/tokencache/tokencache/diffusion"
	"github.com/tokencache/tokencache/reuse"
	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
)

// sequence is an image in flight: its step, its sampler's state, its guidance halves and the state
// of its policy. A policy that needs whole batches has one for all images of a batch, which step
// together. It is used by one goroutine at a time.
type sequence struct {
	job     *job
	number  int     // in the order of admission
	tag     float64 // when it would be finished in a fair engine: see Client
	images  []inFlight
	started bool
	alone   bool // shares no tick: see engine.panicked

	run    reuse.Run
	member *seam.Member
	before reuse.Cost // of run when the sequence began

	// batch is its input of a pass: all images, then, under guidance, all again without a condition.
	batch     seam.Batch
	positions []int // of each sample
	noise     []float32
	out       [][]float32 // of each sample: the prediction, in the memory of the tick's graph
	again     bool        // the policy rejected it

	flops     int64
	charged   int64   // of flops: what virtual time has counted
	passFLOPs int64   // of the step at hand, rejected passes included
	seconds   float64 // likewise
}

// inFlight is one image of a sequence.
type inFlight struct {
	index  int // in the request
	path   *diffusion.Trajectory
	source diffusion.Noise
}

// position counts the steps up from 0.
func (s *sequence) position() int {
	return s.job.sampler.Steps() - 1 - s.images[0].path.Index()
}

func (s *sequence) done() bool { return s.images[0].path.Done() }

// rows is what its next step costs, in rows of full width through all blocks, as far as is known.
func (s *sequence) rows() int {
	rows := len(s.images) * s.job.samples * s.job.tokens
	if !s.started {
		return rows
	}
	// A step that computes no token still embeds all of them and runs the last layer.
	const least = 0.1
	return int(float64(rows) * max(least, s.job.shares[s.position()]))
}

// start makes what a sequence needs, or takes over what an earlier one of the same request had.
func (s *sequence) start(m seam.Model) error {
	j := s.job
	samples := len(s.images) * j.samples
	if s.run == nil {
		run, err := j.policy.NewRun(m, j.steps, j.unit*j.samples)
		if err != nil {
			return err
		}
		if s.run = run; j.req.OnComputed != nil {
			s.run = watch(run, j.unit, m.Shape())
		}
		s.batch.X = tensor.FromSlice(make([]float32, samples*j.size), samples, j.size)
		s.batch.T, s.batch.Cond = make([]float32, samples), make([]seam.Condition, samples)
		s.positions, s.noise = make([]int, samples), make([]float32, j.size)
		s.out = make([][]float32, samples)
	} else {
		s.run.Reset()
		s.resize(samples)
	}
	if s.member == nil {
		s.member = seam.NewMember(s.run, samples)
	}
	s.before, s.flops, s.charged = s.run.Stats(), 0, 0
	s.passFLOPs, s.seconds = 0, 0
	n := len(s.images)
	s.batch.Unconditional = nil
	if samples > n {
		s.batch.Unconditional = make([]int, samples)
	}
	for i := range s.images {
		image := &s.images[i]
		s.batch.Cond[i] = j.conditions[image.index]
		if samples > n {
			s.batch.Cond[n+i] = j.null
			s.batch.Unconditional[i], s.batch.Unconditional[n+i] = n+i, -1
		}
		image.source = j.noiseOf(image.index)
		image.source.Normal(s.noise)
		x := s.noise
		if j.req.Noise != nil {
			x = j.req.Noise[image.index*j.size:][:j.size]
		}
		if image.path == nil {
			image.path = diffusion.NewTrajectory(j.sampler, x)
		} else {
			image.path.Reset(x)
		}
	}
	s.started = true
	return nil
}

// resize fits a whole batch's memory to its last batch, which may be smaller.
func (s *sequence) resize(samples int) {
	if samples == s.batch.X.Rows {
		return
	}
	s.batch.X = tensor.FromSlice(s.batch.X.Data[:samples*s.job.size], samples, s.job.size)
	s.batch.T, s.batch.Cond = s.batch.T[:samples], s.batch.Cond[:samples]
	s.positions, s.out = s.positions[:samples], s.out[:samples]
	s.member.Close()
	s.member = nil
}

// prepare fills in the input of the next pass.
func (s *sequence) prepare() {
	j, n := s.job, len(s.images)
	if j.req.OnState != nil {
		j.hooks.Lock()
		for i := range s.images {
			j.req.OnState(s.images[i].index, s.position(), s.images[i].path.X())
		}
		j.hooks.Unlock()
	}
	for row := range s.positions {
		path := s.images[row%n].path
		copy(s.batch.X.Row(row), path.X())
		s.batch.T[row] = float32(path.Timestep())
		s.positions[row] = s.position()
	}
}

// advance moves the images along by one step, given the predictions.
func (s *sequence) advance(channels int) error {
	j, n, position := s.job, len(s.images), s.position() // before any image takes the step
	for i := range s.images {
		image := &s.images[i]
		prediction := s.out[i]
		if len(s.out) > n {
			j.guidance.Apply(prediction, prediction, s.out[n+i], channels, j.size/channels, image.path.Timestep())
		}
		if !finite(prediction) {
			return &NotFiniteError{Index: image.index, Step: position}
		}
		if j.req.OnPrediction != nil {
			j.hooks.Lock()
			j.req.OnPrediction(image.index, position, prediction)
			j.hooks.Unlock()
		}
		if j.sampler.DrawsNoise() {
			image.source.Normal(s.noise)
		}
		image.path.Step(prediction, s.noise)
	}
	return nil
}

// finite reports whether all numbers are: a sum of squares is, unless one is not or all are huge.
func finite(x []float32) bool {
	sum := 0.0
	for _, v := range x {
		sum += float64(v) * float64(v)
	}
	return !math.IsNaN(sum) && !math.IsInf(sum, 0)
}

// cost is what the sequence took since it started.
func (s *sequence) cost() reuse.Cost {
	c := s.run.Stats().Since(s.before)
	c.FLOPs = s.flops
	return c
}

// checker returns the run of a sequence if it checks what it forecasts.
func (s *sequence) checker() (reuse.Checker, bool) {
	run := s.run
	if w, ok := run.(*watchedRun); ok {
		run = w.Run
	}
	c, ok := run.(reuse.Checker)
	return c, ok
}

// close ends what the sequence holds.
func (s *sequence) close() {
	if s.member != nil {
		s.member.Close()
		s.member = nil
	}
	s.run = nil
}

// report tells a request of a step.
func (s *sequence) report() {
	seconds, flops := s.seconds, s.passFLOPs
	s.seconds, s.passFLOPs = 0, 0
	j := s.job
	j.hooks.Lock()
	defer j.hooks.Unlock()
	n := len(s.images)
	if w, ok := s.run.(*watchedRun); ok {
		for i := range s.images {
			j.req.OnComputed(s.images[i].index, s.position()-1, w.of(i))
		}
	}
	if j.req.OnStep == nil {
		return
	}
	for i := range s.images {
		j.taken++
		j.req.OnStep(Progress{
			Index:   s.images[i].index,
			Step:    j.sampler.Steps() - 1 - s.images[i].path.Index(),
			Steps:   j.sampler.Steps(),
			Images:  j.todo,
			Done:    int(j.made.Load()),
			Taken:   j.taken,
			Seconds: seconds / float64(n),
			FLOPs:   flops / int64(n),
		})
	}
}

// finished reports whether the images of a sequence have been put up for delivery.
func (s *sequence) finished() bool { return s.started && s.done() }

// newSequence returns the job's next sequence.
func (j *job) newSequence() *sequence {
	s := &sequence{job: j}
	if n := len(j.free); n > 0 {
		s, j.free = j.free[n-1], j.free[:n-1]
		s.started = false
	}
	count := min(j.unit, j.left)
	for len(s.images) < count {
		s.images = append(s.images, inFlight{})
	}
	s.images = s.images[:count]
	for i := range s.images {
		for j.skips(j.next) {
			j.next++
		}
		s.images[i].index = j.next
		j.next++
	}
	j.left -= count
	j.running++
	return s
}
