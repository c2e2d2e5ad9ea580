package diffusion

import "fmt"

// adamsBashforth are the weights of the newest predictions first, for even steps.
var adamsBashforth = [][]float64{
	{1},
	{3. / 2, -1. / 2},
	{23. / 12, -16. / 12, 5. / 12},
	{55. / 24, -59. / 24, 37. / 24, -9. / 24},
}

const (
	prkGroups = 3 // Runge-Kutta steps
	prkCalls  = 4 // evaluations of one
)

// pndm returns the pseudo numerical method of Liu et al. 2022 (arXiv 2202.09778) as in diffusers:
// moves of DDIM by Adams-Bashforth combinations of the predicted noise. The first steps, which have
// no past, are a Heun-like pair of evaluations (variant plms), or three Runge-Kutta steps of four
// (prk).
func (s Sampling) pndm(schedule Schedule) (*Multistep, error) {
	g, err := s.strides(schedule)
	if err != nil {
		return nil, err
	}
	if g.stride == 0 && s.Spacing != "" && s.Spacing != strideSpacing {
		want := "linspace, leading or trailing: the steps of pndm are of one length"
		return nil, &FieldError{"Spacing", s.Spacing, want}
	}
	p := &pndm{strides: g, Multistep: s.newMultistep(grid{end: g.end}, predictedNoise, len(adamsBashforth)+1)}
	p.holds, p.start = true, startOf(g.grid)
	if s.Variant == "prk" {
		if n := len(g.points); n <= prkGroups || g.stride == 0 {
			return nil, &FieldError{"Variant", s.Variant, fmt.Sprintf(
				"plms: prk needs the spacing linspace, leading or trailing, and more than %d steps", prkGroups)}
		}
		p.slots = len(adamsBashforth) + prkCalls - 1
		p.rungeKutta()
	} else {
		p.pair()
	}
	p.adams()
	return p.Multistep, nil
}

// pndm is a solver in the making. The predictions that Adams-Bashforth uses are in four slots in
// turn; those of evaluations within a step follow.
type pndm struct {
	strides
	*Multistep
	kept []int // the evaluation of each prediction that Adams-Bashforth uses
}

// evaluate adds an evaluation at a point that keeps its prediction in a slot.
func (p *pndm) evaluate(at point, slot int) {
	p.steps = append(p.steps, step{point: at, slot: slot})
}

// keep adds the next evaluation of a point that Adams-Bashforth uses.
func (p *pndm) keep(at point) {
	slot := len(p.kept) % len(adamsBashforth)
	p.kept = append(p.kept, len(p.steps))
	p.evaluate(at, slot)
}

// move gives the last evaluation another move, along the mean of predictions by weight of their
// slots.
func (p *pndm) move(past int, hold bool, from, to Level, bySlot map[int]float64) {
	w := firstOrder(predictedNoise, from, to)
	c := combination{x: float32(w.x), x0: float32(w.x0), kept: make([]float32, p.slots)}
	for slot, weight := range bySlot {
		if len(w.past) > 0 {
			c.kept[slot] = float32(weight * w.past[0])
		}
	}
	last := &p.steps[len(p.steps)-1]
	last.moves = append(last.moves, move{past: past, hold: hold, to: c})
}

// pair evaluates the first point and the second, and takes the first step again with the mean. That
// step is counted from a stride above the second point.
func (p *pndm) pair() {
	p.keep(p.points[0])
	p.move(0, false, p.level(0), p.target(0), map[int]float64{0: 1})
	if len(p.points) == 1 {
		return
	}
	inner := len(adamsBashforth)
	second := p.points[1]
	start := p.level(0)
	if p.stride > 0 {
		start = p.at(int(second.timestep) + p.stride)
	}
	p.evaluate(second, inner)
	p.move(0, false, second.level, second.level, nil)
	p.move(1, true, start, second.level, map[int]float64{0: 0.5, inner: 0.5})
}

// rungeKutta takes the first steps by the classical method of fourth order.
func (p *pndm) rungeKutta() {
	weights := []float64{1. / 6, 2. / 6, 2. / 6, 1. / 6}
	for group := range prkGroups {
		first, next := p.points[group], p.points[group+1]
		half := p.stride / 2
		middle := point{timestep: next.timestep + float64(half)}
		middle.level = p.at(int(middle.timestep))
		p.keep(first)
		slot := p.steps[len(p.steps)-1].slot
		p.move(0, false, first.level, p.at(int(first.timestep)-half), map[int]float64{slot: 1})
		mean := map[int]float64{slot: weights[0]}
		for call, at := range []point{middle, middle, next} {
			inner := len(adamsBashforth) + call
			mean[inner] = weights[call+1]
			p.evaluate(at, inner)
			to, along := at.level, map[int]float64{inner: 1}
			switch call {
			case 1:
				to = p.at(int(at.timestep) - half)
			case 2:
				along = mean
			}
			// Without a past, go on to where the next evaluation is.
			p.move(0, false, at.level, []point{middle, next, next}[call].level, map[int]float64{inner: 1})
			p.move(call+1, true, first.level, to, along)
		}
	}
}

// adams takes the other steps.
func (p *pndm) adams() {
	for k := len(p.kept); k < len(p.points); k++ {
		p.keep(p.points[k])
		for order := 1; order <= min(k+1, len(adamsBashforth)); order++ {
			along := map[int]float64{}
			for age, w := range adamsBashforth[order-1] {
				along[(k-age)%len(adamsBashforth)] = w
			}
			past := len(p.steps) - 1 - p.kept[k-order+1]
			p.move(past, false, p.level(k), p.target(k), along)
		}
	}
}
