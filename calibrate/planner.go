package calibrate

import (
	"math"
	"slices"
)

// planner finds the cheapest placement of the computed steps by dynamic programming, where what a
// step between costs depends on the last three computed ones. It is exact: no placement that keeps
// to reach costs less.
type planner struct {
	steps int
	reach int // the longest way from a computed step to the next, and from the last to the end
	// cost is what a step costs that is not computed, given the last computed ones, one to three of
	// them, the newest first.
	cost func(keys []int, step int) float64

	ways [][]float64 // of each state and number of steps from its last computed one to the next
}

// A state is the last computed step, how long before it the one before was, and how long before
// that the one before that; 0 where there is none.

func (p *planner) states() int { return p.steps * (p.reach + 1) * (p.reach + 1) }

func (p *planner) state(last, gap, older int) int {
	return (last*(p.reach+1)+gap)*(p.reach+1) + older
}

// measure sets the costs of all ways, summed over the steps on them.
func (p *planner) measure() {
	p.ways = make([][]float64, p.states())
	for last := range p.steps {
		for gap := 0; gap <= min(p.reach, last); gap++ {
			for older := 0; older <= min(p.reach, last-gap); older++ {
				keys := []int{last, last - gap, last - gap - older}
				switch {
				case gap == 0 && older > 0, older == 0 && last > gap:
					continue // no state: the first computed step is 0
				case gap == 0:
					keys = keys[:1]
				case older == 0:
					keys = keys[:2]
				}
				way := make([]float64, 1+min(p.reach, p.steps-last))
				for n := 2; n < len(way); n++ {
					way[n] = way[n-1] + p.cost(keys, last+n-1)
				}
				p.ways[p.state(last, gap, older)] = way
			}
		}
	}
}

// plan returns the positions of count computed steps, the first among them, at the least cost, and
// that cost; nil if reach is too short for so few.
func (p *planner) plan(count int) (list []int, total float64) {
	if p.ways == nil {
		p.measure()
	}
	best := slices.Repeat([]float64{math.Inf(1)}, p.states())
	best[p.state(0, 0, 0)] = 0
	var before [][]uint16 // of each number of computed steps and state: the gap before its older one
	for range count - 1 {
		next := slices.Repeat([]float64{math.Inf(1)}, p.states())
		from := make([]uint16, p.states())
		for s, v := range best {
			if math.IsInf(v, 1) {
				continue
			}
			last, gap, older := s/(p.reach+1)/(p.reach+1), s/(p.reach+1)%(p.reach+1), s%(p.reach+1)
			way := p.ways[s]
			for n := 1; n < len(way) && last+n < p.steps; n++ {
				to := p.state(last+n, n, gap)
				if w := v + way[n]; w < next[to] {
					next[to], from[to] = w, uint16(older)
				}
			}
		}
		best, before = next, append(before, from)
	}
	end := -1
	total = math.Inf(1)
	for s, v := range best {
		last := s / (p.reach + 1) / (p.reach + 1)
		if math.IsInf(v, 1) || p.steps-last >= len(p.ways[s]) {
			continue
		}
		if w := v + p.ways[s][p.steps-last]; w < total {
			end, total = s, w
		}
	}
	if end < 0 {
		return nil, total
	}
	for n := count - 1; n >= 0; n-- {
		last, gap, older := end/(p.reach+1)/(p.reach+1), end/(p.reach+1)%(p.reach+1), end%(p.reach+1)
		list = append(list, last)
		if n > 0 {
			end = p.state(last-gap, older, int(before[n-1][end]))
		}
	}
	slices.Reverse(list)
	return list, total
}

// costOf returns what a placement costs in all.
func (p *planner) costOf(list []int) float64 {
	total, at := 0.0, 0
	for step := range p.steps {
		if at+1 < len(list) && list[at+1] <= step {
			at++
		}
		if step == list[at] {
			continue
		}
		keys := slices.Clone(list[max(0, at-2) : at+1])
		slices.Reverse(keys)
		total += p.cost(keys, step)
	}
	return total
}
