// Package calibrate makes trained TokenCache policies: it takes trajectories of the model's own sampler, trains a predictor on them, places the I-steps, and finds the
// share of tokens that gives the wanted speed, by counting and then by the clock; and the policies of other methods that are fitted to a model, each in a file of its own. It may use the library and
// the trainer; it draws nothing and prints nothing.
package calibrate

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"time"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/checkpoint"
	"github.com/tokencache/tokencache/diffusion"
	"github.com/tokencache/tokencache/dit"
	"github.com/tokencache/tokencache/measure"
	"github.com/tokencache/tokencache/reuse"
	"github.com/tokencache/tokencache/tensor"
	"github.com/tokencache/tokencache/train"
)

// Options says what policy to make.
type Options struct {
	Dir     string           // the policy's folder
	Work    string           // where what is half done is kept; default Dir/work
	Base    reuse.TokenCache // its parameters; Ratio is found if Speed is given
	Percent bool             // I-steps at equal percentiles of the trajectories' change, as many as Base.Steps gives
	Speed   float64          // wanted, times the uncached model, by the clock; 0: Base.Ratio as it is
	diffusion.Sampling
	Seed uint64

	Images  int // trajectories
	Updates int // of the predictor
	Batch   int
	LR      float64
	Lambda  float64
	Measure int      // images of a measurement of speed
	Trials  int      // placements of I-steps that are tried, of learned forecasts
	Few     int      // images of a trial
	Halves  int      // half steps after each I-step, of learned forecasts
	Weigh   Weighing // of what learned forecasts are away from the uncached images

	OnStage  func(what string)            // a part of the work begins
	OnUpdate func(train.StepStats)        // an update of the predictor was made
	OnImage  func(tokencache.Progress)    // trajectories and measurements go on
	Command  string                       // recorded in the policy
	Open     func() (*dit.Weights, error) // opens the model's weights once more, for training through them
	Threads  int
}

// maker is the state of a calibration.
type maker struct {
	Options
	p     *tokencache.Pipeline
	start time.Time
}

// Run makes the policy and saves it. What an interrupted run had done is taken over.
func Run(ctx context.Context, p *tokencache.Pipeline, o Options) (*reuse.Trained, error) {
	if o.Speed != 0 && !(o.Speed > 1) {
		return nil, fmt.Errorf("a speed of %g: want more than 1, times the uncached model", o.Speed)
	}
	if err := o.Weigh.check(); err != nil {
		return nil, err
	}
	o.Sampling = o.Sampling.WithDefaults()
	switch {
	case o.Base.Learned && o.Base.Ratio != 0:
		return nil, fmt.Errorf("ratio=%g and learned=true: learned forecasts are of P-steps that compute nothing; give ratio=0, or importance=%s and no learned=true", o.Base.Ratio, reuse.Dynamic)
	case o.Base.Learned && o.Percent:
		return nil, errors.New("percentiles of I-steps go with policies that choose tokens; where forecasts are learned they are placed by trying (--trials)")
	}
	if h := len(o.Base.Steps.Half) > 0; (h || o.Halves > 0) && (!o.Base.Learned || o.Guidance == 1) {
		return nil, errors.New("half steps go with learned forecasts (learned=true) and with guidance, of which they compute one half")
	} else if h && (o.Speed > 0 || o.Halves > 0) {
		return nil, errors.New("half= says which steps are half steps: leave out --speed and --halves, which place them")
	}
	needs := o.Base.Importance == reuse.Static || o.Base.Importance == reuse.Dynamic
	if o.Base.Site == reuse.BodySite && (needs || o.Base.Learned) {
		return nil, fmt.Errorf("site=%s: what is learned is of whole blocks; give importance=%s or %s, or leave site out", reuse.BodySite, reuse.Random, reuse.UpdateNorm)
	}
	m := &maker{Options: o, p: p, start: time.Now()}
	if err := m.check(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(m.work(), 0o777); err != nil {
		return nil, err
	}
	if o.Base.Learned {
		return m.forecast(ctx)
	}
	policy := o.Base
	if needs || o.Percent {
		t, err := m.trajectories(ctx)
		if err != nil {
			return nil, err
		}
		steps, err := policy.Steps.ISteps(t.Plan.Steps())
		if err != nil {
			return nil, err
		}
		if o.Percent {
			mass := change(t)
			policy.Steps = reuse.StepChoice{Kind: reuse.ListedSteps, Warmup: policy.Steps.Warmup, List: reuse.PercentileSteps(mass, len(steps))}
			if steps, err = policy.Steps.ISteps(t.Plan.Steps()); err != nil {
				return nil, err
			}
		}
		if needs {
			if policy.Predictor, err = m.predictor(ctx, t, steps); err != nil {
				return nil, err
			}
		}
	}
	trained := m.trained(&policy)
	if err := m.fit(ctx, trained); err != nil {
		return nil, err
	}
	trained.Provenance = m.provenance(map[string]any{"updates": o.Updates, "lambda": o.Lambda})
	var save func(path string) error
	if policy.Predictor != nil {
		save = func(path string) error {
			_, err := checkpoint.Convert(filepath.Join(m.work(), train.ModelFile), path, checkpoint.ConvertOptions{DType: checkpoint.F16})
			return err
		}
	}
	return trained, trained.Save(o.Dir, save)
}

// check reports parameters that the model or the sampler cannot be run with, before anything is learned for them.
func (m *maker) check() error {
	policy := m.Base
	if policy.Learned {
		plan, err := m.p.Plan(m.Sampling)
		if err != nil {
			return err
		}
		policy.Ratio, policy.Forecast = 0, reuse.NewForecast(plan.Steps(), terms) // still to be learned
	}
	if policy.Importance == reuse.Static || policy.Importance == reuse.Dynamic {
		policy.Importance = reuse.Random // the predictor is still to be made
	}
	req := m.request(1, m.Seed)
	req.Policy = &policy
	return m.p.Check(req)
}

func (m *maker) trained(policy *reuse.TokenCache) *reuse.Trained {
	return &reuse.Trained{
		Policy: policy, Model: m.p.Config().Name(), Fingerprint: m.p.Fingerprint(), Sampling: m.Sampling,
	}
}

// provenance tells how the policy was made.
func (m *maker) provenance(more map[string]any) map[string]any {
	more["command"], more["seconds"], more["images"], more["seed"] = m.Command, math.Round(time.Since(m.start).Seconds()), m.Images, m.Seed
	return more
}

func (m *maker) work() string {
	if m.Work != "" {
		return m.Work
	}
	return filepath.Join(m.Dir, "work")
}

func (m *maker) stage(format string, args ...any) {
	if m.OnStage != nil {
		m.OnStage(fmt.Sprintf(format, args...))
	}
}

// request draws images of the policy's sampler, one of each class in turn.
func (m *maker) request(images int, seed uint64) tokencache.Request {
	req := tokencache.Request{Seed: seed, Sampling: m.Sampling, Batch: min(images, 8), OnStep: m.OnImage}
	for i := range images {
		req.Classes = append(req.Classes, i%m.p.Config().NumClasses)
	}
	return req
}

// trajectories draws images and keeps every state on the way; they are in work/trajectories.safetensors.
func (m *maker) trajectories(ctx context.Context) (*train.Trajectories, error) {
	plan, err := m.p.Plan(m.Sampling)
	if err != nil {
		return nil, err
	}
	c := m.p.Config()
	size, steps := c.InChannels*c.InputSize*c.InputSize, plan.Steps()
	t := &train.Trajectories{Plan: plan}
	req := m.request(m.Images, m.Seed)
	for _, class := range req.Classes {
		t.X, t.Labels = append(t.X, make([]float32, steps*size)), append(t.Labels, int32(class))
	}
	path := filepath.Join(m.work(), "trajectories.safetensors")
	what := fmt.Sprintf("%s %s %s %g %g %d %d", m.p.Fingerprint(), m.Sampler, m.StepsText(), m.Guidance, m.GuidancePower, m.Seed, m.Images)
	name := func(i int) string { return fmt.Sprintf("x.%d", i) }
	if f, err := checkpoint.Open(path); err == nil {
		defer f.Close()
		if f.Metadata()["of"] == what {
			for i := range t.X {
				if err := f.Read(name(i), t.X[i]); err != nil {
					return nil, err
				}
			}
			return t, nil
		}
	}
	m.stage("drawing %d trajectories of %d steps", m.Images, steps)
	req.OnState = func(index, position int, x []float32) { copy(t.X[index][position*size:], x) }
	if _, err := m.p.Generate(ctx, req); err != nil {
		return nil, err
	}
	content := checkpoint.Content{Metadata: map[string]string{"of": what}, Read: func(n string, dst []float32) error {
		for i := range t.X {
			if name(i) == n {
				copy(dst, t.X[i])
			}
		}
		return nil
	}}
	for i := range t.X {
		content.Tensors = append(content.Tensors, checkpoint.Info{Name: name(i), DType: checkpoint.F32, Shape: []int{steps, size}})
	}
	return t, checkpoint.WriteSafetensors(path, content)
}

// change returns for each step how far the trajectories bend there: the root mean square of the second difference of x_t, summed over them.
func change(t *train.Trajectories) []float64 {
	steps := t.Plan.Steps()
	mass := make([]float64, steps)
	for _, x := range t.X {
		size := len(x) / steps
		at := func(p, i int) float64 { return float64(x[min(max(p, 0), steps-1)*size+i]) }
		for p := range steps {
			sum := 0.0
			for i := range size {
				d := at(p+1, i) - 2*at(p, i) + at(p-1, i)
				sum += d * d
			}
			mass[p] += math.Sqrt(sum / float64(size))
		}
	}
	return mass
}

// predictor trains the predictor, or takes over what was trained; the run is in work.
func (m *maker) predictor(ctx context.Context, t *train.Trajectories, steps []int) (*reuse.Predictor, error) {
	w, err := m.Open()
	if err != nil {
		return nil, err
	}
	defer w.Close()
	frozen, err := w.Frozen()
	if err != nil {
		return nil, err
	}
	task, err := train.NewPredictorTask(m.Base.Importance, frozen, w, t, train.PredictorOptions{
		Lambda: m.Lambda, Cached: m.Base.Cached, Order: m.Base.Order, ISteps: steps, Seed: m.Seed, Guidance: m.Guidance != 1,
	})
	if err != nil {
		return nil, err
	}
	pool := tensor.NewPool(m.Threads)
	defer pool.Close()
	loop, err := train.NewLoop(task, tensor.NewGraph(pool), m.work(), train.Settings{
		Steps: m.Updates, Batch: m.Batch, Micro: max(1, m.Batch/2), LR: m.LR, Warmup: min(20, m.Updates/10), Schedule: "cosine", Clip: 1, EMA: 0.9,
	})
	if err != nil {
		return nil, err
	}
	loop.Every, loop.OnStep = time.Minute, m.OnUpdate
	loop.Note = fmt.Sprintf("%s %v %s %s %d %g %s %s %g %g %d %d",
		m.p.Fingerprint(), steps, m.Base.Importance, m.Base.Cached, m.Base.Order, m.Lambda, m.Sampler, m.StepsText(), m.Guidance, m.GuidancePower, m.Seed, m.Images)
	if p, err := train.ReadState(m.work()); err == nil && p.Note == loop.Note && p.Settings == loop.Settings {
		if err := loop.Resume(); err != nil {
			return nil, err
		}
	}
	if loop.Step() < m.Updates {
		m.stage("training the predictor: %d updates of %d examples", m.Updates-loop.Step(), m.Batch)
		if err := loop.Run(ctx); err != nil {
			return nil, err
		}
	}
	f, err := checkpoint.Open(filepath.Join(m.work(), train.ModelFile))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return reuse.ReadPredictor(f)
}

// mostCorrection bounds what one measurement by the clock changes.
const mostCorrection = 1.25

// fit finds the ratio that gives the wanted speed: by counted FLOPs first, then corrected by what the clock says.
func (m *maker) fit(ctx context.Context, t *reuse.Trained) error {
	req := m.request(max(1, m.Measure), m.Seed+1)
	req.Policy = t.Policy
	if m.Speed > 0 {
		wanted := m.Speed
		for try := range 3 {
			before := t.Policy.Ratio
			if err := m.bisect(ctx, t.Policy, wanted); err != nil {
				if try == 0 || ctx.Err() != nil {
					return err
				}
				t.Policy.Ratio = before // the clock asks for more than there is: what was measured is recorded
				return nil
			}
			m.stage("measuring: %.1f %% of the tokens on P-steps", 100*t.Policy.Ratio)
			c, err := measure.Compare(ctx, m.p, req, 2)
			if err != nil {
				return err
			}
			t.Speed = reuse.Speed{Wanted: m.Speed, FLOPs: float64(c.UncachedFLOPs) / float64(c.FLOPs), Wall: c.Speedup, Level: m.p.Level()}
			if math.Abs(c.Speedup/m.Speed-1) < 0.02 || try == 2 {
				return nil
			}
			wanted *= min(max(m.Speed/c.Speedup, 1/mostCorrection), mostCorrection)
		}
		return nil
	}
	m.stage("measuring")
	c, err := measure.Compare(ctx, m.p, req, 2)
	if err != nil {
		return err
	}
	t.Speed = reuse.Speed{FLOPs: float64(c.UncachedFLOPs) / float64(c.FLOPs), Wall: c.Speedup, Level: m.p.Level()}
	return nil
}

// bisect sets the ratio so that the counted FLOPs fall by the wanted factor.
func (m *maker) bisect(ctx context.Context, policy *reuse.TokenCache, wanted float64) error {
	m.stage("counting FLOPs for %.2f times fewer", wanted)
	req := m.request(1, m.Seed)
	req.Policy = reuse.None{}
	r, err := m.p.Generate(ctx, req)
	if err != nil {
		return err
	}
	uncached := float64(r.Stats.FLOPs)
	req.Policy = policy
	reduction := func(ratio float64) (float64, error) {
		policy.Ratio = ratio
		r, err := m.p.Generate(ctx, req)
		if err != nil {
			return 0, err
		}
		return uncached / float64(r.Stats.FLOPs), nil
	}
	least := reuse.MinRatio(policy.Selection, policy.Cell)
	most, err := reduction(least)
	if err != nil {
		return err
	}
	if most < wanted {
		if most > wanted*0.99 {
			return nil // nothing less can be computed, and it is nearly enough
		}
		return fmt.Errorf("a speed of %.4gx cannot be met with these I-steps: with a share of %g of the tokens computed on P-steps, the least, there are %.2f times fewer FLOPs; give fewer I-steps (a longer period k)", wanted, least, most)
	}
	low, high := least, 1.0
	for range 7 {
		middle := (low + high) / 2
		got, err := reduction(middle)
		if err != nil {
			return err
		}
		if got > wanted {
			low = middle
		} else {
			high = middle
		}
	}
	policy.Ratio = math.Round(1000*(low+high)/2) / 1000
	return nil
}
