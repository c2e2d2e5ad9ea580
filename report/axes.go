package report

import (
	"fmt"
	"slices"
)

// AxesTable crosses what is computed with what the rest gets, at one speed.
type AxesTable struct {
	Speed    float64  `json:"speed"`    // times fewer FLOPs, as near as there are settings
	Computed []string `json:"computed"` // of the rows
	Rest     []string `json:"rest"`     // of the columns
	// Cells are [computed][rest].
	Cells [][]AxesCell `json:"cells"`
}

// AxesCell is a place of the crossing: a policy of a Results' Cells, or why there is none.
type AxesCell struct {
	Policy string `json:"policy,omitempty"`
	Why    string `json:"why,omitempty"`
}

// axesTable is an AxesTable as texts.
type axesTable struct {
	Title, Note string
	Head        []string
	Rows        [][]string
}

// axesTables returns the crossings as texts.
func (r *Results) axesTables() []axesTable {
	var all []axesTable
	for _, a := range r.Axes {
		t := axesTable{
			Title: fmt.Sprintf("What is computed, and what the rest gets: %g times fewer FLOPs", a.Speed),
			Note: "PSNR to the uncached images / to the converged solution, mean dB, with NFE in brackets. " +
				"The setting of each combination whose FLOPs are nearest.",
			Head: append([]string{"computed"}, a.Rest...),
		}
		whys := []string{}
		for i, cells := range a.Cells {
			row := []string{a.Computed[i]}
			for _, cell := range cells {
				text := "–"
				if c := r.cellOf(cell.Policy); c != nil {
					text = c.axesText()
				} else if cell.Why != "" {
					n := slices.Index(whys, cell.Why)
					if n < 0 {
						n, whys = len(whys), append(whys, cell.Why)
					}
					text = fmt.Sprintf("(%c)", 'a'+n)
				}
				row = append(row, text)
			}
			t.Rows = append(t.Rows, row)
		}
		for n, why := range whys {
			t.Note += fmt.Sprintf(" (%c) %s.", 'a'+n, why)
		}
		all = append(all, t)
	}
	return all
}

// cellOf returns the cell of a policy that has numbers, or nil.
func (r *Results) cellOf(policy string) *Cell {
	for i := range r.Cells {
		if c := &r.Cells[i]; policy != "" && c.Policy == policy && c.made() {
			return c
		}
	}
	return nil
}

// axesText is a cell in a crossing.
func (c *Cell) axesText() string {
	mean := func(v float64, measured bool) string {
		if !measured {
			return "–"
		}
		return fmt.Sprintf("%.1f", v)
	}
	text := mean(meanOf(c.PSNRUncached), c.PSNRUncached != nil) + " / " +
		mean(meanOf(c.PSNRConverged), c.PSNRConverged != nil)
	if c.NFE > 0 {
		text += fmt.Sprintf(" (%.1f)", c.NFE)
	}
	return text
}
