package report

import "fmt"

// weakEfficiency is the share of the saved arithmetic below which a cell is marked and where its
// time goes is shown: the rest went into what the policy itself does, or into memory.
const weakEfficiency = 0.9

// overhead is where a cell's time goes apart from its arithmetic, of one batch.
type overhead struct {
	Full, Other int // steps of about an uncached one's arithmetic, and all others

	// What all of them take, and what their arithmetic would take at the uncached model's rate.
	FullMillis, FullIdeal   float64
	OtherMillis, OtherIdeal float64
}

// fullShare is the share of an uncached step's arithmetic from which a step is a full one.
const fullShare = 0.95

// overhead returns where the time of a cell goes; ok is false where its steps were not measured.
func (c *Cell) overhead() (l overhead, ok bool) {
	if len(c.StepMillis) == 0 || len(c.StepFLOPs) != len(c.StepMillis) ||
		c.UncachedStepFLOPs <= 0 || c.UncachedStepMillis <= 0 {
		return l, false
	}
	for i, ms := range c.StepMillis {
		share := float64(c.StepFLOPs[i]) / float64(c.UncachedStepFLOPs)
		ideal := share * c.UncachedStepMillis
		if share >= fullShare {
			l.Full, l.FullMillis, l.FullIdeal = l.Full+1, l.FullMillis+ms, l.FullIdeal+ideal
		} else {
			l.Other, l.OtherMillis, l.OtherIdeal = l.Other+1, l.OtherMillis+ms, l.OtherIdeal+ideal
		}
	}
	return l, true
}

// overheadView is a line of the report's table of where time goes.
type overheadView struct{ Method, Policy, Efficiency, Full, Other, Most string }

func (c *Cell) overheadView() (overheadView, bool) {
	l, ok := c.overhead()
	if !ok || !c.made() || c.DType != "" || c.Efficiency() >= weakEfficiency {
		return overheadView{}, false
	}
	v := overheadView{Method: c.Name(), Policy: c.Policy, Efficiency: fmt.Sprintf("%.2f", c.Efficiency())}
	line := func(n int, ms, ideal float64) string {
		if n == 0 {
			return "none"
		}
		return fmt.Sprintf("%d of %s ms, arithmetic %s ms", n, short(ms/float64(n)), short(ideal/float64(n)))
	}
	v.Full, v.Other = line(l.Full, l.FullMillis, l.FullIdeal), line(l.Other, l.OtherMillis, l.OtherIdeal)
	full, other := l.FullMillis-l.FullIdeal, l.OtherMillis-l.OtherIdeal
	what := "in full steps, which also keep what is reused"
	if other > full {
		what, full = "in the other steps, whose choosing, copying and forecasting is no arithmetic of the model", other
	}
	all := l.FullMillis + l.OtherMillis
	if full > 0 {
		v.Most = fmt.Sprintf("%.0f %% of the time %s", 100*full/all, what)
	}
	return v, true
}
