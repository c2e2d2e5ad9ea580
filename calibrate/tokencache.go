package calibrate

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/tokencache/tokencache/checkpoint"
	"github.com/tokencache/tokencache/reuse"
	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
	"github.com/tokencache/tokencache/train"
)

// TokenCache makes a TokenCache policy. Where Base.Learned is set it learns the P-steps' forecasts,
// and they compute nothing or tokens at random; where Base.Importance is static or dynamic, it trains the predictor
// that selects tokens. A wanted speed is met by the number of I-steps or by Base.Ratio.
type TokenCache struct {
	Base reuse.TokenCache
	// Percentile places the I-steps at equal percentiles of a mass per step, as many as Base.Steps
	// has: of the importance that the predictor gives to all tokens in all blocks, as the paper's
	// second version does, or without a predictor of the trajectories' bend.
	Percentile bool
	Samples    int // trajectories that they are taken of, at the least

	// Of a predictor.

	From     string // folder of a policy whose predictor is taken; "": one is trained
	Training Training
	// Rounds is how many times PathTraining samples trajectories: with random tokens first, then with
	// those that the predictor chooses by then. Each round has an equal part of Updates.
	Rounds  int
	Updates int
	Batch   int // examples of an update
	LR      float64
	Lambda  float64 // weight of the cost: see train.PredictorTask

	// Of learned forecasts.

	Placement Placement
	Trials    int // placements of I-steps that are tried for a wanted speed; 0: they are placed evenly
	Few       int // images of a trial
	Halves    int // half steps after each I-step
	Weighting Weighting
}

// Training is how a predictor is trained.
type Training string

const (
	// SoftTraining is the paper's: the estimate superposes computed and cached updates on the uncached
	// model's trajectories, and is compared after the last block.
	SoftTraining Training = "soft"
	// PathTraining is ours: the estimate makes the hard choice that sampling makes, on trajectories of
	// the policy with random tokens, and the model's output is compared.
	PathTraining Training = "path"
)

func (t Training) check() error {
	if t == SoftTraining || t == PathTraining {
		return nil
	}
	return fmt.Errorf("unknown training %q: want %s or %s", t, SoftTraining, PathTraining)
}

// Parameters of Base, as reuse.TokenCache.Set takes them, of the two kinds of policies that are
// calibrated.
const (
	ForecastParameters = "ratio=0,learned=true"
	TokenParameters    = "importance=dynamic,k=3,order=1"
)

// percentileSamples is how many samples the paper takes percentiles of.
const percentileSamples = 256

// NewTokenCache returns the method with the default parameters, which learn forecasts.
func NewTokenCache() *TokenCache {
	c := &TokenCache{
		Base:      *reuse.NewTokenCache(),
		Training:  SoftTraining,
		Updates:   300,
		Rounds:    3,
		Samples:   percentileSamples,
		Batch:     8,
		LR:        3e-4,
		Lambda:    0.5,
		Placement: BestPlacement,
		Trials:    60,
		Few:       16,
		Weighting: Pixels,
	}
	c.Base.Ratio, c.Base.Learned = 0, true
	return c
}

// Set sets parameters of Base as reuse.Parse takes them: key=value, with commas between.
func (c *TokenCache) Set(parameters string) error {
	for pair := range strings.SplitSeq(strings.TrimPrefix(parameters, c.Name()+":"), ",") {
		key, value, ok := strings.Cut(pair, "=")
		if !ok {
			return fmt.Errorf("%q: want key=value", pair)
		}
		if err := c.Base.Set(key, value); err != nil {
			return err
		}
	}
	return nil
}

// Name implements Method.
func (c *TokenCache) Name() string { return reuse.TokenCacheMethod }

// selects reports whether a predictor is trained.
func (c *TokenCache) selects() bool {
	return c.Base.Importance == reuse.Static || c.Base.Importance == reuse.Dynamic
}

func (c *TokenCache) check(m *maker) error {
	if err := c.Training.check(); err != nil {
		return err
	}
	if err := c.Weighting.check(); err != nil {
		return err
	}
	if err := c.Placement.check(); err != nil {
		return err
	}
	b := &c.Base
	halves := len(b.Steps.Half) > 0
	switch {
	case c.Rounds < 1 || c.Samples < 1:
		return fmt.Errorf("%d rounds and percentiles of %d samples: want 1 or more", c.Rounds, c.Samples)
	case c.Updates < 1 || c.Batch < 1 || c.Few < 1 || c.Trials < 0 || c.Halves < 0:
		return fmt.Errorf("%d updates of %d examples, %d trials of %d images, %d half steps: "+
			"want 1 or more updates, examples and images, and 0 or more of the others",
			c.Updates, c.Batch, c.Trials, c.Few, c.Halves)
	case b.Learned && b.Ratio != 0 && (m.Speed > 0 || c.Halves > 0 || c.selects()):
		return fmt.Errorf("ratio=%g and learned=true: forecasts are learned next to tokens for the I-steps given, "+
			"without half steps and with importance=%s; for a wanted speed give ratio=0", b.Ratio, reuse.Random)
	case c.selects() && b.Ratio == 0:
		return fmt.Errorf("ratio=0 with importance=%s: P-steps that compute no token have none to select; "+
			"give a ratio above 0, or importance=%s", b.Importance, reuse.Random)
	case b.Learned && c.Percentile:
		return errors.New("percentiles of I-steps go with policies that select tokens; " +
			"where forecasts are learned, I-steps are placed by trials")
	case (halves || c.Halves > 0) && (!b.Learned || m.Guidance == 1):
		return errors.New("half steps go with learned forecasts (learned=true) and with guidance, " +
			"of which they compute one half")
	case len(b.Steps.List) > 0 && b.Steps.Kind != reuse.ListedSteps:
		return fmt.Errorf("i= says which steps are I-steps where steps=%s: it has no effect with steps=%s",
			reuse.ListedSteps, b.Steps.Kind)
	case (b.Steps.K2 != 0 || b.Steps.Boundary != 0) && b.Steps.Kind != reuse.TPRR:
		return fmt.Errorf("k2= and boundary= are the second phase of steps=%s: they have no effect with steps=%s",
			reuse.TPRR, b.Steps.Kind)
	case halves && (m.Speed > 0 || c.Halves > 0):
		return errors.New("half= says which steps are half steps: " +
			"it excludes a wanted speed and a number of half steps, which place them")
	case b.Site == reuse.BodySite && (c.selects() || b.Learned):
		return fmt.Errorf("site=%s: learning is of whole blocks; give importance=%s or %s, or leave site out",
			reuse.BodySite, reuse.Random, reuse.UpdateNorm)
	}
	return c.checkRun(m)
}

// checkRun reports parameters that the model or the sampler cannot be run with.
func (c *TokenCache) checkRun(m *maker) error {
	policy := c.Base
	if policy.Learned {
		plan, err := m.p.Plan(m.Sampling)
		if err != nil {
			return err
		}
		policy.Forecast = reuse.NewForecast(plan.Steps(), terms) // still to be learned
	}
	if c.selects() {
		policy.Importance = reuse.Random // the predictor is still to be trained
	}
	req := m.request(1, m.Seed)
	req.Policy = &policy
	return m.p.Check(req)
}

func (c *TokenCache) run(ctx context.Context, m *maker) (*product, error) {
	if c.Base.Learned || m.Speed > 0 && c.Base.Ratio == 0 && !c.selects() {
		return c.forecast(ctx, m)
	}
	policy := c.Base
	if err := c.learn(ctx, m, &policy); err != nil {
		return nil, err
	}
	made := &product{policy: m.trained(), provenance: map[string]any{"updates": c.Updates, "lambda": c.Lambda}}
	made.policy.Policy = &policy
	if policy.Predictor != nil {
		made.learned = func(path string) error {
			model := filepath.Join(m.work(), train.ModelFile)
			if c.From != "" {
				model = filepath.Join(c.From, reuse.PredictorFile)
			}
			_, err := checkpoint.Convert(model, path, checkpoint.ConvertOptions{DType: checkpoint.F16})
			return err
		}
	}
	if m.Speed > 0 {
		return made, m.ratio(ctx, &policy, made.policy)
	}
	return made, nil
}

// learn sets the I-steps and the predictor of a policy, where trajectories decide them.
func (c *TokenCache) learn(ctx context.Context, m *maker, policy *reuse.TokenCache) error {
	switch {
	case c.selects() && c.From != "" && !c.Percentile: // nothing is learned from trajectories
		var err error
		policy.Predictor, err = c.taken()
		return err
	case !c.selects() && !c.Percentile:
		return nil
	}
	var path *reuse.TokenCache
	if c.selects() && c.Training == PathTraining {
		random := c.Base
		random.Importance = reuse.Random
		path = &random
	}
	t, err := m.trajectories(ctx, trajectoriesFile, m.Images, path)
	if err != nil {
		return err
	}
	steps, err := policy.Steps.ISteps(t.Plan.Steps())
	if err != nil {
		return err
	}
	if c.selects() {
		if c.From != "" {
			policy.Predictor, err = c.taken()
		} else {
			policy.Predictor, err = c.predictor(ctx, m, t, steps)
		}
		if err != nil {
			return err
		}
	}
	if !c.Percentile {
		return nil
	}
	if m.Images < c.Samples {
		if t, err = m.trajectories(ctx, percentileFile, c.Samples, path); err != nil {
			return err
		}
	}
	mass := bend(t)
	if policy.Predictor != nil {
		if mass, err = m.importance(ctx, t, policy.Predictor); err != nil {
			return err
		}
	}
	policy.Steps = reuse.StepChoice{
		Kind:   reuse.ListedSteps,
		Warmup: policy.Steps.Warmup,
		List:   reuse.PercentileSteps(mass, len(steps)),
	}
	return nil
}

// taken returns the predictor of another policy.
func (c *TokenCache) taken() (*reuse.Predictor, error) {
	t, err := reuse.Open(c.From)
	if err != nil {
		return nil, err
	}
	if t.Policy == nil || t.Policy.Predictor == nil || t.Policy.Predictor.Kind != c.Base.Importance {
		return nil, fmt.Errorf("policy %s has no %s predictor", c.From, c.Base.Importance)
	}
	return t.Policy.Predictor, nil
}

// predictor trains the predictor, or resumes its training; the run is in the work folder.
func (c *TokenCache) predictor(ctx context.Context, m *maker, t *train.Trajectories,
	steps []int) (*reuse.Predictor, error) {
	frozen, w, err := m.frozen(t)
	if err != nil {
		return nil, err
	}
	defer w.Close()
	o := train.PredictorOptions{
		Superposed: reuse.Superposed{
			Cached: c.Base.Cached,
			Keys:   reuse.FreshKeys,
			Order:  c.Base.Order,
			Basis:  c.Base.Basis,
		},
		Lambda:   c.Lambda,
		ISteps:   steps,
		Seed:     m.Seed,
		Guidance: m.Guidance != 1,
	}
	if c.Training == PathTraining {
		c.onPath(ctx, m, frozen, &o)
	}
	task, err := train.NewPredictorTask(c.Base.Importance, frozen, w, t, o)
	if err != nil {
		return nil, err
	}
	pool := tensor.NewPool(m.Threads)
	defer pool.Close()
	loop, err := train.NewLoop(task, tensor.NewGraph(pool), m.work(), c.settings())
	if err != nil {
		return nil, err
	}
	loop.Every, loop.OnStep = time.Minute, m.OnUpdate
	loop.Note = m.key(m.Images, steps, c.Base.Importance, c.Base.Cached, c.Base.Order, c.Base.Basis, c.Lambda, c.chosen())
	if p, err := train.ReadState(m.work()); err == nil && p.Note == loop.Note && p.Settings == loop.Settings {
		if err := loop.Resume(); err != nil {
			return nil, err
		}
	}
	if loop.Step() < c.Updates {
		m.stage("training the predictor: %d updates of %d examples", c.Updates-loop.Step(), c.Batch)
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

// onPath makes a training take the path of sampling: the policy's choice of tokens and keys, and from
// the second round on the states that its own choices lead to.
func (c *TokenCache) onPath(ctx context.Context, m *maker, frozen seam.Model, o *train.PredictorOptions) {
	o.Choice, o.Keys = &c.Base, c.Base.Keys
	rounds := min(c.Rounds, c.Updates)
	if rounds < 2 {
		return
	}
	o.RoundExamples = int64((c.Updates+rounds-1)/rounds) * int64(c.Batch)
	o.Renew = func(round int, p *reuse.Predictor) (*train.Trajectories, error) {
		own := c.Base
		own.Predictor = p
		t, err := m.trajectories(ctx, fmt.Sprintf(roundFile, round), m.Images, &own,
			round, c.chosen(), c.settings(), c.Lambda, o.ISteps)
		if err == nil {
			t.Cond, err = seam.Adopt(frozen, t.Cond)
		}
		return t, err
	}
}

// chosen identifies the choice of tokens that a predictor is trained with.
func (c *TokenCache) chosen() string {
	if c.Training != PathTraining {
		return ""
	}
	return fmt.Sprintf("%s ratio %g cell %d at %s with keys %s in %d rounds",
		c.Base.Selection, c.Base.Ratio, c.Base.Cell, c.Base.At, c.Base.Keys, c.Rounds)
}

// settings are those of the predictor's training.
func (c *TokenCache) settings() train.Settings {
	return train.Settings{
		Steps:    c.Updates,
		Batch:    c.Batch,
		Micro:    max(1, c.Batch/2),
		LR:       c.LR,
		Warmup:   min(20, c.Updates/10),
		Schedule: "cosine",
		Clip:     1,
		EMA:      0.9,
	}
}
