package comparison

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/tokencache/tokencache/report"
)

// Target is what a search wants of a policy.
type Target struct {
	Text    string
	measure string  // one of those below
	bound   float64 // dB, change of a Frechet distance as a share, or times the uncached model
}

// Measures that a target may bound.
const (
	targetPSNR    = "psnr"
	targetFrechet = "fd"
	targetSpeed   = "speed"
)

// ParseTarget reads a target as a user writes it: psnr>=30, fd<=+4% or speed=2x.
func ParseTarget(text string) (Target, error) {
	t := Target{Text: strings.ReplaceAll(text, " ", "")}
	for _, form := range []struct{ prefix, suffix, measure string }{
		{"psnr>=", "", targetPSNR}, {"fd<=", "%", targetFrechet}, {"speed=", "x", targetSpeed}, {"speed>=", "x", targetSpeed},
	} {
		rest, ok := strings.CutPrefix(strings.ToLower(t.Text), form.prefix)
		if !ok {
			continue
		}
		v, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSuffix(rest, "db"), form.suffix), 64)
		if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
			break
		}
		t.measure, t.bound = form.measure, v
		switch {
		case t.measure == targetFrechet:
			t.bound /= 100
		case t.measure == targetSpeed && !(v > 1):
			return t, fmt.Errorf("target %s: want a speed of more than 1x, times the uncached model", text)
		}
		return t, nil
	}
	return t, fmt.Errorf("target %q: want psnr>=DB, such as psnr>=30, fd<=+PERCENT%%, such as fd<=+4%%, or speed=TIMESx, such as speed=2x", text)
}

// NeedsFrechet reports whether a target is about Frechet distances.
func (t Target) NeedsFrechet() bool { return t.measure == targetFrechet }

// speedSlack is by how much, as a share, a measured speed may stay behind: the clock's own error.
const speedSlack = 0.03

// meets reports whether a cell has what is wanted.
func (t Target) meets(c *report.Cell) bool {
	if c.Error != "" {
		return false
	}
	switch t.measure {
	case targetPSNR:
		return c.PSNR == nil || c.PSNR.Value >= t.bound // none: all images are the same
	case targetFrechet:
		return c.FrechetRatio != nil && c.FrechetRatio.Value <= 1+t.bound
	}
	return c.Speedup >= t.bound*(1-speedSlack)
}

// better reports whether cell a, which meets the target, is to be preferred to b, which does too: the nearer images where a speed is wanted, else the faster.
func (t Target) better(a, b *report.Cell) bool {
	if t.measure != targetSpeed {
		return a.Speedup > b.Speedup
	}
	if a.PSNR == nil || b.PSNR == nil {
		return a.PSNR == nil && b.PSNR != nil
	}
	return a.PSNR.Value > b.PSNR.Value
}

// searched are the speeds at which a search tries methods.
var searched = []float64{1.5, 2, 2.4, 3, 4, 5, 6, 8}

// Search looks among families for the best policy that meets a target. Where a speed is wanted each family is tried at it. Where quality is bounded each is tried at the slowest speed that would better what was found
// before, and if it meets the bound at higher ones, by bisection. The cells measured are in the result, the uncached model first; best is -1 if none meets the target.
func Search(ctx context.Context, o Options, t Target) (result *Result, best int, err error) {
	each := o
	each.OnProgress = nil // of one cell
	r, err := newRun(each)
	if err != nil {
		return nil, -1, err
	}
	names := r.names()
	if err := CheckMethods(names); err != nil {
		return nil, -1, err
	}
	var list []family
	for _, name := range names {
		list = append(list, families[slices.IndexFunc(families, func(f family) bool { return f.name == name })])
	}
	result, best = &Result{}, -1
	try := func(s subject) (int, error) {
		cell, images, err := r.measure(ctx, s)
		result.Cells, result.Images = append(result.Cells, cell), append(result.Images, images)
		return len(result.Cells) - 1, err
	}
	if _, err := try(subject{Method: report.Uncached, Policy: "none"}); err != nil {
		return nil, -1, err
	}
	test := func(f family, speed float64) (bool, error) {
		s, ok := r.subject(ctx, f, speed, t.measure == targetSpeed)
		if ctx.Err() != nil || !ok {
			return false, ctx.Err()
		}
		i := slices.IndexFunc(result.Cells, func(c report.Cell) bool { return c.Policy == s.Policy && s.Error == "" })
		if i < 0 {
			if i, err = try(s); err != nil {
				return false, err
			}
		}
		cell := &result.Cells[i]
		if !t.meets(cell) {
			return false, nil
		}
		if best < 0 || t.better(cell, &result.Cells[best]) {
			best = i
			r.stage("so far the best: %s, %.2fx", cell.Policy, cell.Speedup)
		}
		return true, nil
	}
	at := 0 // the first speed that nothing meets yet
	for n, f := range list {
		if o.OnProgress != nil {
			o.OnProgress(float64(n), float64(len(list)))
		}
		speeds := searched[at:]
		if t.measure == targetSpeed {
			speeds = []float64{t.bound}
		}
		passed, err := climb(speeds, func(speed float64) (bool, error) { return test(f, speed) })
		if err != nil {
			return nil, -1, err
		}
		if t.measure != targetSpeed {
			at += passed
		}
	}
	result.Costs = r.costs
	return result, best, nil
}

// climb returns how many of the speeds, which rise, pass: it tries the first, and looks among the others by bisection.
func climb(speeds []float64, pass func(speed float64) (bool, error)) (int, error) {
	if len(speeds) == 0 {
		return 0, nil
	}
	ok, err := pass(speeds[0])
	if err != nil || !ok {
		return 0, err
	}
	low, high := 1, len(speeds) // so many pass, and so many may
	for low < high {
		middle := (low + high) / 2
		if ok, err = pass(speeds[middle]); err != nil {
			return 0, err
		}
		if ok {
			low = middle + 1
		} else {
			high = middle
		}
	}
	return low, nil
}

// CheckMethods reports names that Search does not take: those of no family, and fewer steps, which are no policy.
func CheckMethods(names []string) error {
	known := slices.DeleteFunc(Families(), func(name string) bool { return name == stepsFamily })
	for _, name := range names {
		if !slices.Contains(known, name) {
			return fmt.Errorf("%q is no cache method to be tried: want some of %s", name, strings.Join(known, ", "))
		}
	}
	return nil
}
