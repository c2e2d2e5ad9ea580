package report

import (
	"encoding/csv"
	"io"
	"strconv"
	"strings"

	"github.com/tokencache/tokencache/eval"
)

// csvColumns are the columns of results.csv and how a cell fills them. What was not measured is
// empty.
var csvColumns = []struct {
	name  string
	value func(*Cell) string
}{
	{"method", func(c *Cell) string { return c.Method }},
	{"policy", func(c *Cell) string { return c.Policy }},
	{"wanted", func(c *Cell) string { return known(c.Wanted) }},
	{"images", func(c *Cell) string { return strconv.Itoa(c.Images) }},
	{"wall_s", func(c *Cell) string { return known(c.WallSeconds) }},
	{"uncached_wall_s", func(c *Cell) string { return known(c.UncachedWallSeconds) }},
	{"speedup", func(c *Cell) string { return known(c.Speedup) }},
	{"flops", func(c *Cell) string { return strconv.FormatInt(c.FLOPs, 10) }},
	{"uncached_flops", func(c *Cell) string { return strconv.FormatInt(c.UncachedFLOPs, 10) }},
	{"flop_reduction", func(c *Cell) string { return known(c.FLOPReduction()) }},
	{"efficiency", func(c *Cell) string { return known(c.Efficiency()) }},
	{"cache_bytes", func(c *Cell) string { return strconv.FormatInt(c.CacheBytes, 10) }},
	{"i_steps", func(c *Cell) string { return strconv.Itoa(c.ISteps) }},
	{"p_steps", func(c *Cell) string { return strconv.Itoa(c.PSteps) }},
	{"steps_taken", func(c *Cell) string { return strconv.Itoa(c.StepsTaken) }},
	{"psnr_uncached_mean", func(c *Cell) string { return fidelity(c.PSNRUncached, average) }},
	{"psnr_uncached_p5", func(c *Cell) string { return fidelity(c.PSNRUncached, p5) }},
	{"psnr_uncached_min", func(c *Cell) string { return fidelity(c.PSNRUncached, lowest) }},
	{"psnr_uncached_identical", func(c *Cell) string { return fidelity(c.PSNRUncached, identical) }},
	{"psnr_converged_mean", func(c *Cell) string { return fidelity(c.PSNRConverged, average) }},
	{"psnr_converged_p5", func(c *Cell) string { return fidelity(c.PSNRConverged, p5) }},
	{"psnr_converged_min", func(c *Cell) string { return fidelity(c.PSNRConverged, lowest) }},
	{"psnr_converged_identical", func(c *Cell) string { return fidelity(c.PSNRConverged, identical) }},
	{"ssim", func(c *Cell) string { return part(c.SSIM, value) }},
	{"ssim_low", func(c *Cell) string { return part(c.SSIM, low) }},
	{"ssim_high", func(c *Cell) string { return part(c.SSIM, high) }},
	{"frechet", func(c *Cell) string { return part(c.Frechet, value) }},
	{"frechet_low", func(c *Cell) string { return part(c.Frechet, low) }},
	{"frechet_high", func(c *Cell) string { return part(c.Frechet, high) }},
	{"frechet_ratio", func(c *Cell) string { return part(c.FrechetRatio, value) }},
	{"frechet_ratio_low", func(c *Cell) string { return part(c.FrechetRatio, low) }},
	{"frechet_ratio_high", func(c *Cell) string { return part(c.FrechetRatio, high) }},
	{"class_agreement", func(c *Cell) string { return part(c.Agreement, value) }},
	{"class_agreement_low", func(c *Cell) string { return part(c.Agreement, low) }},
	{"class_agreement_high", func(c *Cell) string { return part(c.Agreement, high) }},
	{"step_ms", func(c *Cell) string { return spaced(c.StepMillis) }}, // a list with spaces between
	{"error", func(c *Cell) string { return c.Error }},
	{"note", func(c *Cell) string { return c.Note }},
	{"half_steps", func(c *Cell) string { return strconv.Itoa(c.HalfSteps) }}, // among the P-steps
	{"best_solver", func(c *Cell) string { return strconv.FormatBool(c.Best) }},
	{"nfe", func(c *Cell) string { return known(c.NFE) }},
	{"disturbed", func(c *Cell) string { return c.Disturbed }},
	{"dtype", func(c *Cell) string { return c.DType }},
}

// writeCSV writes a line for each cell below a line of names.
func (r *Results) writeCSV(w io.Writer) error {
	out := csv.NewWriter(w)
	line := make([]string, len(csvColumns))
	for i, column := range csvColumns {
		line[i] = column.name
	}
	if err := out.Write(line); err != nil {
		return err
	}
	for i := range r.Cells {
		cell := r.Cells[i]
		cell.DType = cell.dtype(r)
		for j, column := range csvColumns {
			line[j] = column.value(&cell)
		}
		if err := out.Write(line); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}

func value(v *eval.Estimate) float64 { return v.Value }
func low(v *eval.Estimate) float64   { return v.Low }
func high(v *eval.Estimate) float64  { return v.High }

// part writes one of an estimate's numbers in full, nothing if it was not measured.
func part(v *eval.Estimate, of func(*eval.Estimate) float64) string {
	if v == nil {
		return ""
	}
	return exact(of(v))
}

func average(f *eval.Fidelity) float64   { return f.Mean }
func p5(f *eval.Fidelity) float64        { return f.P5 }
func lowest(f *eval.Fidelity) float64    { return f.Min }
func identical(f *eval.Fidelity) float64 { return float64(f.Identical) }

// fidelity writes one of a fidelity's numbers likewise.
func fidelity(f *eval.Fidelity, of func(*eval.Fidelity) float64) string {
	if f == nil {
		return ""
	}
	return exact(of(f))
}

// known writes a number of which 0 means that it is not known.
func known(v float64) string {
	if v == 0 {
		return ""
	}
	return exact(v)
}

func exact(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }

func spaced(values []float64) string {
	texts := make([]string, len(values))
	for i, v := range values {
		texts[i] = exact(v)
	}
	return strings.Join(texts, " ")
}
