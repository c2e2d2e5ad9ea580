package main

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/checkpoint"
	"github.com/tokencache/tokencache/cmd/tokencache/internal/calibration"
	"github.com/tokencache/tokencache/cmd/tokencache/internal/contracts"
	"github.com/tokencache/tokencache/cmd/tokencache/internal/output"
	"github.com/tokencache/tokencache/dit"
	"github.com/tokencache/tokencache/models/bundle"
	"github.com/tokencache/tokencache/report"
	"github.com/tokencache/tokencache/reuse"
	"github.com/tokencache/tokencache/shard"
)

// flagOf is the flag that sets a field which a tokencache.FieldError names.
var flagOf = map[string]string{
	"AbsTol":        "--atol",
	"Arrive":        "--arrive",
	"Batch":         "--batch",
	"CacheMemory":   "--cache-memory",
	"Classes":       "--class",
	"Clip":          "--clip",
	"Count":         "--count",
	"DecodeLayer":   "--decode-layer",
	"Eta":           "--eta",
	"Form":          "--diffusion-form",
	"FormScale":     "--diffusion-norm",
	"Guidance":      "--guidance",
	"GuidanceHigh":  "--guidance-high",
	"GuidanceLow":   "--guidance-low",
	"GuidancePower": "--guidance-power",
	"GuideAll":      "--guidance-all-channels",
	"Heads":         "--heads",
	"InputSize":     "--input-size",
	"Key":           "--key",
	"LastStep":      "--last-step",
	"LastStepSize":  "--last-step-size",
	"MinPSNR":       "--min-psnr",
	"Negative":      "--negative",
	"Noise":         "--noise",
	"Path":          "--path-type",
	"Policy":        "--policy",
	"Prediction":    "--prediction",
	"RNG":           "--rng",
	"Reference":     "--reference",
	"RelTol":        "--rtol",
	"Repeat":        "--repeat",
	"SampleEps":     "--sample-eps",
	"Sampler":       "--sampler",
	"Order":         "--order",
	"Seed":          "--seed",
	"Shift":         "--shift",
	"Spacing":       "--spacing",
	"Steps":         "--steps",
	"Threads":       "--threads",
	"VAE":           "--vae",
	"Variant":       "--variant",
}

// explain returns an error's text for the command line: the packages' errors name fields and
// numbers, and this adds the flags that set them and the commands that help.
func (a *app) explain(err error) string {
	text := err.Error()
	if field := (*tokencache.FieldError)(nil); errors.As(err, &field) && flagOf[field.Field] != "" {
		own := fmt.Sprintf("%s %v: want %s", flagOf[field.Field], field.Value, field.Want)
		text = strings.Replace(text, field.Error(), own, 1)
	}
	if flags := needed(err); len(flags) > 0 {
		text += ": give " + strings.Join(flags, " and ")
	}
	if exists := (*output.ExistsError)(nil); errors.As(err, &exists) {
		if exists.Resumable {
			text += ": --resume completes it, --overwrite begins again"
		} else {
			text += ": give another --out, or --overwrite to replace it"
		}
	}
	if several := (*shard.AmbiguousError)(nil); errors.As(err, &several) {
		text += ": give --identity"
	}
	if errors.Is(err, output.ErrLatentsGone) {
		text = "--save-latents cannot be used with --resume: " + text
	}
	if limit := (*tokencache.LimitError)(nil); errors.As(err, &limit) {
		text += "; raise --cache-memory, or lower --batch if the policy needs whole batches"
	}
	if mismatch := (*reuse.MismatchError)(nil); errors.As(err, &mismatch) {
		text += ": "
		switch mismatch.Field {
		case "Steps":
			text += fmt.Sprintf("give --sampler %s --steps %s, or ", mismatch.For.Sampler, mismatch.For.StepsText())
		case "Solver":
			text += "give the options of the solver that it was made for, or "
		case "Eta":
			text += fmt.Sprintf("give --eta %g, or ", mismatch.For.Eta)
		}
		text += "make one with " + a.remakeCommand(mismatch.By)
	}
	return a.explainContract(err, text)
}

// explainContract returns an error's text, and where it is about a contract, what contracts there
// are and how one is made.
func (a *app) explainContract(err error, text string) string {
	var (
		none     *reuse.NoContractError
		limit    *reuse.ContractLimitError
		mismatch *reuse.ContractMismatchError
		misses   *reuse.UncachedMissesError
	)
	switch {
	case errors.As(err, &none):
		return fmt.Sprintf("--min-psnr: %s; %s", text, a.contracts(none.Policy, reuse.Promise{Reference: none.Reference}))
	case errors.As(err, &limit) && limit.Among != "":
		return fmt.Sprintf("--min-psnr: %s; %s", text, contracts.Highest(limit))
	case errors.As(err, &limit):
		return fmt.Sprintf("--min-psnr: %s; %s; %s", text, contracts.Highest(limit), a.contracts(limit.Policy, limit.Promise))
	case errors.As(err, &mismatch) && mismatch.OfFormats():
		return fmt.Sprintf("--min-psnr: %s; give %s, or --policy none, which computes everything", text, contracts.Formats(mismatch))
	case errors.As(err, &mismatch):
		return fmt.Sprintf("--min-psnr: %s; calibrate one with %s", text, a.contractCommand(mismatch.Policy, ""))
	case errors.As(err, &misses):
		return "--min-psnr: " + text + "; ask for less, or take another sampler or more --steps"
	}
	return text
}

// needed lists the flags that give what an error of opening a model, or one that it joins, asks
// for.
func needed(err error) []string {
	switch err := err.(type) {
	case *dit.NeededError:
		return []string{flagOf[err.Option]}
	case *checkpoint.ChoiceError:
		if err.Key == "" {
			return []string{flagOf["Key"]}
		}
	case interface{ Unwrap() []error }:
		var flags []string
		for _, e := range err.Unwrap() {
			flags = append(flags, needed(e)...)
		}
		return flags
	case interface{ Unwrap() error }:
		return needed(err.Unwrap())
	}
	return nil
}

// calibrateCommand returns the command that makes a policy for the model and the sampling in use;
// speed 0 means bundle.DefaultSpeed.
func (a *app) calibrateCommand(speed float64) string {
	c := a.calibration()
	c.Flag("--speed", fmt.Sprintf("%gx", cmp.Or(speed, bundle.DefaultSpeed))).Flag("--out", "DIR")
	return c.String()
}

// remakeCommand returns the command that makes such a policy for the model and the sampling in use.
func (a *app) remakeCommand(t *reuse.Trained) string {
	if t == nil {
		return a.calibrateCommand(0)
	}
	flags := calibration.Remake(t)
	if flags == nil {
		return a.calibrateCommand(0)
	}
	c := a.calibration()
	for _, f := range flags {
		c.Flag(f[0], f[1])
	}
	return c.Flag("--out", "DIR").String()
}

// calibration returns a command that calibrates something for the model and the sampling in use.
func (a *app) calibration() *report.Command {
	o, s := a.opened.options, a.opened.sampling
	number := func(x float64) string { return fmt.Sprintf("%g", x) }
	c := report.NewCommand("tokencache", "calibrate", "--model", a.opened.model)
	c.Optional("--vae", o.VAE).Optional("--key", o.Key)
	c.Optional("--prompt-file", a.opened.prompts).Optional("--text-encoder", o.TextEncoder)
	if o.Heads != 0 {
		c.Flag("--heads", fmt.Sprint(o.Heads))
	}
	c.Flag("--sampler", s.Sampler).Flag("--steps", s.StepsText()).Optional("--solver", a.opened.solver)
	if s.Order != 0 {
		c.Flag("--order", fmt.Sprint(s.Order))
	}
	c.Optional("--variant", s.Variant)
	c.Flag("--guidance", number(s.Guidance))
	if s.GuidancePower != 0 || a.opened.suits.GuidancePower != 0 {
		c.Flag("--guidance-power", number(s.GuidancePower))
	}
	if s.Eta != 0 {
		c.Flag("--eta", number(s.Eta))
	}
	c.Switch("--guidance-all-channels", s.GuideAll).Switch("--clip", s.Clip)
	return c
}
