package calibrate

import (
	"math"
	"slices"
)

// maxPathJump is the largest way from one key step to the next, as a share of the steps.
const maxPathJump = 0.3

// planPath returns the count key steps among steps that DPCache's dynamic programming chooses, and
// whether the last of them can be the last: where no such path exists, the key steps are those of
// the cheapest one to anywhere, as in the public code. The first steps, first of them, and the last
// ones are key steps.
//
// For each number of key steps and each end the recursion keeps one path, and takes from it the key
// step before, on which costs depend. So it need not find the cheapest path.
func planPath(cost func(a, i, j int) float64, steps, count, first, last int) (list []int, whole bool) {
	mandatory := make([]bool, steps+1)
	for p := range mandatory {
		mandatory[p] = p < first || p >= steps-last // steps, the end, is one
	}
	var best [][]float64
	var from [][]int
	for range count + 1 {
		best = append(best, slices.Repeat([]float64{math.Inf(1)}, steps+1))
		from = append(from, make([]int, steps+1))
	}
	best[0][0] = 0
	for n := 1; n <= count; n++ {
		for i := n; i <= steps; i++ {
			for j := i - 1; j >= max(n-1, i-int(maxPathJump*float64(steps))); j-- {
				if j+1 < i && mandatory[j+1] {
					break
				}
				a := from[n-1][j]
				switch {
				case j == 0:
					a = 0
				case mandatory[j-1] && mandatory[j]:
					a = j - 1
				}
				if math.IsInf(best[n-1][j], 1) {
					continue
				}
				// The earliest of equals counts.
				if v := best[n-1][j] + cost(a, j, i); v <= best[n][i] && !math.IsInf(v, 1) {
					best[n][i], from[n][i] = v, j
				}
			}
		}
	}
	end := steps
	whole = !math.IsInf(best[count][steps], 1)
	if !whole {
		for i, v := range best[count] {
			if v < best[count][end] {
				end = i
			}
		}
	}
	for n := count; n > 0; n-- {
		end = from[n][end]
		list = append(list, end)
	}
	slices.Reverse(list)
	return list, whole
}

// Plan returns count key steps, as planPath does.
func (c *PathCosts) Plan(count, first, last int) (list []int, whole bool) {
	return planPath(c.At, c.Steps, count, first, last)
}

// pathCost returns what a path costs.
func pathCost(cost func(a, i, j int) float64, steps int, list []int) float64 {
	sum, before := 0.0, 0
	for n, i := range list {
		next := steps
		if n+1 < len(list) {
			next = list[n+1]
		}
		sum += cost(before, i, next)
		before = i
	}
	return sum
}
