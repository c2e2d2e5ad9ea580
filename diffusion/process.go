package diffusion

import (
	"fmt"
	"math"
	"slices"
)

// Process is a schedule restricted to the timesteps that a sampler visits, with the coefficients
// that follow from it. Its steps are numbered by index i from 0, the least noisy, to Steps()-1; a
// sampler counts down. It is immutable and may be shared.
type Process struct {
	timesteps []float64 // index -> timestep of the schedule

	betas            []float64
	alphaCumprod     []float64
	alphaCumprodPrev []float64 // alphaCumprod of index i-1; 1 at index 0

	posteriorVariance   []float64 // variance of q(x_{i-1} | x_i, x_0); 0 at index 0
	posteriorLogClipped []float64 // its logarithm, the first replaced by the second
	posteriorX0         []float64 // coefficient of x_0 in that distribution's mean
	posteriorX          []float64 // coefficient of x_i in that distribution's mean
}

// NewProcess restricts a schedule to the timesteps of [Space]. An empty specification keeps them
// all.
//
// The betas of the shorter process are chosen so that its alpha-bars are the schedule's at the
// timesteps that are left (Nichol and Dhariwal 2021, equation 19).
func NewProcess(s Schedule, spacing string) (*Process, error) {
	n := s.Timesteps()
	if n == 0 {
		return nil, fmt.Errorf("noise schedule has no timesteps")
	}
	if spacing == "" {
		spacing = fmt.Sprint(n)
	}
	steps, err := Space(n, spacing)
	if err != nil {
		return nil, err
	}
	alphaCumprod := make([]float64, n)
	product := 1.0
	for t, beta := range s.betas {
		product *= 1 - beta
		alphaCumprod[t] = product
	}
	timesteps, kept := make([]float64, len(steps)), make([]float64, len(steps))
	for i, t := range steps {
		timesteps[i], kept[i] = float64(t), alphaCumprod[t]
	}
	return processAt(timesteps, kept), nil
}

// processAt returns the process whose alpha-bars are those given, at the timesteps given, both by
// index.
func processAt(timesteps, alphaCumprod []float64) *Process {
	betas := make([]float64, len(timesteps))
	last := 1.0
	for i, now := range alphaCumprod {
		betas[i] = 1 - now/last
		last = now
	}
	return newProcess(timesteps, betas)
}

func newProcess(timesteps, betas []float64) *Process {
	n := len(betas)
	p := &Process{timesteps: timesteps, betas: betas}
	for _, table := range []*[]float64{
		&p.alphaCumprod, &p.alphaCumprodPrev, &p.posteriorVariance, &p.posteriorLogClipped, &p.posteriorX0, &p.posteriorX,
	} {
		*table = make([]float64, n)
	}
	prev := 1.0
	for i, beta := range betas {
		alpha := 1 - beta
		now := prev * alpha
		p.alphaCumprod[i], p.alphaCumprodPrev[i] = now, prev
		p.posteriorVariance[i] = beta * (1 - prev) / (1 - now)
		p.posteriorX0[i] = beta * math.Sqrt(prev) / (1 - now)
		p.posteriorX[i] = (1 - prev) * math.Sqrt(alpha) / (1 - now)
		prev = now
	}
	for i := range p.posteriorLogClipped {
		p.posteriorLogClipped[i] = math.Log(p.posteriorVariance[i])
	}
	// The posterior at index 0 has no variance, so its logarithm is that of index 1. A process of
	// one step has no other, and no step of it adds noise; beta keeps the value finite.
	if n > 1 {
		p.posteriorLogClipped[0] = p.posteriorLogClipped[1]
	} else {
		p.posteriorLogClipped[0] = math.Log(betas[0])
	}
	return p
}

// Steps is the number of steps.
func (p *Process) Steps() int { return len(p.timesteps) }

// Timestep is the schedule's timestep at index i, which is what the model is told.
func (p *Process) Timestep(i int) float64 { return p.timesteps[i] }

// Timesteps lists the timesteps of all indices, rising.
func (p *Process) Timesteps() []float64 { return slices.Clone(p.timesteps) }

// Beta is the variance that index i adds to index i-1.
func (p *Process) Beta(i int) float64 { return p.betas[i] }

// AlphaCumprod is alpha-bar at index i: the share of x_0's variance in x_i. The rest, 1 -
// alpha-bar, is noise.
func (p *Process) AlphaCumprod(i int) float64 { return p.alphaCumprod[i] }

// LogSNR is log(sqrt(alpha-bar)/sqrt(1 - alpha-bar)) at index i, and +Inf at index -1, the finished
// sample.
func (p *Process) LogSNR(i int) float64 {
	if i < 0 {
		return math.Inf(1)
	}
	return (math.Log(p.alphaCumprod[i]) - math.Log1p(-p.alphaCumprod[i])) / 2
}

// Sigma is the noise at index i relative to the signal, and 0 at index -1.
func (p *Process) Sigma(i int) float64 {
	if i < 0 {
		return 0
	}
	return math.Sqrt(1/p.alphaCumprod[i] - 1)
}

func (p *Process) memory() (past int, base bool) { return 0, false }

func (p *Process) startScale() float32 { return 1 }

// PosteriorVariance is the variance of q(x_{i-1} | x_i, x_0): Ho et al. 2020, equation 7.
func (p *Process) PosteriorVariance(i int) float64 { return p.posteriorVariance[i] }

// PosteriorMean sets dst to the mean of q(x_{i-1} | x_i, x_0): Ho et al. 2020, equation 7. dst may
// be x or x0.
func (p *Process) PosteriorMean(dst, x0, x []float32, i int) {
	combine(dst, float32(p.posteriorX0[i]), x0, float32(p.posteriorX[i]), x)
}

// QSample sets dst to x_i = sqrt(alpha-bar_i)*x0 + sqrt(1 - alpha-bar_i)*noise: data with the noise
// of index i. dst may be either operand.
func (p *Process) QSample(dst, x0, noise []float32, i int) {
	combine(dst, float32(math.Sqrt(p.alphaCumprod[i])), x0, float32(math.Sqrt(1-p.alphaCumprod[i])), noise)
}

// recip gives the coefficients of x_0 = recip*x_i - recipM1*epsilon.
func (p *Process) recip(i int) (recip, recipM1 float32) {
	return float32(math.Sqrt(1 / p.alphaCumprod[i])), float32(math.Sqrt(1/p.alphaCumprod[i] - 1))
}

// predictXStart sets dst to the x_0 that x at index i and the predicted noise imply, clamped to
// [-1, 1] if clip.
func (p *Process) predictXStart(dst, x, eps []float32, i int, clip bool) {
	recip, recipM1 := p.recip(i)
	combine(dst, recip, x, -recipM1, eps)
	if clip {
		for k, v := range dst {
			dst[k] = min(max(v, -1), 1)
		}
	}
}

// combine sets dst = a*x + b*y, each product rounded before the sum.
func combine(dst []float32, a float32, x []float32, b float32, y []float32) {
	checkLength("x", len(x), len(dst))
	checkLength("y", len(y), len(dst))
	for k := range dst {
		dst[k] = float32(a*x[k]) + float32(b*y[k])
	}
}

func checkLength(what string, got, want int) {
	if got != want {
		panic(fmt.Sprintf("diffusion: %s has %d values, want %d", what, got, want))
	}
}
