package main

import (
	"cmp"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/calibrate"
	"github.com/tokencache/tokencache/cmd/tokencache/internal/contracts"
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

// contracts says which bundled policies keep a promise in the sampling in use, and how another is
// made to.
func (a *app) contracts(policy string, promise reuse.Promise) string {
	bundled, _ := a.opened.bundle.Policies() // an error was reported before
	text := "calibrate one with " + a.contractCommand(cmp.Or(policy, "none"), promise.Reference)
	if list := contracts.Offers(bundled, a.opened.sampling, promise); len(list) > 0 {
		text = "there are the contracts of " + strings.Join(list, ", ") + ", or " + text
	}
	return text
}

// contractCommand returns the command that calibrates a policy's contract for the model and the
// sampling in use.
func (a *app) contractCommand(policy string, to reuse.Reference) string {
	c := a.calibration().Flag("--contract", policy)
	if to == reuse.ToConverged {
		c.Flag("--reference", string(to))
	}
	return c.Flag("--out", "DIR").String()
}

// makeContract calibrates the contract of a policy and saves the policy with it.
func (c *calibrateCmd) makeContract(a *app) error {
	to, err := contracts.References(strings.Join(c.Reference, ","), "--contract")
	if err != nil {
		return err
	}
	p, subjects, sampling, err := a.openSubjects(&c.Model, c.options(), &c.samplingFlags, &c.subjectFlags)
	if err != nil {
		return err
	}
	defer p.Close()
	o := calibrate.DefaultContract()
	policy, sampling, err := c.suited(a, p, subjects, c.Contract, sampling)
	if err != nil {
		return err
	}
	o.Sampling, o.Subjects = sampling, subjects
	o.Converged = slices.Contains(to, reuse.ToConverged)
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
	a.note("%s\nwrote %s", strings.Join(contracts.Lines(t.Contract), "\n"), c.Out)
	return nil
}

// suited returns the policy of a name and the sampling that it is used with, as generate has it:
// where no flag says otherwise, what it was made for. It refuses a policy that was made for
// another.
func (c *calibrateCmd) suited(
	a *app, p *tokencache.Pipeline, subjects *tokencache.Subjects, name string, s tokencache.Sampling,
) (reuse.Policy, tokencache.Sampling, error) {
	policy, err := a.policy(name)
	if err != nil {
		return nil, s, err
	}
	s = c.of(policy, s)
	a.opened.sampling, a.opened.policy = s, policy
	req := tokencache.Request{Batch: 1, Sampling: s, Policy: policy}
	subjects.Cycle(&req, 1)
	return policy, s, p.Check(req)
}
