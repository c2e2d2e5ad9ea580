package summary

import (
	"fmt"

	"github.com/tokencache/tokencache/calibrate"
)

// Coverage returns how many images keep what contracts promise, and at what cost: for each promise
// a line, and one each for the contract, the policy alone and everything computed.
func Coverage(c *calibrate.Coverage) []string {
	lines := []string{fmt.Sprintf("%d unseen images of seed %d; intervals of %.0f %%", c.Images, c.Seed, 100*c.Confidence)}
	for _, t := range c.Levels {
		promise := fmt.Sprintf("%g dB to %s", t.MinPSNR, promised(t.Reference))
		if t.Refused != "" {
			lines = append(lines, fmt.Sprintf("%s: refused: %s", promise, t.Refused))
			continue
		}
		lines = append(lines,
			fmt.Sprintf("%s, promised of %.0f %% by %s with a tolerance of %g dB: %.1f of %.1f forecasts rejected, "+
				"%.0f %% of the savings left", promise, 100*t.Promised, t.Policy, t.Tolerance, t.Rejections, t.Checks, 100*t.SavingsLeft),
			covered("with the contract", t.Contract, c.Images),
			covered("policy alone", t.Alone, c.Images),
			covered("everything computed", t.Uncached, c.Images))
	}
	return lines
}

// covered returns the line of one way to generate.
func covered(name string, k *calibrate.Covered, images int) string {
	return fmt.Sprintf("  %-20s %d of %d keep it, %.1f %% (%.1f to %.1f); mean %.1f dB, min %.1f; %.1f NFE, %.2f times fewer FLOPs",
		name, k.Kept, images, 100*k.Coverage, 100*k.Low, 100*k.High, k.PSNR.Mean, k.PSNR.Min, k.NFE, k.Fewer)
}
