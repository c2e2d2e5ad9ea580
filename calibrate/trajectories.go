package calibrate

import (
	"context"
	"fmt"
	"math"
	"path/filepath"

	"github.com/tokencache/tokencache/checkpoint"
	"github.com/tokencache/tokencache/internal/kernel"
	"github.com/tokencache/tokencache/reuse"
	"github.com/tokencache/tokencache/tensor"
	"github.com/tokencache/tokencache/train"
)

// The files of trajectories in the work folder: those that are learned from first, those of a later
// round, and those whose percentiles are taken. Their metadata has at keyOf what identifies them.
const (
	trajectoriesFile = "trajectories.safetensors"
	roundFile        = "trajectories-%d.safetensors"
	percentileFile   = "trajectories-percentiles.safetensors"
	keyOf            = "of"
)

// trajectories samples images, without a policy if it is nil, and keeps every state, or reads those
// that an earlier run kept in the file. With the policy, what also identifies them.
func (m *maker) trajectories(ctx context.Context, file string, images int, policy *reuse.TokenCache, with ...any) (
	*train.Trajectories, error,
) {
	plan, err := m.p.Plan(m.Sampling)
	if err != nil {
		return nil, err
	}
	size, steps := m.p.Shape().Latents(), plan.Steps()
	t := &train.Trajectories{Plan: plan}
	req := m.request(images, m.Seed)
	for i := range images {
		t.X, t.Cond = append(t.X, make([]float32, steps*size)), append(t.Cond, m.Subjects.Condition(i))
	}
	of := []any{images}
	if policy != nil {
		req.Policy = policy
		of = append(of, policy.String())
	}
	path, key := filepath.Join(m.work(), file), m.key(append(of, with...)...)
	if kept, err := readTrajectories(path, key, t); kept || err != nil {
		return t, err
	}
	m.stage("sampling %d trajectories of %d steps", images, steps)
	req.OnState = func(index, position int, x []float32) { copy(t.X[index][position*size:], x) }
	if _, err := m.p.Generate(ctx, req); err != nil {
		return nil, err
	}
	return t, writeTrajectories(path, key, t, steps)
}

func trajectoryName(i int) string { return fmt.Sprintf("x.%d", i) }

// readTrajectories fills in t and reports whether the file is there and has the key.
func readTrajectories(path, key string, t *train.Trajectories) (bool, error) {
	f, err := checkpoint.Open(path)
	if err != nil {
		return false, nil // they are sampled again
	}
	defer f.Close()
	if f.Metadata()[keyOf] != key {
		return false, nil
	}
	for i := range t.X {
		if err := f.Read(trajectoryName(i), t.X[i]); err != nil {
			return false, err
		}
	}
	return true, nil
}

func writeTrajectories(path, key string, t *train.Trajectories, steps int) error {
	states := map[string][]float32{}
	c := checkpoint.Content{
		Metadata: map[string]string{keyOf: key},
		Read:     func(name string, dst []float32) error { copy(dst, states[name]); return nil },
	}
	for i, x := range t.X {
		states[trajectoryName(i)] = x
		c.Tensors = append(c.Tensors, checkpoint.Info{
			Name:  trajectoryName(i),
			DType: checkpoint.F32,
			Shape: []int{steps, len(x) / steps},
		})
	}
	return checkpoint.WriteSafetensors(path, c)
}

// bend returns for each step how far the trajectories bend there: the root mean square of the
// second difference of x_t, summed over the trajectories. The first and the last step, which have
// no second difference, have that of the step next to them.
func bend(t *train.Trajectories) []float64 {
	steps := t.Plan.Steps()
	mass := make([]float64, steps)
	if steps < 3 {
		return mass
	}
	for _, x := range t.X {
		size := len(x) / steps
		at := func(p, i int) float64 { return float64(x[p*size+i]) }
		for p := range steps {
			middle, sum := min(max(p, 1), steps-2), 0.0
			for i := range size {
				d := at(middle+1, i) - 2*at(middle, i) + at(middle-1, i)
				sum += d * d
			}
			mass[p] += math.Sqrt(sum / float64(size))
		}
	}
	return mass
}

// importance returns for each step the importance alpha that a predictor gives there, summed over
// the trajectories and over all tokens of all blocks.
func (m *maker) importance(ctx context.Context, t *train.Trajectories, p *reuse.Predictor) ([]float64, error) {
	m.stage("summing the importance at %d steps of %d trajectories", t.Plan.Steps(), len(t.X))
	model, w, err := m.frozen(t)
	if err != nil {
		return nil, err
	}
	defer w.Close()
	pool := tensor.NewPool(m.Threads)
	defer pool.Close()
	g := tensor.NewGraph(pool)
	mass := make([]float64, t.Plan.Steps())
	for position := range mass {
		for first := 0; first < len(t.X); first += importanceBatch {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			alpha := p.Forward(g, model, t.Batch(position, first, min(first+importanceBatch, len(t.X))))
			for i := range alpha.All().Rows {
				from, to := alpha.OfImage(model.Shape(), i)
				mass[position] += float64(kernel.Sum(alpha.All().Row(i)[from:to]))
			}
			if err := g.Err(); err != nil {
				return nil, err
			}
			g.Reset()
		}
	}
	return mass, nil
}

// importanceBatch is the number of trajectories in a batch of importance.
const importanceBatch = 8
