package diffusion

import (
	"cmp"
	"fmt"
	"math"
)

// Prediction is what a network predicts of x = alpha*x_0 + sigma*noise. The zero value is
// PredictNoise.
type Prediction string

const (
	PredictNoise    Prediction = "epsilon"  // noise
	PredictSample   Prediction = "sample"   // x_0
	PredictScore    Prediction = "score"    // -noise/sigma
	PredictVelocity Prediction = "velocity" // of a flow: dx/dt, where t = 1 - timestep/1000 runs towards data
	// PredictFlow is the velocity of a flow towards noise, dx/du with u = timestep/1000: diffusers'
	// flow_prediction, and REPA's.
	PredictFlow Prediction = "flow_prediction"
)

// Predictions lists them.
func Predictions() []Prediction {
	return []Prediction{PredictNoise, PredictSample, PredictScore, PredictVelocity, PredictFlow}
}

// pair is a combination x*x + out*out of the sample and the network's output for it.
type pair struct{ x, out float64 }

func (p pair) plus(f float64, q pair) pair { return pair{p.x + f*q.x, p.out + f*q.out} }

func (p pair) times(f float64) pair { return pair{f * p.x, f * p.out} }

func (p pair) finite() bool { return finite(p.x) && finite(p.out) }

// apply sets dst to the combination, each product rounded before the sum. dst may be an operand.
func (p pair) apply(dst, x, out []float32) {
	switch p {
	case pair{1, 0}:
		copy(dst, x)
	case pair{0, 1}:
		copy(dst, out)
	default:
		combine(dst, float32(p.x), x, float32(p.out), out)
	}
}

// reading is what follows from the network's output at a point.
type reading struct {
	x0, noise pair
	velocity  pair // towards data, of flows only
}

// read returns how the network's output is read at a point.
func (s Schedule) read(at point) reading {
	alpha, sigma := at.level.Alpha, at.level.Sigma
	var r reading
	switch s.prediction {
	case PredictSample:
		if u := s.time(at); s.floor > 0 && u < s.floor {
			r = s.readFloored(at, u)
			break
		}
		r = reading{x0: pair{out: 1}, noise: pair{1 / sigma, -alpha / sigma}}
		r.velocity = s.velocityOf(at, r)
	case PredictScore:
		r = reading{x0: pair{1 / alpha, sigma * sigma / alpha}, noise: pair{out: -sigma}}
		if s.IsFlow() {
			r.velocity = pair{s.path.growth(s.time(at)), s.diffusionAt(s.time(at))}
		}
	case PredictVelocity, PredictFlow:
		r = s.readVelocity(at)
	default:
		r = reading{x0: pair{1 / alpha, -sigma / alpha}, noise: pair{out: 1}}
		if s.IsFlow() {
			r.velocity = pair{s.path.growth(s.time(at)), -s.diffusionAt(s.time(at)) / sigma}
		}
	}
	if sigma == 0 { // data, where rates may be infinite
		r.x0, r.noise = pair{x: 1}, pair{}
	}
	return r
}

// readFloored is read for predicted samples where 1-t, u, is below the floor: the velocity is
// (out-x)/floor, and x_0 and noise are those that have it.
func (s Schedule) readFloored(at point, u float64) reading {
	velocity := pair{-1 / s.floor, 1 / s.floor}
	x0 := pair{x: 1}.plus(u, velocity)
	noise := pair{x: 1}.plus(-(1 - u), velocity).times(1 / s.noiseScale())
	if at.level.Sigma == 0 {
		noise = pair{}
	}
	return reading{x0: x0, noise: noise, velocity: velocity}
}

// readVelocity is read for networks that predict a velocity.
func (s Schedule) readVelocity(at point) reading {
	towards := 1.0
	if s.prediction == PredictFlow {
		towards = -1
	}
	alpha, sigma, rate := at.level.Alpha, at.level.Sigma, s.rateAt(s.time(at))
	d := alpha*rate.Sigma - rate.Alpha*sigma
	return reading{
		x0:       pair{rate.Sigma / d, towards * sigma / d},
		noise:    pair{-rate.Alpha / d, -towards * alpha / d},
		velocity: pair{out: towards},
	}
}

// velocityOf returns the velocity by x_0 and noise.
func (s Schedule) velocityOf(at point, r reading) pair {
	if !s.IsFlow() {
		return pair{}
	}
	rate := s.rateAt(s.time(at))
	return r.x0.times(-rate.Alpha).plus(-rate.Sigma, r.noise)
}

// check reports a prediction that the schedule does not have.
func (p Prediction) check(s Schedule) error {
	switch p {
	case "", PredictNoise, PredictSample, PredictScore:
		return nil
	case PredictVelocity, PredictFlow:
		if s.IsFlow() {
			return nil
		}
		return fmt.Errorf("prediction %s: only flows have a velocity, not a schedule of betas", p)
	}
	return fmt.Errorf("unknown prediction %q: want one of %v", p, Predictions())
}

// Noise sets dst to the noise that a network's output at a timestep implies, given x there. dst may
// be x or out.
func (s Schedule) Noise(dst, x, out []float32, timestep float64) {
	s.read(s.point(timestep)).noise.apply(dst, x, out[:len(x)])
}

// PredictedX0 sets dst to the x_0 that a network's output at a timestep implies, given x there. dst
// may be x or out.
func (s Schedule) PredictedX0(dst, x, out []float32, timestep float64) {
	s.read(s.point(timestep)).x0.apply(dst, x, out[:len(x)])
}

// NoiseShare returns how much the noise read from the output changes with the output, at a
// timestep: 1 where the network predicts noise.
func (s Schedule) NoiseShare(timestep float64) float64 {
	return math.Abs(s.read(s.point(timestep)).noise.out)
}

// predicts returns what the network predicts, in words.
func (s Schedule) predicts() Prediction { return cmp.Or(s.prediction, PredictNoise) }
