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
	Dir      string        // of the run: see Files
	Every    time.Duration // between two checkpoints
	Note     string        // kept in the state, for the caller: what the task was made from

	// OnStep, if not nil, is told of every update.
	OnStep func(Report)
	// OnSave, if not nil, is called after every checkpoint.
	OnSave func(Report) error
	// OnSaveError, if not nil, is told why a checkpoint in between could not be written; the run goes on with the one before and tries again later.
	OnSaveError func(error)

	task  Task
	graph *tensor.Graph
	adam  *AdamW
	ema   *EMA
	step  int // updates made
	watch watch
	log   *runLog
}

// Report says how far a run is.
type Report struct {
	Step     int                `json:"step"` // updates made
	Steps    int                `json:"-"`
	Measures map[string]float64 `json:"measures"` // means over the update's examples
	GradNorm float64            `json:"grad_norm"`
	LR       float64            `json:"lr"`
	Seconds  float64            `json:"seconds"` // that the update took
	Images   int                `json:"images"`  // examples of the update
	FLOPs    int64              `json:"flops"`   // of its products, forward and back
}

// NewLoop returns a Loop that begins at the task's weights.
func NewLoop(task Task, g *tensor.Graph, dir string, s Settings) (*Loop, error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	l := &Loop{Settings: s, Dir: dir, Every: 3 * time.Minute, task: task, graph: g}
	l.adam = NewAdamW(task.Params(), s.Decay)
	l.ema = NewEMA(task.Params(), s.EMA)
	return l, nil
}

// Step returns the number of updates made.
func (l *Loop) Step() int { return l.step }

// Run trains until Settings.Steps updates are made, and saves at the end, when ctx is done, and in between. A loss or gradient that is not a
// number, or a loss that has grown far beyond what it was, ends the run with an error; the last checkpoint is then from before.
func (l *Loop) Run(ctx context.Context) (err error) {
	if l.log, err = openLog(l.Dir, l.step); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.log.close()) }()
	l.graph.SetContext(ctx)
	defer l.graph.SetContext(context.Background())
	saved := time.Now()
	var last Report
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
func (l *Loop) update() (Report, error) {
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
			return Report{}, err
		}
		for i, v := range part {
			sums[i] += v / float64(s.Batch)
		}
	}
	if err := l.graph.Err(); err != nil {
		return Report{}, err
	}
	r := Report{Step: l.step + 1, Steps: s.Steps, Measures: map[string]float64{}, LR: s.rate(l.step), Images: s.Batch, FLOPs: l.graph.FLOPs()}
	for i, name := range names {
		r.Measures[name] = sums[i]
	}
	r.GradNorm = GradNorm(params)
	if err := l.watch.check(r.Step, sums[0], r.GradNorm); err != nil {
		return r, err
	}
	if s.Clip > 0 && r.GradNorm > s.Clip {
		ScaleGrads(params, s.Clip/r.GradNorm)
	}
	l.adam.Update(r.LR)
	l.task.Changed()
	l.ema.Update(s.emaDecay(l.step))
	l.step++
	r.Seconds = time.Since(start).Seconds()
	return r, nil
}

// watch notices a run that is going wrong.
type watch struct {
	mean float64 // of the loss, over some hundred updates
	best float64 // the least mean so far
	seen int
}

const (
	watchSpan  = 100 // updates that the mean looks back
	watchLimit = 4   // times the best mean
)

func (w *watch) check(step int, loss, norm float64) error {
	if math.IsNaN(loss) || math.IsInf(loss, 0) || math.IsNaN(norm) || math.IsInf(norm, 0) {
		return fmt.Errorf("update %d: loss %g, gradient norm %g: the run diverged; the last checkpoint is from before. Lower the learning rate (--lr) or clip the gradient (--clip)", step, loss, norm)
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
		return fmt.Errorf("update %d: the loss of the last %d updates is %.4g on average, %d times what it had been (%.4g): the run diverges; an earlier checkpoint is kept. Lower the learning rate (--lr) or clip the gradient (--clip)",
			step, watchSpan, w.mean, watchLimit, w.best)
	}
	return nil
}
