package diffusion

import (
	"cmp"
	"fmt"
	"math"
)

// Path is how a flow model's samples go from noise to data: SiT's interpolants (Ma et al. 2024,
// arXiv 2401.08740, section 2.4).
type Path string

const (
	LinearPath Path = "Linear" // alpha = t, sigma = 1-t
	GVPPath    Path = "GVP"    // alpha = sin(pi t/2), sigma = cos(pi t/2)
	VPPath     Path = "VP"     // the continuous form of Linear's betas, from 0.1 to 20
)

// Paths lists them.
func Paths() []Path { return []Path{LinearPath, GVPPath, VPPath} }

// flowSchedules are the names of the flows' schedules in a Network.
var flowSchedules = map[string]Path{"flow-linear": LinearPath, "flow-gvp": GVPPath, "flow-vp": VPPath}

// Schedule returns the path's schedule as Network names it.
func (p Path) Schedule() string {
	for name, path := range flowSchedules {
		if path == p {
			return name
		}
	}
	return string(p)
}

// Flow returns the schedule of a flow model. Its timesteps are real numbers from 1000, which is
// noise alone, to 0, which is data: 1000(1-t) of SiT's t, which runs from noise to data.
func Flow(p Path) (Schedule, error) {
	switch p {
	case LinearPath, GVPPath, VPPath:
		return Schedule{path: p}, nil
	}
	return Schedule{}, fmt.Errorf("unknown flow path %q: want one of %v", p, Paths())
}

// Name returns the name of a flow's schedule, and linear for any other.
func (s Schedule) Name() string {
	if s.IsFlow() {
		return s.path.Schedule()
	}
	return "linear"
}

// IsFlow tells whether the schedule is a flow's.
func (s Schedule) IsFlow() bool { return s.path != "" }

// The betas of VPPath at t = 1 and at t = 0.
const (
	vpLow  = 0.1
	vpHigh = 20
)

// level returns the level at u = timestep/1000.
func (p Path) level(u float64) Level {
	switch p {
	case LinearPath:
		return Level{Alpha: 1 - u, Sigma: u}
	case GVPPath:
		return Level{Alpha: math.Sin(math.Pi / 2 * (1 - u)), Sigma: math.Sin(math.Pi / 2 * u)}
	}
	log := -u*u*(vpHigh-vpLow)/4 - u*vpLow/2
	return Level{Alpha: math.Exp(log), Sigma: math.Sqrt(-math.Expm1(2 * log))}
}

// rate returns the derivative of the level by u.
func (p Path) rate(u float64) Level {
	switch p {
	case LinearPath:
		return Level{Alpha: -1, Sigma: 1}
	case GVPPath:
		return Level{Alpha: -math.Pi / 2 * math.Sin(math.Pi/2*u), Sigma: math.Pi / 2 * math.Sin(math.Pi/2*(1-u))}
	}
	l := p.level(u)
	growth := p.growth(u)
	return Level{Alpha: -l.Alpha * growth, Sigma: l.Alpha * l.Alpha * growth / l.Sigma}
}

// time returns u of a log-SNR: the inverse of level.
func (p Path) time(logSNR float64) float64 {
	switch p {
	case LinearPath:
		return 1 / (1 + math.Exp(logSNR))
	case GVPPath:
		return 2 / math.Pi * math.Atan(math.Exp(-logSNR))
	}
	c := math.Log1p(math.Exp(-2*logSNR)) / 2 // -log alpha
	return 2 * c / (vpLow/2 + math.Sqrt(vpLow*vpLow/4+(vpHigh-vpLow)*c))
}

// growth returns alpha'/alpha by t, which is infinite where there is no data.
func (p Path) growth(u float64) float64 {
	switch p {
	case LinearPath:
		return 1 / (1 - u)
	case GVPPath:
		return math.Pi / 2 * math.Sin(math.Pi/2*u) / math.Sin(math.Pi/2*(1-u))
	}
	return (vpLow + u*(vpHigh-vpLow)) / 2
}

// diffusion returns SiT's g, half the squared diffusion coefficient of the path's forward SDE:
// (alpha'/alpha) sigma^2 - sigma sigma', derivatives by t. It is infinite where there is no data.
func (p Path) diffusion(u float64) float64 {
	if p == VPPath { // its alpha^2 + sigma^2 is 1
		return p.growth(u)
	}
	l, r := p.level(u), p.rate(u)
	return p.growth(u)*l.Sigma*l.Sigma + l.Sigma*r.Sigma
}

// noiseScale returns the standard deviation of a flow's noise.
func (s Schedule) noiseScale() float64 { return cmp.Or(s.noise, 1) }

// levelAt returns a flow's level at u.
func (s Schedule) levelAt(u float64) Level {
	l := s.path.level(u)
	l.Sigma *= s.noiseScale()
	return l
}

// rateAt returns the derivative of a flow's level by u.
func (s Schedule) rateAt(u float64) Level {
	r := s.path.rate(u)
	r.Sigma *= s.noiseScale()
	return r
}

// timeOf returns u of a log-SNR of a flow.
func (s Schedule) timeOf(logSNR float64) float64 {
	return s.path.time(logSNR + math.Log(s.noiseScale()))
}

// diffusionAt is Path.diffusion with the noise of the schedule.
func (s Schedule) diffusionAt(u float64) float64 {
	return s.path.diffusion(u) * s.noiseScale() * s.noiseScale()
}

// time returns u of a flow's point. Where a timestep was rounded, the level tells.
func (s Schedule) time(at point) float64 {
	if s.path == LinearPath {
		return at.level.Sigma / s.noiseScale()
	}
	return at.timestep / Timesteps
}

// point returns the point of a real timestep, which is clamped to those of the schedule.
func (s Schedule) point(timestep float64) point {
	if s.IsFlow() {
		return point{timestep, s.levelAt(timestep / Timesteps)}
	}
	return point{timestep, levelOfLogSNR(s.LogSNR(timestep))}
}

// pointOf returns the point of a log-SNR, which is clamped to those of the schedule.
func (s Schedule) pointOf(logSNR float64) point {
	if s.IsFlow() {
		return s.point(s.Timestep(logSNR))
	}
	return point{s.Timestep(logSNR), levelOfLogSNR(logSNR)}
}

// Level returns the level at a real timestep.
func (s Schedule) Level(timestep float64) Level { return s.point(timestep).level }

// First returns the noisiest timestep at which the network's output can be read, and Last the least
// noisy one of those that a run visits: 999 and 0 of the noise schedules.
func (s Schedule) First() float64 {
	switch {
	case !s.IsFlow():
		return float64(s.Timesteps() - 1)
	case s.path != VPPath && (s.prediction == PredictNoise || s.prediction == PredictScore):
		return Timesteps - flowMargin // where there is no data, noise does not tell of any
	}
	return Timesteps
}

// Last is described at First.
func (s Schedule) Last() float64 { return 0 }

// flowMargin is how far from both ends, in timesteps, a flow's levels have a log-SNR that is not
// extreme: SiT's sample_eps.
const flowMargin = 1

// inner returns the timesteps between which the log-SNR is finite and not extreme.
func (s Schedule) inner() (first, last float64) {
	switch {
	case !s.IsFlow():
		return s.First(), 0
	case s.path == VPPath:
		return Timesteps, flowMargin
	}
	return Timesteps - flowMargin, flowMargin
}

// Rate returns the derivative of a flow's level by the timestep over 1000.
func (s Schedule) Rate(timestep float64) Level { return s.rateAt(timestep / Timesteps) }

// DiffusionAt returns half the squared diffusion coefficient of a flow's forward SDE: SiT's g.
func (s Schedule) DiffusionAt(timestep float64) float64 {
	return s.diffusionAt(timestep / Timesteps)
}
