package report

import (
	"fmt"
	"slices"
)

// Bounds of what advice calls alike.
const (
	samePSNR        = 40   // dB, from which on images are nearly the same
	balancedFrechet = 1.04 // of the uncached model's distance
	balancedLoss    = 0.01 // of class agreement, as a share
	knownFrechet    = 1.25 // of the uncached model's distance, up to which images can be recognised
)

// Advice is the cell to choose for a need.
type Advice struct {
	Need, Rule string
	Cell       *Cell    // nil: no cell serves the need
	Command    string   // that generates with the cell's policy, or with none
	Loss       []string // what is lost against the uncached model, a clause each
	Why        string   // without a cell: what was missing
	Also       string   // something else to know
}

// Advice says which cell to choose for which need. Bounds are compared with values, not with the
// ends of their intervals; Loss says where the images are too few to tell.
func (r *Results) Advice() []Advice {
	base := r.baseline()
	measured := base != nil && base.Frechet != nil
	rule := fmt.Sprintf("a Fréchet distance within %.0f %% of the uncached model's", 100*(balancedFrechet-1))
	if base == nil || base.Agreement != nil {
		rule += fmt.Sprintf(" and class agreement within %.0f point", 100*balancedLoss)
	}
	same := func(cell *Cell) bool { return cell.PSNRUncached != nil && cell.PSNRUncached.Mean >= samePSNR }
	balanced := func(cell *Cell) bool { return measured && alike(cell, base) }
	recognisable := func(cell *Cell) bool { return measured && near(cell, base, knownFrechet) }
	all := []Advice{
		r.advise("Nearly the same images",
			fmt.Sprintf("the largest speed-up with a mean PSNR to the uncached images of at least %d dB", samePSNR),
			faster, same),
		r.advise("Balanced", "the largest speed-up with "+rule, faster, balanced),
		r.advise("As fast as possible while recognisable",
			fmt.Sprintf("the largest speed-up with a Fréchet distance within %.0f %% of the uncached model's",
				100*(knownFrechet-1)), faster, recognisable),
		r.advise("Least memory", "the smallest cache with "+rule, smaller, balanced),
	}
	for i := range all {
		if all[i].Cell == nil {
			all[i].Why = r.whyNone(i == 0, base)
		}
	}
	if small := &all[3]; small.Cell != nil && small.Cell.CacheBytes == 0 {
		cached := r.advise("", "", smaller, func(cell *Cell) bool { return cell.CacheBytes > 0 && balanced(cell) }).Cell
		if cached != nil {
			small.Also = fmt.Sprintf("The smallest of the caches is that of %s (%s): %s at %s.",
				cached.Name(), cached.Policy, bytesText(cached.CacheBytes), times(cached.Speedup))
		}
	}
	return all
}

// advise chooses the first, in the given order, of the cells that are faster than the uncached
// model and pass.
func (r *Results) advise(need, rule string, order func(a, b *Cell) bool, pass func(*Cell) bool) Advice {
	a := Advice{Need: need, Rule: rule}
	for i := range r.Cells {
		cell := &r.Cells[i]
		if cell.made() && cell.Speedup > 1 && pass(cell) && (a.Cell == nil || order(cell, a.Cell)) {
			a.Cell = cell
		}
	}
	if a.Cell != nil {
		a.Loss = losses(a.Cell, r.baseline())
	}
	a.Command = r.generate(a.Cell)
	return a
}

func faster(a, b *Cell) bool { return a.Speedup > b.Speedup }

func smaller(a, b *Cell) bool {
	return a.CacheBytes < b.CacheBytes || a.CacheBytes == b.CacheBytes && a.Speedup > b.Speedup
}

// near reports whether a cell's Fréchet distance is at most factor times the uncached model's.
func near(cell, base *Cell, factor float64) bool {
	return cell.Frechet != nil && cell.Frechet.Value <= factor*base.Frechet.Value
}

// alike reports whether a cell is within the bounds of balanced advice. Class agreement counts
// where the uncached model's was measured.
func alike(cell, base *Cell) bool {
	const rounding = 1e-9 // a loss of 95 % - 94 % is one point
	if base.Agreement != nil {
		lowest := base.Agreement.Value - balancedLoss - rounding
		if cell.Agreement == nil || cell.Agreement.Value < lowest {
			return false
		}
	}
	return near(cell, base, balancedFrechet)
}

// whyNone says why no cell serves a need, which is one of PSNR or of Fréchet distance.
func (r *Results) whyNone(psnr bool, base *Cell) string {
	measured := func(m Measure) bool {
		return slices.ContainsFunc(r.Cells, func(cell Cell) bool { return cell.made() && m.of(&cell) != nil })
	}
	switch {
	case psnr && !measured(PSNR):
		return "No PSNR was measured."
	case !psnr && (base == nil || base.Frechet == nil):
		return "The uncached model's Fréchet distance was not measured."
	case !psnr && !measured(Frechet):
		return "No Fréchet distance was measured."
	}
	return "None of the measured policies. The uncached model serves this need:"
}

// losses says what a cell loses against the uncached model, and where its images are too few to
// tell.
func losses(cell, base *Cell) []string {
	var all []string
	if f := cell.PSNRUncached; f != nil {
		all = append(all, fmt.Sprintf("PSNR to the uncached images %.1f dB, %.1f for the worst", f.Mean, f.Min))
	}
	if f := cell.PSNRConverged; f != nil {
		text := fmt.Sprintf("PSNR to the converged solution %.1f dB, %.1f for the worst", f.Mean, f.Min)
		if base != nil && base.PSNRConverged != nil {
			text += fmt.Sprintf(", against %.1f of the uncached model", base.PSNRConverged.Mean)
		}
		all = append(all, text)
	}
	if base == nil {
		return all
	}
	if v := cell.Frechet; v != nil && base.Frechet != nil {
		text := fmt.Sprintf("Fréchet distance %s against %s", short(v.Value), short(base.Frechet.Value))
		if change := cell.frechetChange(base); change != "" {
			text += " (" + change + ")"
		}
		all = append(all, text+unsure(!cell.frechetApart(base), cell))
	}
	if v := cell.Agreement; v != nil && base.Agreement != nil {
		text := fmt.Sprintf("class agreement %.1f %% against %.1f %%", 100*v.Value, 100*base.Agreement.Value)
		all = append(all, text+unsure(v.Overlaps(base.Agreement), cell))
	}
	return all
}

func unsure(yes bool, cell *Cell) string {
	if !yes {
		return ""
	}
	return ", not told apart at " + counted(cell.Images, "image")
}

// frechetChange writes how much larger than the uncached model's a cell's distance is, with its
// interval if it was measured over the same images.
func (c *Cell) frechetChange(base *Cell) string {
	if r := c.FrechetRatio; r != nil {
		return fmt.Sprintf("%s %%, %s to %s", signed(100*(r.Value-1)), signed(100*(r.Low-1)), signed(100*(r.High-1)))
	}
	if base == nil || base.Frechet == nil || base.Frechet.Value <= 0 || c.Frechet == nil {
		return ""
	}
	return signed(100*(c.Frechet.Value/base.Frechet.Value-1)) + " %"
}

// frechetApart reports whether the images tell a cell's distance from the uncached model's: by the
// interval of their ratio where there is one, which is narrower than what their own intervals allow
// because it is of the same images, else by those.
func (c *Cell) frechetApart(base *Cell) bool {
	if r := c.FrechetRatio; r != nil {
		return r.Low > 1 || r.High < 1
	}
	return !c.Frechet.Overlaps(base.Frechet)
}
