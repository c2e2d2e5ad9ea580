package diffusion

import (
	"fmt"
	"math"
)

// GuidanceKind is which channels of epsilon guidance acts on.
type GuidanceKind int

const (
	// GuideFirst3 guides the first three channels of epsilon (or all, if there are fewer), as the
	// published DiT code does.
	GuideFirst3 GuidanceKind = iota
	// GuideAll guides all channels of epsilon.
	GuideAll
)

// Guidance is classifier-free guidance (Ho and Salimans 2022, arXiv 2207.12598): epsilon moves from
// its prediction without a class past the one with the class.
type Guidance struct {
	Kind  GuidanceKind
	Scale float64 // 1 is none, 0 the prediction without a class
	// ScaleAt, if not nil, gives the scale at each timestep instead of Scale.
	ScaleAt func(timestep float64) float64
}

// PowerCosine returns a ScaleAt that grows while the noise falls, from nearly 1 to scale: 1 +
// (scale-1)·(1-cos(π·(1-t/1000)^power))/2, MDT's. It is by the timestep t that the model is told,
// whatever the number of steps. Powers near 0 give scale almost everywhere, high ones for the last
// steps only.
func PowerCosine(scale, power float64) func(timestep float64) float64 {
	return func(timestep float64) float64 {
		left := math.Pow(1-timestep/Timesteps, power)
		return 1 + (scale-1)*(1-math.Cos(math.Pi*left))/2
	}
}

// Interval returns a ScaleAt that is g's where timestep/1000 is from low to high, and 1, no
// guidance, elsewhere (Kynkäänniemi et al. 2024, arXiv 2404.07724).
func Interval(g Guidance, low, high float64) func(timestep float64) float64 {
	scale, scaleAt := g.Scale, g.ScaleAt
	return func(timestep float64) float64 {
		switch u := timestep / Timesteps; {
		case u < low || u > high:
			return 1
		case scaleAt != nil:
			return scaleAt(timestep)
		}
		return scale
	}
}

// Enabled tells whether the prediction without a class is needed at all.
func (g Guidance) Enabled() bool { return g.ScaleAt != nil || g.Scale != 1 }

// Apply sets dst to the guided output of one image. cond and uncond are the network's outputs for
// its class and for the null class, [Cout*hw] each, whose first channels*hw values are epsilon.
// Guided channels get uncond + scale*(cond-uncond); what follows, the other channels of epsilon and
// the variance values, is cond's own. dst may be cond or uncond.
//
// The published code carries both outputs on as two halves of a batch, but feeds the model from the
// first half alone and keeps that half's images, so this is all that reaches them.
func (g Guidance) Apply(dst, cond, uncond []float32, channels, hw int, timestep float64) {
	checkLength("guided output", len(dst), len(cond))
	checkLength("unconditional output", len(uncond), len(cond))
	guided := channels * hw
	if g.Kind == GuideFirst3 {
		guided = min(channels, 3) * hw
	}
	if guided < 0 || channels*hw > len(cond) {
		panic(fmt.Sprintf("diffusion: model output has %d values, too few for %d channels of %d", len(cond), channels, hw))
	}
	scale := float32(g.Scale)
	if g.ScaleAt != nil {
		scale = float32(g.ScaleAt(timestep))
	}
	for k, u := range uncond[:guided] {
		dst[k] = u + float32(scale*(cond[k]-u))
	}
	copy(dst[guided:], cond[guided:])
}
