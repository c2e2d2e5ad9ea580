package train

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/tokencache/tokencache/diffusion"
	"github.com/tokencache/tokencache/dit"
)

// How a Flow weights the loss of what is no velocity: as SiT's code, g being half the squared
// diffusion coefficient of the path's forward SDE.
const (
	WeightNone       = ""
	WeightVelocity   = "velocity"   // (g/sigma)^2
	WeightLikelihood = "likelihood" // g/sigma^2
)

// Flow is the loss of a flow model, SiT's (Ma et al. 2024, arXiv 2401.08740): the mean squared error
// of the velocity, of the noise, of the score times -sigma, or of x_0, at a time that is uniform. It
// is immutable and may be shared.
type Flow struct {
	Config dit.Config // of a SiT
	Weight string     // one of the constants; of no effect on velocities and x_0
	Eps    float64    // how far times keep from where the loss is infinite; 0 means SiT's

	schedule diffusion.Schedule
}

// NewFlow returns the objective of a SiT.
func NewFlow(c dit.Config, weight string) (*Flow, error) {
	if c.Arch != dit.ArchSiT {
		return nil, fmt.Errorf("a %s is not trained as a flow: want a %s", c.Arch, dit.ArchSiT)
	}
	if !slices.Contains([]string{WeightNone, WeightVelocity, WeightLikelihood}, weight) {
		return nil, fmt.Errorf("loss weight %q: want none, %s or %s", weight, WeightVelocity, WeightLikelihood)
	}
	schedule, err := c.Network().Levels()
	return &Flow{Config: c, Weight: weight, schedule: schedule}, err
}

// Span returns the bounds of the times, SiT's t.
func (f *Flow) Span() (t0, t1 float64) {
	eps, velocity := f.Eps, f.predictsVelocity()
	switch {
	case f.Config.Path == diffusion.VPPath:
		if eps == 0 {
			eps = 1e-5
		}
		return 0, 1 - eps
	case velocity || f.Config.Prediction == diffusion.PredictSample:
		return eps, 1 - eps
	case eps == 0:
		eps = 1e-3
	}
	return eps, 1 - eps
}

func (f *Flow) predictsVelocity() bool {
	return f.Config.Prediction == diffusion.PredictVelocity || f.Config.Prediction == diffusion.PredictFlow
}

// draw implements target.
func (f *Flow) draw(r *rand.Rand, s *Example) float32 {
	t0, t1 := f.Span()
	return f.At(s, t0+r.Float64()*(t1-t0))
}

// At sets the time of an example, SiT's t, and returns the timestep that the model is told.
func (f *Flow) At(s *Example, t float64) float32 {
	s.timestep = diffusion.Timesteps * (1 - t)
	return float32(s.timestep)
}

// Corrupt implements target.
func (f *Flow) Corrupt(s *Example) {
	l := f.schedule.Level(s.timestep)
	for k, x := range s.XStart {
		s.X[k] = float32(l.Alpha*float64(x) + l.Sigma*float64(s.Noise[k]))
	}
}

// Loss implements target.
func (f *Flow) Loss(grad, out []float32, s *Example, scale float64) Loss {
	level, rate := f.schedule.Level(s.timestep), f.schedule.Rate(s.timestep)
	factor, weight := 1.0, 1.0 // of the output in the difference; of the squared difference
	var x0, noise float64      // what the output times factor should be, by these
	switch f.Config.Prediction {
	case diffusion.PredictVelocity:
		x0, noise = -rate.Alpha, -rate.Sigma
	case diffusion.PredictFlow:
		x0, noise = rate.Alpha, rate.Sigma
	case diffusion.PredictSample:
		x0 = 1
	case diffusion.PredictScore:
		factor, noise, weight = level.Sigma, -1, f.weight(s.timestep, level)
	default:
		noise, weight = 1, f.weight(s.timestep, level)
	}
	n := float64(len(s.X))
	var l Loss
	for k, v := range out[:len(s.X)] {
		d := factor*float64(v) - x0*float64(s.XStart[k]) - noise*float64(s.Noise[k])
		l.MSE += d * d
		grad[k] = float32(scale * weight * factor * 2 * d / n)
	}
	l.MSE /= n
	l.Total = weight * l.MSE
	return l
}

func (f *Flow) weight(timestep float64, l diffusion.Level) float64 {
	g := f.schedule.DiffusionAt(timestep)
	switch f.Weight {
	case WeightVelocity:
		return math.Pow(g/l.Sigma, 2)
	case WeightLikelihood:
		return g / (l.Sigma * l.Sigma)
	}
	return 1
}

// check reports options that a flow does not have.
func (o DenoiserOptions) checkFlow() error {
	if o.MinSNR != 0 {
		return errors.New("min-SNR weights the loss of predicted noise: a flow has none")
	}
	return nil
}

// target is what a Denoiser minimises.
type target interface {
	// draw chooses the time of an example, and returns what the model is told of it.
	draw(r *rand.Rand, s *Example) float32
	// Corrupt sets the X of an example.
	Corrupt(s *Example)
	// Loss returns the loss of s for the network's output, and sets grad to scale times the loss's
	// gradient.
	Loss(grad, out []float32, s *Example, scale float64) Loss
}

// draw implements target.
func (o *Objective) draw(r *rand.Rand, s *Example) float32 {
	s.T = r.IntN(o.Process.Steps())
	return float32(s.T)
}

// Corrupt implements target.
func (o *Objective) Corrupt(s *Example) { o.Process.QSample(s.X, s.XStart, s.Noise, s.T) }
