package report

import (
	"fmt"
	"strings"
)

// Summary describes the cell in one line of text: its speed, its quality as far as it was measured,
// and its policy, or why there is none.
func (c *Cell) Summary() string {
	if c.Error != "" {
		return fmt.Sprintf("%-34s %gx: %s", c.Name(), c.Wanted, c.Error)
	}
	var b strings.Builder
	if c.Untimed {
		fmt.Fprintf(&b, "%-34s not timed, %5.2fx fewer FLOPs", c.Name(), c.FLOPReduction())
	} else {
		fmt.Fprintf(&b, "%-34s %5.2fx wall-clock, %5.2fx fewer FLOPs", c.Name(), c.Speedup, c.FLOPReduction())
	}
	if f := c.PSNRUncached; f != nil && !c.Base() {
		fmt.Fprintf(&b, ", PSNR %.1f dB (min %.1f) to uncached", f.Mean, f.Min)
	}
	if f := c.PSNRConverged; f != nil {
		fmt.Fprintf(&b, ", PSNR %.1f dB (min %.1f) to converged", f.Mean, f.Min)
	}
	if e := c.Frechet; e != nil {
		fmt.Fprintf(&b, ", Fréchet %.3f (%.3f to %.3f)", e.Value, e.Low, e.High)
	}
	if e := c.FrechetRatio; e != nil {
		fmt.Fprintf(&b, ", %+.1f %% (%+.1f to %+.1f)", 100*(e.Value-1), 100*(e.Low-1), 100*(e.High-1))
	}
	if c.Agreement != nil {
		fmt.Fprintf(&b, ", %.1f %% of their class", 100*c.Agreement.Value)
	}
	text := b.String() + "  " + c.Policy
	if c.Disturbed != "" {
		text += "  (time disturbed: " + c.Disturbed + ")"
	}
	if c.Best {
		text += "  (best solver)"
	}
	if c.Note != "" {
		text += "  " + c.Note
	}
	return text
}
