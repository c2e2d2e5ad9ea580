package calibrate

import (
	"context"
	"math"

	"github.com/tokencache/tokencache/diffusion"
)

// solutionPoints is how many points a solution has, of which UniPC evaluates each once. The error
// that its order leaves is some 30 dB below that of the solvers that are fitted to it.
const solutionPoints = 97

// solution is the converged solution of the probability-flow ODE for some images.
type solution struct {
	schedule     diffusion.Schedule
	survival     *survival
	images, size int
	logSNR       []float64   // of the points: rising, evenly spaced
	x            [][]float32 // at each point, [images, size]
	final        []float32   // [images, size]
}

// solution computes the solution of the first images of a seed.
func (m *maker) solution(ctx context.Context, images int, seed uint64) (*solution, error) {
	m.stage("solving for %d images", images)
	req := m.request(images, seed)
	req.Sampling = diffusion.Sampling{
		Sampler:           "unipc",
		Order:             3,
		NoLowerOrderFinal: true,
		Spacing:           "logsnr",
		Steps:             solutionPoints,
		Guidance:          m.Guidance,
		GuidancePower:     m.GuidancePower,
		GuideAll:          m.GuideAll,
	}
	plan, err := m.p.Plan(req.Sampling)
	if err != nil {
		return nil, err
	}
	shape := m.p.Shape()
	s := &solution{images: images, size: shape.Latents()}
	s.schedule = m.p.Levels()
	for _, sigma := range plan.Sigma {
		s.logSNR, s.x = append(s.logSNR, -math.Log(sigma)), append(s.x, make([]float32, images*s.size))
	}
	req.OnState = func(i, p int, x []float32) { copy(s.x[p][i*s.size:], x) }
	r, err := m.p.Generate(ctx, req)
	if err != nil {
		return nil, err
	}
	var finals [][]float32
	for _, image := range r.Images {
		s.final, finals = append(s.final, image.Latents...), append(finals, image.Latents)
	}
	s.survival = newSurvival(finals, shape.LatentRows, "ddim")
	return s, nil
}

// first returns the first images of s.
func (s *solution) first(images int) *solution {
	few := *s
	few.images, few.final, few.x = images, s.final[:images*s.size], nil
	for _, x := range s.x {
		few.x = append(few.x, x[:images*s.size])
	}
	return &few
}

// at returns y = x/Alpha at a log-SNR between those of the first and the last point, by Lagrange's
// polynomial through the six points around it; at +Inf the images.
func (s *solution) at(logSNR float64) []float32 {
	if math.IsInf(logSNR, 1) {
		return s.final
	}
	const width = 6
	last := len(s.logSNR) - 1
	place := (logSNR - s.logSNR[0]) / (s.logSNR[last] - s.logSNR[0]) * float64(last)
	from := min(max(int(place)-width/2+1, 0), last+1-width)
	y := make([]float32, len(s.final))
	for j := range width {
		c := 1 / s.alphaOf(s.logSNR[from+j])
		for i := range width {
			if i != j {
				c *= (place - float64(from+i)) / float64(j-i)
			}
		}
		add(y, c, s.x[from+j])
	}
	return y
}

// alphaOf returns the signal's share of x at a log-SNR.
func (s *solution) alphaOf(logSNR float64) float64 {
	return s.schedule.Level(s.schedule.Timestep(logSNR)).Alpha
}

// weigh replaces deviations of y at a log-SNR, [images, size], by coefficients that count as they
// survive: see survival.
func (s *solution) weigh(d []float32, logSNR float64) {
	for at := 0; at < len(d); at += s.size {
		s.survival.weigh(d[at:at+s.size], math.Exp(-logSNR))
	}
}

// add adds factor*x to dst.
func add(dst []float32, factor float64, x []float32) {
	f := float32(factor)
	for i, v := range x {
		dst[i] += f * v
	}
}
