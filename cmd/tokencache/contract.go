package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/tokencache/tokencache/calibrate"
	"github.com/tokencache/tokencache/report"
	"github.com/tokencache/tokencache/reuse"
)

// calibrateContract are the flags of calibrate that let an existing policy promise a PSNR.
type calibrateContract struct {
	Contract       string `help:"Instead of making a policy: calibrate what PSNR each image of this policy keeps when its forecasts are checked (generate --min-psnr). --out gets the policy with it." placeholder:"NAME|DIR"`
	ContractImages int    `name:"contract-images" help:"Of --contract: images." default:"${contractImages}"`
	ContractChecks bool   `name:"contract-checks" help:"Of --contract: also at some tolerances, beyond which forecasts are rejected and computed. Without them it says what the policy keeps as it is." default:"true" negatable:""`
	ContractSeed   uint64 `name:"contract-seed" help:"Of --contract: seed of their noise, another than the policy was made with." default:"${contractSeed}"`
}

// contracts says which bundled policies promise what, and how another is made to.
func (a *app) contracts(policy string) string {
	var list []string
	bundled, _ := a.opened.bundle.Policies() // an error was reported before
	for _, t := range bundled {
		if t.Contract != nil {
			_, high := t.Contract.Range()
			list = append(list, fmt.Sprintf("%s (up to %.1f dB)", t, high))
		}
	}
	c := report.NewCommand("tokencache", "calibrate", "--model", a.opened.model)
	c.Flag("--contract", policy).Flag("--out", "DIR")
	text := "calibrate one with " + c.String()
	if len(list) > 0 {
		text = "there are the contracts of " + strings.Join(list, ", ") + ", or " + text
	}
	return text
}

// makeContract calibrates the contract of a policy and saves the policy with it.
func (c *calibrateCmd) makeContract(a *app) error {
	p, _, err := a.open(&c.Model, c.options(), &c.samplingFlags)
	if err != nil {
		return err
	}
	defer p.Close()
	policy, err := a.policy(c.Contract)
	if err != nil {
		return err
	}
	t, ok := policy.(*reuse.Trained)
	if !ok {
		return fmt.Errorf("--contract %s: want a bundled policy or the folder of a calibrated one", c.Contract)
	}
	o := calibrate.DefaultContract()
	o.Images, o.Seed, o.Command = c.ContractImages, c.ContractSeed, commandLine()
	if !c.ContractChecks {
		o.Tolerances = nil
	}
	o.OnStage = func(what string) { a.note("%s", what) }
	contract, err := calibrate.Contract(a.ctx, p, t, o)
	if err != nil {
		return err
	}
	t.Contract = contract
	var learned func(string) error
	switch {
	case t.Policy != nil && t.Policy.Forecast != nil:
		learned = t.Policy.Forecast.Write
	case t.Policy != nil && t.Policy.Predictor != nil || t.L2C != nil:
		return errors.New("--contract: want a policy that forecasts whole steps")
	}
	if err := t.Save(c.Out, learned); err != nil {
		return err
	}
	if c.JSON {
		return a.printJSON(t)
	}
	for _, point := range contract.Points {
		a.note("%.0f %% of the images keep %.1f dB at %.2f times fewer FLOPs", 100*contract.Coverage, point.PSNR, point.FLOPs)
	}
	a.note("wrote %s", c.Out)
	return nil
}
