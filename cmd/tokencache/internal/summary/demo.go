package summary

import (
	"fmt"
	"io"
	"strings"

	"github.com/tokencache/tokencache/measure"
	"github.com/tokencache/tokencache/reuse"
)

// WriteDemo says in four lines what a comparison of a policy with the uncached model found, for
// people who see their first one; file has the images, and opened says that they are shown.
func WriteDemo(w io.Writer, c *measure.Comparison, policy reuse.Policy, file string, opened bool) error {
	steps := c.ISteps + c.PSteps
	disturbed := ""
	if len(c.Disturbed) > 0 {
		disturbed = " (times may be wrong, for there was " + strings.Join(c.Disturbed, ", and ") + ")"
	}
	what := "the images are in " + file
	if opened {
		what += ", which is being opened"
	}
	_, err := fmt.Fprintf(w, `every step computed: %s for %s of %d steps
policy %s: %s, %.2f times as fast: %d steps are computed, the other %d forecast from them%s
from the same noise the images are the same but for %.1f dB PSNR (from about 40 dB on, differences are hard to see)
%s: above without the policy, below with it
`,
		seconds(c.UncachedWallSeconds), images(c.Images), steps,
		policy, seconds(c.WallSeconds), c.Speedup, c.ISteps, c.PSteps, disturbed,
		c.PSNRUncached.Mean, what)
	return err
}
