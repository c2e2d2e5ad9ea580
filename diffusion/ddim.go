package diffusion

import "math"

// DDIM is the sampler of Song et al. 2021 (arXiv 2010.02502), equation 12. Eta in [0, 1] scales its
// noise: 0 is deterministic, 1 has the mean and variance of DDPM with FixedSmall.
type DDIM struct {
	*Process
	Eta          float64
	ClipDenoised bool // clamp every predicted x_0 to [-1, 1]
}

// DrawsNoise reports true, also where Eta is 0.
func (DDIM) DrawsNoise() bool { return true }

func (d DDIM) step(t *Trajectory, i int, out, noise []float32) {
	n := len(t.x)
	d.predictXStart(t.x0, t.x, out[:n], i, d.ClipDenoised)

	// As in the published code, epsilon is derived anew from x_0, which may have been clamped, and
	// the coefficients are computed in float32.
	recip, recipM1 := d.recip(i)
	ab, abPrev := float32(d.alphaCumprod[i]), float32(d.alphaCumprodPrev[i])
	sigma := float32(float32(d.Eta)*sqrt32((1-abPrev)/(1-ab))) * sqrt32(1-ab/abPrev)
	toX0, toEps := sqrt32(abPrev), sqrt32(max(0, 1-abPrev-float32(sigma*sigma)))
	for k, x0 := range t.x0 {
		eps := (float32(recip*t.x[k]) - x0) / recipM1
		t.x[k] = float32(x0*toX0) + float32(toEps*eps)
	}
	if i > 0 && d.Eta != 0 {
		checkLength("noise", len(noise), n)
		combine(t.x, 1, t.x, sigma, noise)
	}
}

func sqrt32(x float32) float32 { return float32(math.Sqrt(float64(x))) }
