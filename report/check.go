package report

import (
	"errors"
	"fmt"
	"math"

	"github.com/tokencache/tokencache/eval"
)

// check refuses numbers that no measurement gives, which JSON could not hold or the charts could
// not show.
func (r *Results) check() error {
	numbers := []named{{"guidance", r.Guidance}, {"guidance_power", r.GuidancePower}, {"eta", r.Eta}}
	numbers = append(numbers, parts("real_frechet", r.RealFrechet)...)
	numbers = append(numbers, parts("real_agreement", r.RealAgreement)...)
	if err := finite(numbers); err != nil {
		return err
	}
	for i := range r.Cells {
		if err := r.Cells[i].check(); err != nil {
			return fmt.Errorf("cell %d (%s %s): %w", i, r.Cells[i].Method, r.Cells[i].Policy, err)
		}
	}
	for _, cal := range r.Calibrations {
		if err := finite([]named{{"seconds", cal.Seconds}}); err != nil {
			return fmt.Errorf("calibration of %s: %w", cal.Method, err)
		}
	}
	return nil
}

func (c *Cell) check() error {
	if c.Method == "" {
		return errors.New("method is empty: want a method's name")
	}
	numbers := []named{
		{"wall_s", c.WallSeconds},
		{"uncached_wall_s", c.UncachedWallSeconds},
		{"speedup", c.Speedup},
		{"wanted", c.Wanted},
		{"uncached_step_ms", c.UncachedStepMillis},
		{"uncached_step_flops", float64(c.UncachedStepFLOPs)},
		{"flops", float64(c.FLOPs)},
		{"uncached_flops", float64(c.UncachedFLOPs)},
		{"cache_bytes", float64(c.CacheBytes)},
		{"images", float64(c.Images)},
		{"nfe", c.NFE},
	}
	for _, ms := range c.StepMillis {
		numbers = append(numbers, named{"step_ms", ms})
	}
	for _, flops := range c.StepFLOPs {
		numbers = append(numbers, named{"step_flops", float64(flops)})
	}
	for _, n := range numbers {
		if n.value < 0 {
			return fmt.Errorf("%s is %g: want no negative number", n.name, n.value)
		}
	}
	numbers = append(numbers, dB("psnr_uncached", c.PSNRUncached)...)
	numbers = append(numbers, dB("psnr_converged", c.PSNRConverged)...)
	numbers = append(numbers, parts("ssim", c.SSIM)...)
	numbers = append(numbers, parts("frechet", c.Frechet)...)
	numbers = append(numbers, parts("frechet_ratio", c.FrechetRatio)...)
	numbers = append(numbers, parts("class_agreement", c.Agreement)...)
	return finite(numbers)
}

// named is a number and what it is called in the file.
type named struct {
	name  string
	value float64
}

// maxNumber is the largest number that the charts can scale without overflow.
const maxNumber = 1e100

func finite(numbers []named) error {
	for _, n := range numbers {
		if !(math.Abs(n.value) <= maxNumber) {
			return fmt.Errorf("%s is %g: want a finite number, at most %g", n.name, n.value, float64(maxNumber))
		}
	}
	return nil
}

// dB are the numbers of a fidelity, none if it was not measured.
func dB(name string, f *eval.Fidelity) []named {
	if f == nil {
		return nil
	}
	return []named{{name + " mean", f.Mean}, {name + " p5", f.P5}, {name + " min", f.Min}}
}

// parts are the numbers of an estimate, none if it was not measured.
func parts(name string, v *eval.Estimate) []named {
	if v == nil {
		return nil
	}
	return []named{{name, v.Value}, {name + " low", v.Low}, {name + " high", v.High}}
}
