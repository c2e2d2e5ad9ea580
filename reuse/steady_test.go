package reuse_test

import (
	"math"
	"strings"
	"testing"

	"github.com/tokencache/tokencache/dit"
	"github.com/tokencache/tokencache/reuse"
)

// TestSteadyInput holds that where nothing changes from step to step what is reused or forecast is what would have been computed, to rounding.
func TestSteadyInput(t *testing.T) {
	for _, arch := range []dit.Arch{dit.ArchDiT, dit.ArchMDTv1, dit.ArchMDTv2} {
		m := modelOf(t, arch)
		batches := inputs(m, 2)
		for p := range batches {
			batches[p] = batches[0]
		}
		want, _, _ := outputs(t, m, reuse.None{}, batches[:1], 1)
		for _, text := range policies {
			if strings.Contains(text, "keys=kept") || !caches(text) {
				continue // tokens attend to fewer
			}
			got, _, _ := outputs(t, m, made(t, m, text), batches, 2)
			worst, squares := 0.0, 0.0
			for p := range got {
				for i, v := range got[p] {
					worst = max(worst, math.Abs(float64(v)-float64(want[0][i])))
					squares += float64(want[0][i]) * float64(want[0][i]) / float64(len(got)*len(got[p]))
				}
			}
			// Sums of a few hundred numbers in another order.
			if rounding := 1e-4 * math.Sqrt(squares); !(worst < rounding) {
				t.Errorf("%s, %s: an error of %g, want at most %g", arch, text, worst, rounding)
			}
		}
	}
}
