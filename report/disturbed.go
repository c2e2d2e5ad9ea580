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

// disturbedNote says what the mark means and what to do, "" if all times can be trusted.
func (r *Results) disturbedNote() string {
	n := r.disturbed()
	if n == 0 {
		return r.untimedNote()
	}
	return fmt.Sprintf("%s measured on a busy machine (of %d): the load, the spread of the repetitions or the FLOPs say "+
		"so. Compare again with --retime while the machine is idle. %s", disturbedMark, n, r.untimedNote())
}

// untimedNote says of how many cells there is no time, and what to do; "" if all are timed.
func (r *Results) untimedNote() string {
	n := 0
	for i := range r.Cells {
		if r.Cells[i].Untimed {
			n++
		}
	}
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("%d results were made by workers and have no time, so that they are not in the tables and "+
		"charts by speed. Compare again with --retime on one machine.", n)
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
