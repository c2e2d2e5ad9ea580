package calibrate

import (
	"context"
	"fmt"
	"math"
	"path/filepath"

	"github.com/tokencache/tokencache/checkpoint"
	"github.com/tokencache/tokencache/train"
)

// trajectoriesFile is the file of trajectories in the work folder, and keyOf the key of its
// metadata that identifies them.
const (
	trajectoriesFile = "trajectories.safetensors"
	keyOf            = "of"
)

// trajectories samples images without a policy and keeps every state, or reads those that an
// earlier run kept.
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
	path, key := filepath.Join(m.work(), trajectoriesFile), m.key(m.Images)
	if kept, err := readTrajectories(path, key, t); kept || err != nil {
		return t, err
	}
	m.stage("sampling %d trajectories of %d steps", m.Images, steps)
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

// change returns for each step how far the trajectories bend there: the root mean square of the
// second difference of x_t, summed over the trajectories.
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
