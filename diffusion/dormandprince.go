package diffusion

import "math"

// dopriStages are those of a step, of which the last is the first of the next.
const dopriStages = 7

var (
	dopriNodes = []float64{0, 1. / 5, 3. / 10, 4. / 5, 8. / 9, 1, 1}
	dopriStage = [][]float64{ // of each stage but the first
		{1. / 5},
		{3. / 40, 9. / 40},
		{44. / 45, -56. / 15, 32. / 9},
		{19372. / 6561, -25360. / 2187, 64448. / 6561, -212. / 729},
		{9017. / 3168, -355. / 33, 46732. / 5247, 49. / 176, -5103. / 18656},
		{35. / 384, 0, 500. / 1113, 125. / 192, -2187. / 6784, 11. / 84},
	}
	dopriError = []float64{ // fifth order minus fourth
		35./384 - 1951./21600,
		0,
		500./1113 - 22642./50085,
		125./192 - 451./720,
		-2187./6784 + 12231./42400,
		11./84 - 649./6300,
		-1. / 60,
	}
	dopriMiddle = []float64{ // y at the middle of a step (Shampine 1986)
		6025192743. / 30085553152 / 2,
		0,
		51252292925. / 65400821598 / 2,
		-2691868925. / 45128329728 / 2,
		187940372067. / 1594534317056 / 2,
		-1776094331. / 19743644256 / 2,
		11237099. / 235043384 / 2,
	}
)

// dopri is the state of an integration of y' = f(t, y) from t up to a time. Whoever integrates puts
// f at now() and x into slot(), and takes it.
type dopri[T float32 | float64] struct {
	x    []T   // where f is to be evaluated next; at the end the result
	base []T   // y at the start of the step
	k    [][]T // f at the stages

	t, to, dt      float64
	absTol, relTol float64

	stage int     // the next to be evaluated; -1 while the size of the first step is being found
	probe float64 // its length
	calls int
	taken func(t, dt float64, accepted bool) // if not nil, is told of every step
	saved func()                             // if not nil, is called with each step that is accepted
}

// now returns the time of the evaluation to come.
func (p *dopri[T]) now() float64 {
	switch {
	case p.stage < 0:
		return p.t + p.probe
	case p.stage >= 5: // at the end of the step; torchdiffeq takes the number just below
		if _, single := any(p.x).([]float32); single {
			return float64(math.Nextafter32(float32(p.t+p.dt), -1))
		}
		return math.Nextafter(p.t+p.dt, -1)
	}
	return p.t + dopriNodes[p.stage]*p.dt
}

// slot returns where f at now() and x belongs.
func (p *dopri[T]) slot() []T {
	if p.stage < 0 {
		return p.k[1]
	}
	return p.k[p.stage]
}

// take goes on after an evaluation, and reports whether x is the result. last accepts whatever the
// error.
func (p *dopri[T]) take(last bool) (done bool) {
	p.calls++
	switch p.stage {
	case 0:
		copy(p.base, p.x)
		p.guess()
	case -1:
		p.settle()
	case dopriStages - 1:
		return p.decide(last)
	default:
		p.advance()
	}
	return false
}

// advance goes to the next stage.
func (p *dopri[T]) advance() {
	p.stage++
	p.combine(p.dt, dopriStage[p.stage-1])
}

// combine sets x to base + dt * (k by weights).
func (p *dopri[T]) combine(dt float64, weights []float64) {
	for i, y := range p.base {
		var sum T
		for j, w := range weights {
			sum += T(T(w*dt) * p.k[j][i])
		}
		p.x[i] = y + sum
	}
}

// norm returns the root mean square of values over their tolerances, which are by base and by y1
// where that is not nil.
func (p *dopri[T]) norm(value func(i int) float64, y1 []T) float64 {
	sum := 0.0
	for i, y := range p.base {
		size := math.Abs(float64(y))
		if y1 != nil {
			size = max(size, math.Abs(float64(y1[i])))
		}
		v := value(i) / (p.absTol + p.relTol*size)
		sum += v * v
	}
	return math.Sqrt(sum / float64(len(p.base)))
}

// guess begins to find the size of the first step (Hairer, Nørsett and Wanner 1993, section II.4),
// which takes another evaluation.
func (p *dopri[T]) guess() {
	d0 := p.norm(func(i int) float64 { return float64(p.base[i]) }, nil)
	d1 := p.norm(func(i int) float64 { return float64(p.k[0][i]) }, nil)
	p.probe, p.stage = 1e-6, -1
	if d0 >= 1e-5 && d1 >= 1e-5 {
		p.probe = 0.01 * d0 / d1
	}
	p.combine(p.probe, []float64{1})
}

// settle chooses the size of the first step.
func (p *dopri[T]) settle() {
	d1 := p.norm(func(i int) float64 { return float64(p.k[0][i]) }, nil)
	d2 := p.norm(func(i int) float64 { return float64(p.k[1][i] - p.k[0][i]) }, nil) / p.probe
	h := max(1e-6, p.probe*1e-3)
	if d1 > 1e-15 || d2 > 1e-15 {
		h = math.Pow(0.01/max(d1, d2), 1./5)
	}
	p.dt, p.stage = min(100*p.probe, h), 0
	p.advance()
}

// decide accepts a step, or tries a shorter one.
func (p *dopri[T]) decide(last bool) (done bool) {
	ratio := p.norm(func(i int) float64 {
		sum := 0.0
		for j, w := range dopriError {
			sum += p.dt * w * float64(p.k[j][i])
		}
		return sum
	}, p.x)
	accepted, factor := ratio <= 1 || last, 10.0
	if p.taken != nil {
		p.taken(p.t, p.dt, accepted)
	}
	if ratio > 0 {
		low := 0.2
		if accepted {
			low = 1
		}
		factor = min(10, max(0.9/math.Pow(ratio, 1./5), low))
	}
	if accepted {
		if p.saved != nil {
			p.saved()
		}
		if p.t+p.dt >= p.to || last {
			p.interpolate(p.x, min(p.to, p.t+p.dt))
			return true
		}
		p.t += p.dt
		copy(p.base, p.x)
		p.k[0], p.k[dopriStages-1] = p.k[dopriStages-1], p.k[0]
	}
	p.dt *= factor
	p.stage = 0
	p.advance()
	return false
}

// interpolate sets dst, which may be x, to y at a time within the step, by a polynomial of fourth
// order.
func (p *dopri[T]) interpolate(dst []T, at float64) {
	u := (at - p.t) / p.dt
	for i := range dst {
		y0, y1 := float64(p.base[i]), float64(p.x[i])
		v0, v1 := p.dt*float64(p.k[0][i]), p.dt*float64(p.k[dopriStages-1][i])
		middle := y0
		for j, w := range dopriMiddle {
			middle += p.dt * w * float64(p.k[j][i])
		}
		a := 2*(v1-v0) - 8*(y1+y0) + 16*middle
		b := 5*v0 - 3*v1 + 18*y0 + 14*y1 - 32*middle
		c := v1 - 4*v0 - 11*y0 - 5*y1 + 16*middle
		dst[i] = T(y0 + u*(v0+u*(c+u*(b+u*a))))
	}
}

// ODEStep is a step that SolveODE tried.
type ODEStep struct {
	T, Size  float64
	Accepted bool
}

// SolveODE integrates y' = f(t, y) through rising times in float64, by the methods of sampler ode:
// dopri5, with steps of its own choosing and SiT's tolerances, or another with one step from each
// time to the next. It returns y at the times, and the steps of dopri5. f sets dy.
func SolveODE(method string, times, y []float64, f func(dy, y []float64, t float64)) (ys [][]float64, steps []ODEStep) {
	if method == dopriName {
		return solveDopri(times, y, f)
	}
	by := tableaus[method]
	y = append([]float64(nil), y...)
	ys = append(ys, append([]float64(nil), y...))
	k, at := make([][]float64, len(by.nodes)), make([]float64, len(y))
	combine := func(dt float64, weights []float64) {
		copy(at, y)
		for j, w := range weights {
			for i := range at {
				at[i] += dt * w * k[j][i]
			}
		}
	}
	for n, t := range times[:len(times)-1] {
		dt := times[n+1] - t
		for j, c := range by.nodes {
			if k[j] = make([]float64, len(y)); j == 0 {
				copy(at, y)
			} else {
				combine(dt, by.stages[j-1])
			}
			f(k[j], at, t+c*dt)
		}
		combine(dt, by.result)
		copy(y, at)
		ys = append(ys, append([]float64(nil), y...))
	}
	return ys, nil
}

func solveDopri(times, y []float64, f func(dy, y []float64, t float64)) (ys [][]float64, steps []ODEStep) {
	n := len(y)
	p := &dopri[float64]{
		x:      append([]float64(nil), y...),
		base:   make([]float64, n),
		t:      times[0],
		to:     times[len(times)-1],
		absTol: defaultAbsTol,
		relTol: defaultRelTol,
	}
	for range dopriStages {
		p.k = append(p.k, make([]float64, n))
	}
	ys = append(ys, append([]float64(nil), y...))
	p.taken = func(t, dt float64, accepted bool) { steps = append(steps, ODEStep{t, dt, accepted}) }
	p.saved = func() {
		for len(ys) < len(times) && times[len(ys)] <= p.t+p.dt {
			at := make([]float64, n)
			p.interpolate(at, times[len(ys)])
			ys = append(ys, at)
		}
	}
	for done := false; !done; {
		f(p.slot(), p.x, p.now())
		done = p.take(p.calls > maxDopriCalls)
	}
	return ys, steps
}
