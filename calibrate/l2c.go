package calibrate

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"time"

	"github.com/tokencache/tokencache/reuse"
	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
	"github.com/tokencache/tokencache/train"
)

// L2C trains the routers of Learning-to-Cache (arXiv 2406.01733). An example is an even step of a
// trajectory, counted down, with the step before it, which fills the cache; so no images are
// needed. An update is of one step's router, and all steps have an update before one has another.
type L2C struct {
	Threshold float64 // of the policy: a branch is computed where w is above it; with a wanted speed it is found
	L1        float64 // weight of the cost, the sum of all w
	LR        float64
	Updates   int
	Batch     int // examples of an update
}

// NewL2C returns the method with the default parameters.
func NewL2C() *L2C { return &L2C{Threshold: 0.1, L1: 0.0005, LR: 0.05, Updates: 300, Batch: 8} }

// Name implements Method.
func (c *L2C) Name() string { return reuse.L2CMethod }

func (c *L2C) check(*maker) error {
	if !(c.L1 >= 0) || !(c.Threshold > 0 && c.Threshold < 1) || !(c.LR > 0) || c.Updates < 1 || c.Batch < 1 {
		return fmt.Errorf("weight of the cost %g, threshold %g, rate %g, %d updates of %d examples: "+
			"want 0 or more, a threshold between 0 and 1, and more than 0 of the others",
			c.L1, c.Threshold, c.LR, c.Updates, c.Batch)
	}
	return nil
}

// maxRouterThreshold bounds the search for a threshold of w, a sigmoid.
const maxRouterThreshold = 0.999

func (c *L2C) run(ctx context.Context, m *maker) (*product, error) {
	t, err := m.trajectories(ctx, trajectoriesFile, m.Images, nil)
	if err != nil {
		return nil, err
	}
	routers, err := c.train(ctx, m, t)
	if err != nil {
		return nil, err
	}
	trained := m.trained()
	trained.L2C = &reuse.L2C{Threshold: c.Threshold, Logits: routers.Logits}
	if m.Speed > 0 {
		set := func(v float64) { trained.L2C.Threshold = v }
		if err := m.threshold(ctx, trained, c, maxRouterThreshold, set); err != nil {
			return nil, err
		}
	}
	return &product{
		policy:     trained,
		learned:    trained.L2C.Write,
		provenance: map[string]any{"updates": c.Updates, "l1": c.L1, "lr": c.LR},
	}, nil
}

// routed returns the steps, counted down, that routers are for: the even ones that have a step
// before them.
func routed(steps int) []int {
	var list []int
	for s := 0; s < steps-1; s += 2 {
		list = append(list, s)
	}
	return list
}

// routersFile is the state of the routers' training in the work folder, saveEvery the time between
// two of its states.
const (
	routersFile = "routers.safetensors"
	saveEvery   = time.Minute
)

// train trains the routers, or resumes their training; the state is in the work folder. It is not a
// train.Loop: each router has its own optimiser, of which an update moves one, and Loop has one
// optimiser, whose update moves the momentum of all.
func (c *L2C) train(ctx context.Context, m *maker, t *train.Trajectories) (*train.Routers, error) {
	frozen, w, err := m.frozen(t)
	if err != nil {
		return nil, err
	}
	defer w.Close()
	steps := routed(t.Plan.Steps())
	if len(steps) == 0 {
		return nil, errors.New("learning to cache needs two steps or more")
	}
	pool := tensor.NewPool(m.Threads)
	defer pool.Close()
	u := &routerUpdates{
		L2C:          c,
		m:            m,
		graph:        tensor.NewGraph(pool),
		frozen:       frozen,
		routers:      train.NewRouters(frozen, t.Plan.Steps(), train.RouterOptions{L1: c.L1}),
		trajectories: t,
		steps:        steps,
	}
	u.graph.SetContext(ctx)
	path, key := filepath.Join(m.work(), routersFile), m.key(m.Images, c.L1, c.Batch, c.LR)
	made, err := u.routers.Resume(path, key)
	if err != nil {
		return nil, err
	}
	if made < c.Updates {
		m.stage("training routers: %d updates of %d examples", c.Updates-made, c.Batch)
	}
	saved := time.Now()
	for ; made < c.Updates; made++ {
		stats, err := u.update(made)
		if ctx.Err() != nil {
			return nil, errors.Join(ctx.Err(), u.routers.Save(path, key, made))
		}
		if err != nil {
			return nil, err
		}
		if m.OnUpdate != nil {
			m.OnUpdate(stats)
		}
		if time.Since(saved) > saveEvery {
			if err := u.routers.Save(path, key, made+1); err != nil {
				return nil, err
			}
			saved = time.Now()
		}
	}
	return u.routers, u.routers.Save(path, key, made)
}

// routerUpdates makes updates of routers.
type routerUpdates struct {
	*L2C
	m            *maker
	graph        *tensor.Graph
	frozen       seam.Model
	routers      *train.Routers
	trajectories *train.Trajectories
	steps        []int // counted down, that have routers
}

// update makes one update, whose random numbers depend on its number alone. Nothing has changed if
// the graph was cancelled.
func (u *routerUpdates) update(number int) (train.StepStats, error) {
	begin := time.Now()
	order := rand.New(rand.NewPCG(u.m.Seed, uint64(number/len(u.steps)))).Perm(len(u.steps))
	step := u.steps[order[number%len(u.steps)]]
	position := u.trajectories.Plan.Steps() - 1 - step
	images, b := u.examples(number)
	u.set(b, images, position-1)
	u.graph.Reset()
	u.routers.Fill(u.graph, b)
	u.set(b, images, position)
	loss, err := u.routers.Gradients(u.graph, step, b)
	if err != nil {
		return train.StepStats{}, err
	}
	if math.IsNaN(loss.Total) || math.IsInf(loss.Total, 0) {
		return train.StepStats{}, fmt.Errorf("update %d: a loss of %g", number+1, loss.Total)
	}
	u.routers.Update(step, u.LR)
	return train.StepStats{
		Step:     number + 1,
		Steps:    u.Updates,
		LR:       u.LR,
		Images:   u.Batch,
		Seconds:  time.Since(begin).Seconds(),
		Measures: map[string]float64{"loss": loss.Total, "cost": loss.Cost},
	}, nil
}

// examples picks the trajectories of an update, and returns a batch with their conditions.
func (u *routerUpdates) examples(number int) (images []int, b *seam.Batch) {
	random := rand.New(rand.NewPCG(u.m.Seed^0x9e3779b97f4a7c15, uint64(number)))
	size := len(u.trajectories.X[0]) / u.trajectories.Plan.Steps()
	images = make([]int, u.Batch)
	b = &seam.Batch{
		X:    tensor.FromSlice(make([]float32, u.Batch*size), u.Batch, size),
		T:    make([]float32, u.Batch),
		Cond: make([]seam.Condition, u.Batch),
	}
	for i := range images {
		images[i] = random.IntN(len(u.trajectories.X))
		b.Cond[i] = u.trajectories.Cond[images[i]]
		if null := random.IntN(2) == 1; null && u.m.Guidance != 1 {
			b.Cond[i] = u.frozen.NullCondition() // as the unconditional half of guidance
		}
	}
	return images, b
}

// set sets the batch to the states of trajectories at a position.
func (u *routerUpdates) set(b *seam.Batch, images []int, position int) {
	size := b.X.Cols
	for i, image := range images {
		copy(b.X.Row(i), u.trajectories.X[image][position*size:(position+1)*size])
		b.T[i] = float32(u.trajectories.Plan.Timesteps[position])
	}
}
