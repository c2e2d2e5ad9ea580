package calibrate

import (
	"context"

	"github.com/tokencache/tokencache/diffusion"
	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
)

// predictor sets noise to the guided prediction for y = x/Alpha at a log-SNR, both [images, size].
type predictor func(noise, y []float32, logSNR float64) error

// network is a model outside the engine: it predicts the noise in any state at any timestep.
type network struct {
	weights  Weights
	model    seam.Model
	pool     *tensor.Pool
	graph    *tensor.Graph
	guidance diffusion.Guidance
	subjects []seam.Condition
}

func (m *maker) newNetwork() (*network, error) {
	w, err := m.Open()
	if err != nil {
		return nil, err
	}
	n := &network{weights: w, guidance: m.Guide()}
	if n.model, err = w.Load(); err != nil {
		w.Close()
		return nil, err
	}
	for i := range m.Subjects.Len() {
		n.subjects = append(n.subjects, m.Subjects.Condition(i))
	}
	if n.subjects, err = seam.Adopt(n.model, n.subjects); err != nil {
		w.Close()
		return nil, err
	}
	n.pool = tensor.NewPool(m.p.Threads())
	n.graph = tensor.NewGraph(n.pool)
	return n, nil
}

func (n *network) close() {
	n.pool.Close()
	n.weights.Close()
}

// networkBatch is how many images pass through the network together.
const networkBatch = 8

// of returns the predictor for the images of a solution, which show the subjects in turn.
func (n *network) of(ctx context.Context, s *solution) predictor {
	return func(noise, y []float32, logSNR float64) error {
		for from := 0; from < s.images; from += networkBatch {
			if err := ctx.Err(); err != nil {
				return err
			}
			to := min(from+networkBatch, s.images)
			n.predict(noise[from*s.size:to*s.size], y[from*s.size:to*s.size], from, s, logSNR)
		}
		return n.graph.Err()
	}
}

// predict predicts for the images of a batch, of which the first has an index.
func (n *network) predict(noise, y []float32, first int, s *solution, logSNR float64) {
	n.graph.Reset()
	images := len(y) / s.size
	rows := images
	if n.guidance.Enabled() {
		rows *= 2
	}
	timestep, alpha := s.schedule.Timestep(logSNR), float32(s.alphaOf(logSNR))
	b := &seam.Batch{X: n.graph.New(rows, s.size)}
	for row := range rows {
		i := row % images
		for k, v := range y[i*s.size : (i+1)*s.size] {
			b.X.Row(row)[k] = alpha * v
		}
		condition := n.model.NullCondition()
		if row < images {
			condition = n.subjects[(first+i)%len(n.subjects)]
		}
		b.T, b.Cond = append(b.T, float32(timestep)), append(b.Cond, condition)
	}
	out := seam.Forward(n.graph, n.model, seam.Always, b)
	channels := n.model.Shape().Channels
	for i := range images {
		predicted := out.Row(i)
		if n.guidance.Enabled() {
			n.guidance.Apply(predicted, predicted, out.Row(images+i), channels, s.size/channels, timestep)
		}
		s.schedule.Noise(noise[i*s.size:(i+1)*s.size], b.X.Row(i), predicted, timestep)
	}
}
