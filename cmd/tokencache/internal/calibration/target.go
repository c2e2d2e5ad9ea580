package calibration

import (
	"errors"
	"fmt"
	"strings"

	"github.com/tokencache/tokencache/comparison"
)

// Target are the flags of calibrate that search among methods for what meets a target.
type Target struct {
	Bounds    []string `name:"target" help:"Search samplers, spacings, steps and cache policies together for the best that meets this: psnr>=30 or fd<=+4% (the fastest whose images have a mean PSNR of 30 dB, see --reference, or for each image --contract; or with a Fréchet distance at most 4 % above the uncached images'), speed=2x (the nearest images at that speed), or several (psnr>=30,speed=2x). It says beforehand how long it takes." placeholder:"TARGET" sep:"none"`
	Methods   string   `help:"Of --target: methods to try, by the names that compare has for them. Default: all except the controls, the paper's versions and l2c." default:"${searchMethods}" placeholder:"NAME,..."`
	Evidence  int      `help:"Of --target: images that the best candidates are chosen by; all are tried on 4 of them. The answer is measured on --measure others. Default: 16, or 32 for fd." placeholder:"N"`
	Reference []string `help:"Of --contract: uncached, converged or both. Of --target: what PSNR is to: uncached, the uncached run of the same sampler, steps and seed, which admits the cache policies on the sampling that was asked for; or converged, the solution that deterministic samplers converge to, which admits other samplers and steps too. Default: uncached for psnr, converged for speed alone. Also real images for fd, as for compare; the flag may be repeated." placeholder:"uncached|converged|PATH" sep:"none"`
}

// Search returns what is searched among, what for, and the path of real images, which may be "".
func (c *Target) Search() (methods []string, t comparison.Target, images string, err error) {
	if c.Evidence == 1 || c.Evidence < 0 {
		return nil, t, "", errors.New("--evidence: want 2 images or more")
	}
	methods = comparison.SplitPolicies(c.Methods)
	if err := comparison.CheckMethods(methods); err != nil {
		return nil, t, "", fmt.Errorf("--methods: %w", err)
	}
	if t, err = comparison.ParseTarget(strings.Join(c.Bounds, ",")); err != nil {
		return nil, t, "", fmt.Errorf("--%w", err)
	}
	for _, text := range c.Reference {
		to, other := &images, string(t.Against)
		switch against := comparison.Against(text); against {
		case comparison.AgainstUncached, comparison.AgainstConverged:
			t.Against = against
		default:
			other, *to = *to, text
		}
		if other != "" {
			return nil, t, "", fmt.Errorf("--reference %s and %s: want one of uncached and converged, and one path", other, text)
		}
	}
	return methods, t, images, nil
}
