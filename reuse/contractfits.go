package reuse

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/tokencache/tokencache/diffusion"
	"github.com/tokencache/tokencache/tensor"
)

// Setting is what a contract holds for, next to its policy.
type Setting struct {
	Model    string             `json:"model_fingerprint"`
	Sampling diffusion.Sampling `json:"sampling"`         // the source of random numbers does not count
	Solver   string             `json:"solver,omitempty"` // digest of a learned solver's weights
	// DType and CacheDType are the number formats of the network's blocks and of what policies
	// forecast from; "" means f32, which contracts that do not say were calibrated in.
	DType      string `json:"dtype,omitempty"`
	CacheDType string `json:"cache_dtype,omitempty"`
}

// format names a number format of a Setting.
func format(name string) string { return cmp.Or(name, tensor.F32.String()) }

// NoContractError reports a policy of which no contract was calibrated.
type NoContractError struct {
	Policy    string // "" means any
	Reference Reference
}

func (e *NoContractError) Error() string {
	to := "the uncached run"
	if e.Reference == ToConverged {
		to = "the converged solution"
	}
	of := "for the policy " + e.Policy
	if e.Policy == "" {
		of = "for this sampling"
	}
	return fmt.Sprintf("no contract is calibrated %s, so that nothing can be said of each image's PSNR to %s", of, to)
}

// ContractLimitError reports a PSNR above all that a contract was calibrated for.
type ContractLimitError struct {
	Policy string
	Among  string // whose policies keep less than Policy; "" where it is the only one asked for
	Promise
	Max float64 // dB
}

func (e *ContractLimitError) Error() string {
	if e.Among != "" {
		return fmt.Sprintf("a PSNR of %s: of the policies bundled with %s, %s keeps the highest, %.1f dB",
			e.Promise, e.Among, e.Policy, e.Max)
	}
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
	return fmt.Sprintf("the contract of policy %s was calibrated for %s", e.Policy, e.Differ())
}

// Differ says what the contract is for, and not: "guidance 1.5, not for guidance 4".
func (e *ContractMismatchError) Differ() string {
	var made, used []string
	for _, d := range e.Differences {
		made = append(made, d.What+" "+d.Made)
		used = append(used, d.What+" "+d.Used)
	}
	return strings.Join(made, " and ") + ", not for " + strings.Join(used, " and ")
}

// The number formats that a contract is for, as ContractDifference.What names them.
const (
	FormatOfBlocks = "number format"
	FormatOfCache  = "number format of the cache"
)

// OfFormats reports whether only number formats differ.
func (e *ContractMismatchError) OfFormats() bool {
	return !slices.ContainsFunc(e.Differences, func(d ContractDifference) bool {
		return d.What != FormatOfBlocks && d.What != FormatOfCache
	})
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
	note(FormatOfBlocks, format(c.DType), format(s.DType))
	note(FormatOfCache, format(c.CacheDType), format(s.CacheDType))
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
