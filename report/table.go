package report

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tokencache/tokencache/eval"
)

// rowView is a cell as a row of the table.
type rowView struct {
	Method, Policy, Note string
	Badges               []string
	Base                 bool
	Numbers              []numberView
}

// numberView is a number of the table: what is shown, what is shown below it, and what it is
// sorted by, empty if it was not measured.
type numberView struct {
	Text, Below, Sort string
	Weak              bool
}

// weak reports whether a number of the row is marked.
func (r rowView) weak() bool {
	return slices.ContainsFunc(r.Numbers, func(n numberView) bool { return n.Weak })
}

// rows returns the table: the uncached model, then the cells as they came; and the cells that
// failed.
func (r *Results) rows() (rows []rowView, failed []*Cell) {
	frontiers := map[string][]int{}
	for m, badge := range badges {
		frontiers[badge] = r.Frontier(Measure(m))
	}
	base := r.baseline()
	for i := range r.Cells {
		cell := &r.Cells[i]
		if cell.Error != "" {
			failed = append(failed, cell)
			continue
		}
		row := rowView{
			Method:  cell.Name(),
			Policy:  cell.Policy,
			Note:    cell.Note,
			Base:    cell == base,
			Numbers: cell.numbers(base),
		}
		for _, badge := range badges {
			if slices.Contains(frontiers[badge], i) {
				row.Badges = append(row.Badges, badge)
			}
		}
		if cell.Best {
			row.Badges = append(row.Badges, "best solver")
		}
		rows = append(rows, row)
	}
	return rows, failed
}

// badges mark the cells of each Measure's frontier.
var badges = []string{PSNR: "PSNR", ConvergedPSNR: "converged", Frechet: "FD"}

// numbers are a row's, in the order of the template's headings.
func (c *Cell) numbers(base *Cell) []numberView {
	efficiency := numberOf(c.Efficiency(), fmt.Sprintf("%.2f", c.Efficiency()))
	efficiency.Weak = c != base && efficiency.Sort != "" && c.Efficiency() < weakEfficiency
	memory := numberView{Text: "0", Sort: "0"}
	if c.CacheBytes > 0 {
		memory = numberOf(float64(c.CacheBytes), bytesText(c.CacheBytes))
	}
	steps := numberOf(float64(c.ISteps+c.PSteps), fmt.Sprintf("%d + %d", c.ISteps, c.PSteps))
	switch {
	case c.PSteps == 0:
		steps.Text = fmt.Sprint(c.ISteps)
	case c.HalfSteps > 0:
		steps.Below = fmt.Sprintf("%d of them half", c.HalfSteps)
	}
	fixed := func(format string) func(float64) string {
		return func(v float64) string { return fmt.Sprintf(format, v) }
	}
	speed := numberOf(c.Speedup, times(c.Speedup))
	if c.Disturbed != "" {
		speed.Text, speed.Below, speed.Weak = speed.Text+disturbedMark, c.Disturbed, true
	}
	return []numberView{
		speed,
		numberOf(c.FLOPReduction(), times(c.FLOPReduction())),
		efficiency,
		faithful(c.PSNRUncached, c == base),
		faithful(c.PSNRConverged, false),
		estimated(c.SSIM, 1, fixed("%.3f")),
		estimated(c.Frechet, 1, short),
		c.change(base),
		estimated(c.Agreement, 100, fixed("%.1f")),
		memory,
		steps,
		numberOf(c.WallSeconds, short(c.WallSeconds)),
	}
}

// numberOf is a number with its text, of which 0 means that it is not known.
func numberOf(v float64, text string) numberView {
	if v == 0 {
		return numberView{}
	}
	return numberView{Text: text, Sort: exact(v)}
}

// faithful is the mean of a fidelity with the worst image below it. Of the uncached model to itself
// there is none to show.
func faithful(f *eval.Fidelity, itself bool) numberView {
	if f == nil || itself {
		return numberView{}
	}
	n := numberView{
		Text:  fmt.Sprintf("%.1f", f.Mean),
		Below: fmt.Sprintf("min %.1f", f.Min),
		Sort:  exact(f.Mean),
	}
	if f.Identical > 0 {
		n.Below += fmt.Sprintf(", %d identical", f.Identical)
	}
	return n
}

// estimated is an estimate, scaled, with its interval below it.
func estimated(v *eval.Estimate, scale float64, text func(float64) string) numberView {
	if v == nil {
		return numberView{}
	}
	return numberView{
		Text:  text(scale * v.Value),
		Below: text(scale*v.Low) + " to " + text(scale*v.High),
		Sort:  exact(v.Value),
	}
}

// change is how much larger than the uncached model's a cell's Fréchet distance is, in percent.
func (c *Cell) change(base *Cell) numberView {
	text := c.frechetChange(base)
	if c == base || text == "" {
		return numberView{}
	}
	ratio := 0.0
	if c.FrechetRatio != nil {
		ratio = c.FrechetRatio.Value
	} else {
		ratio = c.Frechet.Value / base.Frechet.Value
	}
	text, below, _ := strings.Cut(strings.Replace(text, " %", "", 1), ", ")
	return numberView{Text: text, Below: below, Sort: exact(ratio)}
}
