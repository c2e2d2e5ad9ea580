package train

import (
	"math"

	"github.com/tokencache/tokencache/minit2i"
	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
)

// ImageFlow is the objective of a flow whose network predicts the clean image, as MiniT2I's does:
// x_t = t·image + NoiseScale·(1-t)·noise, and the loss is the mean squared error of the velocity
// (prediction-x_t)/max(1-t, Floor).
type ImageFlow struct {
	NoiseScale float64 // standard deviation of the noise
	Floor      float64 // the least that 1-t counts as
	Mean, Std  float64 // of the normal number whose sigmoid t is
}

// MiniT2IFlow is the published setting, for a model of configuration c.
func MiniT2IFlow(c minit2i.Config) ImageFlow {
	return ImageFlow{NoiseScale: c.Noise(), Floor: minit2i.Floor, Mean: -0.8, Std: 0.8}
}

// Time returns the time that a standard normal number stands for.
func (o ImageFlow) Time(normal float64) float64 {
	const edge = 1e-5
	return min(max(1/(1+math.Exp(-(o.Std*normal+o.Mean))), edge), 1-edge)
}

// Mix sets x to x_t. Noise is standard normal.
func (o ImageFlow) Mix(x, image, noise []float32, t float64) {
	a, b := float32(t), float32(o.NoiseScale*(1-t))
	for i := range x {
		x[i] = a*image[i] + b*noise[i]
	}
}

// Loss returns a sample's loss, and sets grad to scale times its gradient by the prediction.
func (o ImageFlow) Loss(grad, prediction, image []float32, t, scale float64) float64 {
	inverse := 1 / max(1-t, o.Floor)
	factor := float32(2 * scale * inverse * inverse / float64(len(image)))
	sum := 0.0
	for i, p := range prediction {
		d := p - image[i]
		grad[i] = factor * d
		sum += float64(d) * float64(d)
	}
	return sum * inverse * inverse / float64(len(image))
}

// Gradients adds scale times the gradients of the samples' losses, which it returns, to those of
// m's parameters. The batch holds each x_t with its time and raw prompt.
func (o ImageFlow) Gradients(
	g *tensor.Graph, m *minit2i.Model, b *seam.Batch, images [][]float32, scale float64,
) ([]float64, error) {
	defer g.Reset()
	g.StartTape()
	out := m.Forward(g, seam.Always, b)
	if err := g.Err(); err != nil {
		return nil, err
	}
	grad := g.New(out.Rows, out.Cols)
	losses := make([]float64, len(images))
	g.EachRow(len(images), out.Cols, func(i int) {
		losses[i] = o.Loss(grad.Row(i), out.Row(i), images[i], float64(b.T[i]), scale)
	})
	g.AddGrad(out, grad)
	g.Backward()
	return losses, g.Err()
}
