package reuse

import (
	"fmt"
	"strings"

	"github.com/tokencache/tokencache/diffusion"
)

// Setting is what a contract holds for, next to its policy.
type Setting struct {
	Model    string             `json:"model_fingerprint"`
	Sampling diffusion.Sampling `json:"sampling"`         // the source of random numbers does not count
	Solver   string             `json:"solver,omitempty"` // digest of a learned solver's weights
}

// NoContractError reports a policy of which no contract was calibrated.
type NoContractError struct {
	Policy    string
	Reference Reference
}

func (e *NoContractError) Error() string {
	to := "the uncached run"
	if e.Reference == ToConverged {
		to = "the converged solution"
	}
	return fmt.Sprintf("no contract is calibrated for the policy %s, so that nothing can be said of each image's PSNR to %s",
		e.Policy, to)
}

// ContractLimitError reports a PSNR above all that a contract was calibrated for.
type ContractLimitError struct {
	Policy string
	Promise
	Max float64 // dB
}

func (e *ContractLimitError) Error() string {
	return fmt.Sprintf("a PSNR of %s: the contract of policy %s goes up to %.1f dB", e.Promise, e.Policy, e.Max)
}

// UncachedMissesError reports a PSNR to the converged solution that the uncached images do not
// keep, so that computing more would not help.
type UncachedMissesError struct {
	MinPSNR  float64 // wanted, dB
	Kept     float64 // what a share Coverage of the uncached images keeps
	Coverage float64
	Share    float64 // of the uncached images that have MinPSNR, of those of the calibration
	Images   int     // of the calibration
}

func (e *UncachedMissesError) Error() string {
	return fmt.Sprintf("a PSNR of %g dB to the converged solution: the uncached run itself misses it; "+
		"%.0f %% of its images have it (of %d), and %.0f %% keep %.1f dB",
		e.MinPSNR, 100*e.Share, e.Images, 100*e.Coverage, e.Kept)
}

// ContractMismatchError reports a contract that was calibrated for something else than it is used
// with.
type ContractMismatchError struct {
	Policy      string
	Differences []ContractDifference
}

// ContractDifference is one thing that differs.
type ContractDifference struct {
	What       string // policy, model, sampler, steps, guidance, ...
	Made, Used string
}

func (e *ContractMismatchError) Error() string {
	var made, used []string
	for _, d := range e.Differences {
		made = append(made, d.What+" "+d.Made)
		used = append(used, d.What+" "+d.Used)
	}
	return fmt.Sprintf("the contract of policy %s was calibrated for %s, not for %s",
		e.Policy, strings.Join(made, " and "), strings.Join(used, " and "))
}

// fits reports, as a *ContractMismatchError, that the contract is not of the policy, or not for how
// it is used.
func (c *Contract) fits(t *Trained, s Setting) error {
	e := &ContractMismatchError{Policy: t.String()}
	note := func(what string, made, used any) {
		if a, b := fmt.Sprint(made), fmt.Sprint(used); a != b {
			e.Differences = append(e.Differences, ContractDifference{what, orNone(a), orNone(b)})
		}
	}
	if hash := PolicyHash(t); hash != c.PolicyHash {
		_, inner := t.inner()
		note("policy", content(c.Policy, c.PolicyHash), content(inner.String(), hash))
	}
	note("model", c.Model, s.Model)
	a, b := c.Sampling.WithDefaults(), s.Sampling.WithDefaults()
	note("sampler", a.Sampler, b.Sampler)
	note("steps", a.StepsText(), b.StepsText())
	note("guidance", a.Guidance, b.Guidance)
	note("guidance power", a.GuidancePower, b.GuidancePower)
	note("guidance of all channels", a.GuideAll, b.GuideAll)
	note("eta", a.Eta, b.Eta)
	note("clipping", a.Clip, b.Clip)
	note("order", order(a), order(b))
	note("variant", a.Variant, b.Variant)
	note("learned solver", c.Solver, s.Solver)
	if len(e.Differences) == 0 && options(a) != options(b) {
		note("options of the solver", fmt.Sprintf("%+v", options(a)), fmt.Sprintf("%+v", options(b)))
	}
	if len(e.Differences) == 0 {
		return nil
	}
	return e
}

// options returns the rest of a sampling, which few use.
func options(s diffusion.Sampling) diffusion.Sampling {
	return diffusion.Sampling{
		Predict:           s.Predict,
		Final:             s.Final,
		NoLowerOrderFinal: s.NoLowerOrderFinal,
		EulerAtFinal:      s.EulerAtFinal,
		DisableCorrector:  s.DisableCorrector,
		StepsOffset:       s.StepsOffset,
	}
}

// content names a policy by its parameters and the start of its hash.
func content(policy, hash string) string {
	const shown = 8
	if hash == "" {
		return "unknown (it has no hash)"
	}
	return fmt.Sprintf("%s (content %s)", policy, hash[:min(shown, len(hash))])
}

func order(s diffusion.Sampling) string {
	if s.Order == 0 {
		return "default"
	}
	return fmt.Sprint(s.Order)
}

func orNone(text string) string {
	if text == "" {
		return "none"
	}
	return text
}
