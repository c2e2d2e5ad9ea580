package diffusion

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// point is where a step evaluates the network.
type point struct {
	timestep float64
	level    Level
}

// grid is the points of a run in the order in which they are visited, and the level where it ends.
type grid struct {
	points []point
	end    Level
	// plain tells that the run starts from standard normal noise whatever its first level is.
	plain bool
	noise float64 // of a flow, and plain: what the noise is multiplied by all the same; 0: nothing
}

// level returns the level of point k, or the end after the last.
func (g grid) level(k int) Level {
	if k < len(g.points) {
		return g.points[k].level
	}
	return g.end
}

// rule is which of diffusers' readings of a spacing a sampler follows.
type rule int

const (
	multistepRule rule = iota // whole timesteps; the run ends where one more point would be
	sigmaRule                 // real timesteps, of sigmas, as the samplers of Karras et al. take them
	strideRule                // whole timesteps a fixed stride apart, the last near 0
)

const (
	spacingLogSNR    = "logsnr"
	spacingQuadratic = "quadratic"
)

// timestepSpacings are diffusers' spacings of timesteps.
var timestepSpacings = []string{"linspace", "leading", "trailing"}

// Spacings lists the named spacings, which stand in Sampling's Spacing; "+" joins two, see there.
func Spacings() []string {
	ofLevels := []string{"karras", "exponential", "lu", "beta"}
	return slices.Concat(timestepSpacings, ofLevels, []string{spacingLogSNR, spacingQuadratic})
}

// splitSpacing takes a named spacing apart: the spacing of timesteps, which is linspace where only
// a curve is named, and the curve, which may be "".
func splitSpacing(name string) (timesteps, curve string, ok bool) {
	timesteps, curve, joined := strings.Cut(name, "+")
	if !joined && curves[timesteps].at != nil {
		timesteps, curve = timestepSpacings[0], timesteps
	}
	ok = slices.Contains(timestepSpacings, timesteps) && (!joined && curve == "" || curves[curve].at != nil)
	return timesteps, curve, ok || name == spacingLogSNR || name == spacingQuadratic
}

// named tells whether the spacing is one of Spacings or two of them joined, and no list.
func named(spacing string) bool {
	_, _, ok := splitSpacing(spacing)
	return ok
}

// grid returns the points that s visits and where it ends. r is for the named spacings.
func (s Sampling) grid(schedule Schedule, r rule) (grid, error) {
	switch {
	case schedule.IsFlow() && (!named(s.Spacing) || s.Steps < 1 || s.Steps > maxFlowSteps):
		return s.flowGrid(schedule)
	case !named(s.Spacing):
		return s.listGrid(schedule)
	case s.Steps < 1 || s.Steps > schedule.Timesteps():
		return grid{}, &FieldError{"Steps", s.Steps, fmt.Sprintf("1 to %d", schedule.Timesteps())}
	case s.Spacing == spacingLogSNR || s.Spacing == spacingQuadratic:
		return s.smoothGrid(schedule), nil
	case schedule.IsFlow():
		return s.recordedFlowGrid(schedule, r)
	}
	return s.recordedGrid(schedule, r)
}

// listGrid has the points of Space.
func (s Sampling) listGrid(schedule Schedule) (grid, error) {
	p, err := NewProcess(schedule, s.StepsText())
	if err != nil {
		return grid{}, err
	}
	g := grid{end: clean}
	for i := p.Steps() - 1; i >= 0; i-- {
		g.points = append(g.points, point{p.Timestep(i), levelAt(p.AlphaCumprod(i))})
	}
	if s.Final == FinalSigmaMin {
		g.end = levelOfLogSNR(schedule.LogSNR(0))
	}
	return g, nil
}

// smoothGrid spaces log-SNR, or the root of the timestep, evenly. Nothing is rounded. Where the run
// ends at the last timestep's level, that is the end and no point.
func (s Sampling) smoothGrid(schedule Schedule) grid {
	g, n := grid{end: clean}, s.Steps
	first, last := schedule.inner()
	if s.Final == FinalSigmaMin {
		g.end, n = schedule.Level(last), n+1
	}
	if s.Spacing == spacingLogSNR {
		for _, lambda := range evenly(schedule.LogSNR(first), schedule.LogSNR(last), n) {
			g.points = append(g.points, schedule.pointOf(lambda))
		}
	} else {
		for _, root := range evenly(math.Sqrt(schedule.First()), math.Sqrt(last), n) {
			g.points = append(g.points, schedule.point(snap(root*root)))
		}
	}
	g.points = g.points[:s.Steps]
	return g
}

// recordedGrid follows diffusers, whose alpha-bars are rounded to float32.
func (s Sampling) recordedGrid(schedule Schedule, r rule) (grid, error) {
	sigmas := make([]float64, schedule.Timesteps())
	for t, a := range schedule.single {
		sigmas[t] = math.Sqrt((1 - a) / a)
	}
	g := grid{end: clean}
	if s.Final == FinalSigmaMin {
		g.end = levelAt(schedule.single[0])
	}
	spacing, name, _ := splitSpacing(s.Spacing)
	times, err := spaceTimesteps(spacing, s.Steps, s.StepsOffset, len(sigmas), r)
	if err != nil {
		return grid{}, err
	}
	if name == "" {
		for _, t := range times {
			level := levelOfRatio(interpolate(sigmas, t))
			if whole := int(t); t == float64(whole) {
				level = levelAt(schedule.single[whole])
			}
			g.points = append(g.points, point{t, level})
		}
		return g, nil
	}
	low, high := sigmas[0], sigmas[len(sigmas)-1]
	if r == sigmaRule {
		low, high = interpolate(sigmas, times[len(times)-1]), interpolate(sigmas, times[0])
	} else if s.Spacing != name {
		want := fmt.Sprintf("%s alone: sampler %q spans all sigmas", name, s.Sampler)
		return grid{}, &FieldError{"Spacing", s.Spacing, want}
	}
	c := curves[name]
	for _, sigma := range c.at(s.Steps, low, high) {
		t := timestepOf(sigmas, sigma)
		switch {
		case r == sigmaRule:
		case c.truncates:
			t = math.Floor(t)
		default:
			t = math.RoundToEven(t)
		}
		g.points = append(g.points, point{t, levelOfRatio(sigma)})
	}
	return g, nil
}

// spaceTimesteps returns n of the timesteps 0..total-1, falling.
func spaceTimesteps(spacing string, n, offset, total int, r rule) ([]float64, error) {
	times := make([]float64, n)
	switch spacing {
	case "linspace":
		intervals := n // of which the lowest end is dropped
		if r != multistepRule {
			intervals = n - 1
		}
		for i := range times {
			if intervals > 0 {
				times[i] = float64(intervals-i) * (float64(total-1) / float64(intervals))
			}
			if r != sigmaRule {
				times[i] = math.RoundToEven(times[i])
			}
		}
	case "leading":
		stride, first := total/n, n-1
		if r == multistepRule {
			stride, first = total/(n+1), n
		}
		if stride == 0 {
			return nil, &FieldError{"Steps", n, fmt.Sprintf("1 to %d with the spacing leading", total-1)}
		}
		if highest := total - 1 - first*stride; offset < 0 || offset > highest {
			return nil, &FieldError{"StepsOffset", offset, fmt.Sprintf("0 to %d", highest)}
		}
		for i := range times {
			times[i] = float64((first-i)*stride + offset)
		}
	case "trailing":
		for i := range times {
			times[i] = math.RoundToEven(float64(total)-float64(i)*(float64(total)/float64(n))) - 1
		}
	}
	return times, nil
}

// interpolate returns y at a real index, linearly.
func interpolate(y []float64, at float64) float64 {
	k := min(int(at), len(y)-2)
	return y[k] + (y[k+1]-y[k])*(at-float64(k))
}
