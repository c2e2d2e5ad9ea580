package main

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/calibrate"
	"github.com/tokencache/tokencache/reuse"
)

// calibrateContract are the flags of calibrate that let an existing policy promise a PSNR.
type calibrateContract struct {
	Contract       string  `help:"Instead of making a policy: calibrate what PSNR each image of this one keeps when its forecasts are checked (generate --min-psnr); any policy as for generate, with the sampling that the flags say or that it was made for. --out gets the policy with its contract. --reference converged also calibrates the PSNR to the converged solution." placeholder:"NAME|DIR"`
	ContractImages int     `name:"contract-images" help:"Of --contract: images." default:"${contractImages}"`
	ContractChecks bool    `name:"contract-checks" help:"Of --contract: also at some tolerances, beyond which forecasts are rejected and computed. Without them it says what the policy keeps as it is." default:"true" negatable:""`
	ContractSeed   uint64  `name:"contract-seed" help:"Of --contract: seed of their noise, another than the policy was made with." default:"${contractSeed}"`
	Confidence     float64 `help:"Of --contract: probability that what is promised of 95 % of the images does hold for as many unseen ones." default:"${contractConfidence}"`
	Keep           string  `help:"Of --contract: folder that sampled images are kept in, so that contracts of several policies share the uncached ones. Default: work in --out." placeholder:"DIR"`
}

// contracts says which bundled policies promise what, and how another is made to.
func (a *app) contracts(policy string, to reuse.Reference) string {
	var list []string
	bundled, _ := a.opened.bundle.Policies() // an error was reported before
	for _, t := range bundled {
		if t.Contract != nil && (to != reuse.ToConverged || t.Contract.Baseline != nil) {
			_, high := t.Contract.Range(to)
			list = append(list, fmt.Sprintf("%s (up to %.1f dB)", t, high))
		}
	}
	text := "calibrate one with " + a.contractCommand(policy, to)
	if len(list) > 0 {
		text = "there are the contracts of " + strings.Join(list, ", ") + ", or " + text
	}
	return text
}

// contractCommand returns the command that calibrates a policy's contract for the model and the
// sampling in use.
func (a *app) contractCommand(policy string, to reuse.Reference) string {
	c := a.calibration()
	c.Flag("--contract", policy)
	if to == reuse.ToConverged {
		c.Flag("--reference", string(to))
	}
	c.Flag("--out", "DIR")
	return c.String()
}

// makeContract calibrates the contract of a policy and saves the policy with it.
func (c *calibrateCmd) makeContract(a *app) error {
	to := reuse.Reference(c.Reference)
	if to != "" && to != reuse.ToUncached && to != reuse.ToConverged {
		return fmt.Errorf("--reference %s: of --contract want %s or %s", to, reuse.ToUncached, reuse.ToConverged)
	}
	p, sampling, err := a.open(&c.Model, c.options(), &c.samplingFlags)
	if err != nil {
		return err
	}
	defer p.Close()
	policy, err := a.policy(c.Contract)
	if err != nil {
		return err
	}
	o := calibrate.DefaultContract()
	o.Sampling, o.Converged = c.madeFor(policy, sampling), to == reuse.ToConverged
	o.Images, o.Seed, o.Command = c.ContractImages, c.ContractSeed, commandLine()
	o.Confidence = c.Confidence
	if o.Keep = c.Keep; o.Keep == "" {
		o.Keep = filepath.Join(c.Out, calibrate.WorkFolder)
	}
	if !c.ContractChecks {
		o.Tolerances = nil
	}
	o.OnStage = func(what string) { a.note("%s", what) }
	t, err := calibrate.Contract(a.ctx, p, policy, o)
	if err != nil {
		return err
	}
	if err := t.SaveCopy(c.Out); err != nil {
		return err
	}
	if c.JSON {
		return a.printJSON(t)
	}
	for _, point := range t.Contract.Points {
		text := fmt.Sprintf("%.1f dB", point.PSNR)
		if t.Contract.Baseline != nil {
			text += fmt.Sprintf(", and %.1f dB to the converged solution,", point.ConvergedPSNR)
		}
		a.note("%.0f %% of the images keep %s at %.2f times fewer FLOPs", 100*t.Contract.Coverage, text, point.FLOPs)
	}
	if b := t.Contract.Baseline; b != nil {
		a.note("the uncached ones keep %.1f dB to the converged solution", b.PSNR)
	}
	a.note("wrote %s", c.Out)
	return nil
}

// madeFor returns how a contract's images are sampled: as a calibrated policy needs it, with the
// guidance that is asked for.
func (c *calibrateCmd) madeFor(policy reuse.Policy, s tokencache.Sampling) tokencache.Sampling {
	t, ok := policy.(*reuse.Trained)
	if !ok {
		return s
	}
	s.Sampler, s.Steps, s.Spacing, s.Eta = t.Sampler, t.Steps, t.Spacing, t.Eta
	if c.Guidance == nil {
		s.Guidance, s.GuidancePower = t.Guidance, t.GuidancePower
	}
	s.GuideAll, s.Clip = s.GuideAll || t.GuideAll, s.Clip || t.Clip
	return s
}
