package calibrate

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/dit"
	"github.com/tokencache/tokencache/reuse"
	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
	"github.com/tokencache/tokencache/train"
)

// L2COptions says what routers to train.
type L2COptions struct {
	Options
	L1        float64 // weight of the sum of all w, the cost
	Threshold float64 // of the policy: what is computed is where w is above it; with a speed it is found
}

// L2C trains the routers of Learning-to-Cache (arXiv 2406.01733) and saves the policy. An example is a step of a trajectory of the model's own sampler that is even when counted down, with the
// step before it, which fills the cache; so no pictures are needed. An update is of one step's router, and every step has its turn before one has another.
func L2C(ctx context.Context, p *tokencache.Pipeline, o L2COptions) (*reuse.Trained, error) {
	o.Sampling = o.Sampling.WithDefaults()
	const most = 0.999 // of a sigmoid
	if o.Threshold == 0 && o.Speed > 0 {
		o.Threshold = most
	}
	if !(o.L1 >= 0) || !(o.Threshold > 0 && o.Threshold < 1) || !(o.LR > 0) || o.Updates < 1 || o.Batch < 1 {
		return nil, fmt.Errorf("weight of the cost %g, threshold %g, rate %g, %d updates of %d examples: want 0 or more, a threshold between 0 and 1, and more than 0 of the others",
			o.L1, o.Threshold, o.LR, o.Updates, o.Batch)
	}
	m := &maker{Options: o.Options, p: p, start: time.Now()}
	if err := os.MkdirAll(m.work(), 0o777); err != nil {
		return nil, err
	}
	t, err := m.trajectories(ctx)
	if err != nil {
		return nil, err
	}
	routers, err := m.routers(ctx, t, o)
	if err != nil {
		return nil, err
	}
	trained := m.trained(nil)
	trained.L2C = &reuse.L2C{Threshold: o.Threshold, Logits: routers.Logits}
	if o.Speed > 0 {
		if err := m.threshold(ctx, trained, reuse.L2CMethod, most, func(v float64) { trained.L2C.Threshold = v }); err != nil {
			return nil, err
		}
	}
	return m.finish(ctx, trained, map[string]any{"updates": o.Updates, "l1": o.L1, "lr": o.LR}, trained.L2C.Write)
}

// routed returns the steps, counted down, that routers are for: the even ones that have a step before them.
func routed(steps int) []int {
	var list []int
	for s := 0; s < steps-1; s += 2 {
		list = append(list, s)
	}
	return list
}

// saveEvery is the time between two states of a training of routers.
const saveEvery = time.Minute

// routers trains the routers, or takes over what was trained; the state is in work.
func (m *maker) routers(ctx context.Context, t *train.Trajectories, o L2COptions) (*train.Routers, error) {
	w, err := m.Open()
	if err != nil {
		return nil, err
	}
	defer w.Close()
	frozen, err := w.Frozen()
	if err != nil {
		return nil, err
	}
	pool := tensor.NewPool(m.Threads)
	defer pool.Close()
	g := tensor.NewGraph(pool)
	g.SetContext(ctx)
	steps := routed(t.Plan.Steps())
	if len(steps) == 0 {
		return nil, errors.New("learning to cache needs two steps or more")
	}
	path := filepath.Join(m.work(), "routers.safetensors")
	of := fmt.Sprintf("%s %s %s %g %g %d %d %g %d %g", m.p.Fingerprint(), m.Sampler, m.StepsText(), m.Guidance, m.GuidancePower, m.Seed, m.Images, o.L1, m.Batch, m.LR)
	routers := train.NewRouters(frozen, t.Plan.Steps(), train.RouterOptions{L1: o.L1})
	made, err := routers.Resume(path, of)
	if err != nil {
		return nil, err
	}
	if made < m.Updates {
		m.stage("training routers: %d updates of %d examples", m.Updates-made, m.Batch)
	}
	saved := time.Now()
	for ; made < m.Updates; made++ {
		begin := time.Now()
		loss, err := m.routerUpdate(g, frozen, routers, t, steps, made)
		if ctx.Err() != nil {
			return nil, errors.Join(ctx.Err(), routers.Save(path, of, made))
		}
		if err != nil {
			return nil, err
		}
		if m.OnUpdate != nil {
			m.OnUpdate(train.StepStats{Step: made + 1, Steps: m.Updates, LR: m.LR, Images: m.Batch, Seconds: time.Since(begin).Seconds(),
				Measures: map[string]float64{"loss": loss.Total, "cost": loss.Cost}})
		}
		if time.Since(saved) > saveEvery {
			if err := routers.Save(path, of, made+1); err != nil {
				return nil, err
			}
			saved = time.Now()
		}
	}
	return routers, routers.Save(path, of, made)
}

// routerUpdate makes one update, whose draws depend on its number alone.
func (m *maker) routerUpdate(g *tensor.Graph, frozen *dit.Model, routers *train.Routers, t *train.Trajectories, steps []int, number int) (train.RouterLoss, error) {
	turn := rand.New(rand.NewPCG(m.Seed, uint64(number/len(steps)))).Perm(len(steps))
	step := steps[turn[number%len(steps)]]
	position := t.Plan.Steps() - 1 - step
	random := rand.New(rand.NewPCG(m.Seed^0x9e3779b97f4a7c15, uint64(number)))
	size := len(t.X[0]) / t.Plan.Steps()
	b := &seam.Batch{X: tensor.FromSlice(make([]float32, m.Batch*size), m.Batch, size), T: make([]float32, m.Batch), Cond: make([]seam.Condition, m.Batch)}
	images := make([]int, m.Batch)
	for i := range images {
		images[i] = random.IntN(len(t.X))
		b.Cond[i] = dit.Class(t.Labels[images[i]])
		if null := random.IntN(2) == 1; null && m.Guidance != 1 {
			b.Cond[i] = dit.Class(frozen.NullClass()) // as guidance's second rows
		}
	}
	at := func(p int) {
		for i, image := range images {
			copy(b.X.Row(i), t.X[image][p*size:(p+1)*size])
			b.T[i] = float32(t.Plan.Timesteps[p])
		}
	}
	at(position - 1)
	g.Reset()
	routers.Fill(g, b)
	at(position)
	loss, err := routers.Gradients(g, step, b)
	if err != nil {
		return loss, err
	}
	if math.IsNaN(loss.Total) || math.IsInf(loss.Total, 0) {
		return loss, fmt.Errorf("update %d: a loss of %g", number+1, loss.Total)
	}
	routers.Update(step, m.LR)
	return loss, nil
}
