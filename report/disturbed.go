package report

import (
	"fmt"
	"strings"
)

// maxEfficiency is the efficiency above which a time must be wrong: no method gains more time than
// arithmetic, but for what a measurement of a quiet machine varies by.
const maxEfficiency = 1.05

// disturbedMark stands behind a speed-up that was measured on a busy machine.
const disturbedMark = "†"

// MarkDisturbed sets Disturbed of the cells whose times contradict their FLOPs, next to what the
// measurement itself noticed.
func (r *Results) MarkDisturbed() {
	for i := range r.Cells {
		c := &r.Cells[i]
		if e := c.Efficiency(); c.made() && e > maxEfficiency && !strings.Contains(c.Disturbed, "FLOPs") {
			why := fmt.Sprintf("%s as fast with %s fewer FLOPs", times(c.Speedup), times(c.FLOPReduction()))
			if c.Disturbed != "" {
				why = c.Disturbed + "; " + why
			}
			c.Disturbed = why
		}
	}
}

// disturbed counts the cells whose times were disturbed.
func (r *Results) disturbed() int {
	n := 0
	for i := range r.Cells {
		if r.Cells[i].Disturbed != "" {
			n++
		}
	}
	return n
}

// disturbedNote says what the mark means and what to do, "" if no time was disturbed.
func (r *Results) disturbedNote() string {
	n := r.disturbed()
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("%s measured on a busy machine (of %d): the load, the spread of the repetitions or the FLOPs say "+
		"so. Compare again with --retime while the machine is idle.", disturbedMark, n)
}

// Failed returns the cells that failed: those that the comparison could not measure, and not those
// of a method that has no setting at a speed.
func (r *Results) Failed() []*Cell {
	var list []*Cell
	for i := range r.Cells {
		if c := &r.Cells[i]; c.Error != "" && !c.Unreachable {
			list = append(list, c)
		}
	}
	return list
}
