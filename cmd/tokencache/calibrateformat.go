package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/cmd/tokencache/internal/summary"
	"github.com/tokencache/tokencache/comparison"
)

// calibrateFormat are the flags of calibrate that choose a number format for an existing policy.
type calibrateFormat struct {
	Choose  string  `name:"choose-dtype" help:"Instead of making a policy: measure on --measure images what bf16 and int8 gain and lose under this one (any as for generate, or none), and let --dtype auto take the fastest that loses at most --max-loss to the converged solution and whose Fréchet distance is not larger beyond its paired interval. --out gets the policy with the choice. Default: no choice, which is f32." placeholder:"NAME|DIR"`
	MaxLoss float64 `name:"max-loss" help:"Of --choose-dtype: dB of the mean PSNR that a number format may lose." default:"${maxLoss}" placeholder:"DB"`
}

// formatsFolder is the folder in a policy's folder with the comparison of number formats.
const formatsFolder = "formats"

// chooseFormat chooses the number format of a policy and saves the policy with it.
func (c *calibrateCmd) chooseFormat(a *app) error {
	if c.DType != auto || c.MaxLoss < 0 {
		return errors.New("--choose-dtype measures all number formats: leave out --dtype, " +
			"and give --max-loss of 0 or more")
	}
	switch against := strings.Join(c.Reference, " and "); comparison.Against(against) {
	case comparison.AgainstUncached, comparison.AgainstConverged:
		return fmt.Errorf("--reference %s: of --choose-dtype want a path of real images", against)
	default:
		if len(c.Reference) > 1 {
			return fmt.Errorf("--reference %s: of --choose-dtype want one path of real images", against)
		}
	}
	o, done, err := a.comparison(&c.Model, c.options(), &c.samplingFlags, &c.subjectFlags)
	if err != nil {
		return err
	}
	defer done()
	closeFormats, err := a.formats(o, []tokencache.DType{tokencache.BF16, tokencache.INT8})
	if err != nil {
		return err
	}
	defer closeFormats()
	if _, o.Sampling, err = c.suited(a, o.Pipeline, o.Subjects, c.Choose, o.Sampling); err != nil {
		return err
	}
	comparison.ChooseDefaults(o, c.Seed)
	o.Dir, o.Count = filepath.Join(c.Out, formatsFolder), c.Measure
	if err := a.reference(o, strings.Join(c.Reference, "")); err != nil {
		return err
	}
	a.printRemarks()
	bar := a.newProgress("comparing")
	defer bar.Finish()
	o.OnProgress = bar.Set
	t, r, err := comparison.ChooseFormat(a.ctx, *o, c.Choose, c.MaxLoss)
	if err != nil {
		return err
	}
	bar.Finish()
	if err := errors.Join(r.Write(o.Dir, r.Sheet()), t.SaveCopy(c.Out)); err != nil {
		return err
	}
	if c.JSON {
		return a.printJSON(t)
	}
	for _, line := range summary.Precision(t.Precision) {
		a.note("%s", line)
	}
	a.note("wrote %s, with the evidence in %s", c.Out, o.Dir)
	return nil
}
