package train

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/tokencache/tokencache/tensor"
)

// Loop trains a Task. It keeps its state in a folder, from which it resumes bit for bit.
type Loop struct {
	Settings Settings
	Dir      string        // folder of the run: see StateFile, ModelFile, LogFile; "" keeps nothing
	Every    time.Duration // time between two checkpoints
	Note     string        // stored in the state, for the caller: what the task was made from

	// OnStep, if not nil, is called after every update.
	OnStep func(StepStats)
	// OnSave, if not nil, is called after every checkpoint.
	OnSave func(StepStats) error
	// OnSaveError, if not nil, is called with the error of a checkpoint during the run, which then
	// continues with the previous checkpoint and tries again later. The last checkpoint's error is
	// Run's.
	OnSaveError func(error)

	task  Task
	graph *tensor.Graph
	ema   *EMA
	step  int // updates made
	watch watch
	log   *runLog

	optimizer optimizer
}

// StepStats are the measurements of one update, a line of a run's log.
type StepStats struct {
	Step     int                `json:"step"` // updates made
	Steps    int                `json:"-"`
	Measures map[string]float64 `json:"measures"` // means over the update's examples
	GradNorm float64            `json:"grad_norm"`
	LR       float64            `json:"lr"`
	Seconds  float64            `json:"seconds"` // wall-clock time of the update
	Images   int                `json:"images"`  // examples of the update
	FLOPs    int64              `json:"flops"`   // of its products, forward and backward
}

// NewLoop returns a Loop that begins at the task's weights, with a checkpoint every three minutes.
func NewLoop(task Task, g *tensor.Graph, dir string, s Settings) (*Loop, error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	if s.DType == tensor.BF16.String() {
		blocks, ok := task.(BlockTask)
		if !ok {
			return nil, fmt.Errorf("this kind of training has no number format but %v: got %s", tensor.F32, s.DType)
		}
		for _, w := range blocks.BlockWeights() {
			w.TrainIn(tensor.BF16)
		}
	}
	o, err := newOptimizer(task, s)
	if err != nil {
		return nil, err
	}
	return &Loop{
		Settings:  s,
		Dir:       dir,
		Every:     3 * time.Minute,
		task:      task,
		graph:     g,
		optimizer: o,
		ema:       NewEMA(task.Params(), s.EMA),
	}, nil
}

// Step returns the number of updates made.
func (l *Loop) Step() int { return l.step }

// Run trains until Settings.Steps updates are made. It saves during the run, at the end and when
// ctx is done. A run that diverges ends with a *DivergedError, and a panic of the task with an
// error; the last checkpoint is then from before.
func (l *Loop) Run(ctx context.Context) (err error) {
	if l.log, err = openLog(l.Dir, l.step); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.log.close()) }()
	l.graph.SetContext(ctx)
	defer l.graph.SetContext(context.Background())
	saved := time.Now()
	var last StepStats
	for l.step < l.Settings.Steps {
		r, err := l.update()
		if ctx.Err() != nil {
			return errors.Join(ctx.Err(), l.save(last))
		}
		if err != nil {
			return err
		}
		last = r
		if err := l.log.write(r); err != nil {
			return err
		}
		if l.OnStep != nil {
			l.OnStep(r)
		}
		if time.Since(saved) >= l.Every && l.step < l.Settings.Steps {
			if err := l.save(r); err != nil {
				if l.OnSaveError == nil {
					return err
				}
				l.OnSaveError(err)
			}
			saved = time.Now()
		}
	}
	return l.save(last)
}

// update makes one update, unless the graph was cancelled: then nothing has changed.
func (l *Loop) update() (r StepStats, err error) {
	defer recoverTo(&err)
	s := l.Settings
	start := time.Now()
	params := l.task.Params()
	ZeroGrads(params)
	l.graph.ResetFLOPs()
	names := l.task.Measures()
	sums := make([]float64, len(names))
	first := int64(l.step) * int64(s.Batch)
	for done := 0; done < s.Batch; done += s.Micro {
		count := min(s.Micro, s.Batch-done)
		part, err := l.task.Accumulate(l.graph, first+int64(done), count, 1/float64(s.Batch))
		if err != nil {
			return StepStats{}, err
		}
		for i, v := range part {
			sums[i] += v / float64(s.Batch)
		}
	}
	if err := l.graph.Err(); err != nil {
		return StepStats{}, err
	}
	r = StepStats{
		Step:     l.step + 1,
		Steps:    s.Steps,
		Measures: map[string]float64{},
		LR:       s.rate(l.step),
		Images:   s.Batch,
		FLOPs:    l.graph.FLOPs(),
	}
	for i, name := range names {
		r.Measures[name] = sums[i]
	}
	r.GradNorm = GradNorm(params)
	if err := l.watch.check(r.Step, sums[0], r.GradNorm); err != nil {
		return r, err
	}
	if s.Clip > 0 && r.GradNorm > s.Clip {
		scaleGrads(params, s.Clip/r.GradNorm)
	}
	l.optimizer.Update(r.LR)
	l.task.Changed()
	l.ema.Update(s.emaDecay(l.step))
	l.step++
	r.Seconds = time.Since(start).Seconds()
	return r, nil
}

// DivergedError reports an update whose loss or gradient is not finite, or before which the mean
// loss grew far beyond its minimum. A lower Settings.LR or Settings.Clip may help.
type DivergedError struct {
	Step     int     // of the update
	Loss     float64 // of the update
	GradNorm float64 // of the update
	Mean     float64 // of the loss over recent updates; 0 if Loss or GradNorm is not finite
	Best     float64 // minimum of Mean before; 0 likewise
}

func (e *DivergedError) Error() string {
	if e.Mean == 0 {
		return fmt.Sprintf("update %d: loss %g, gradient norm %g: the run diverged; the last checkpoint is from before",
			e.Step, e.Loss, e.GradNorm)
	}
	return fmt.Sprintf("update %d: mean loss of the last %d updates %.4g, at best %.4g before: the run diverged; "+
		"an earlier checkpoint is kept", e.Step, watchSpan, e.Mean, e.Best)
}

// watch detects divergence.
type watch struct {
	mean float64 // of the loss over the last watchSpan updates or so
	best float64 // minimum of mean
	seen int     // updates
}

const (
	watchSpan  = 100 // updates
	watchLimit = 4   // times the best mean
)

func (w *watch) check(step int, loss, norm float64) error {
	if math.IsNaN(loss) || math.IsInf(loss, 0) || math.IsNaN(norm) || math.IsInf(norm, 0) {
		return &DivergedError{Step: step, Loss: loss, GradNorm: norm}
	}
	w.seen++
	share := 1 / float64(min(w.seen, watchSpan))
	w.mean += (loss - w.mean) * share
	if w.seen < watchSpan {
		return nil
	}
	if w.best == 0 || w.mean < w.best {
		w.best = w.mean
	}
	if w.mean > watchLimit*w.best {
		return &DivergedError{Step: step, Loss: loss, GradNorm: norm, Mean: w.mean, Best: w.best}
	}
	return nil
}
