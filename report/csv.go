package report

import (
	"encoding/csv"
	"io"
	"strconv"
	"strings"
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
	{"psnr_db", func(c *Cell) string { return c.PSNR.part(value) }},
	{"psnr_db_low", func(c *Cell) string { return c.PSNR.part(low) }},
	{"psnr_db_high", func(c *Cell) string { return c.PSNR.part(high) }},
	{"ssim", func(c *Cell) string { return c.SSIM.part(value) }},
	{"ssim_low", func(c *Cell) string { return c.SSIM.part(low) }},
	{"ssim_high", func(c *Cell) string { return c.SSIM.part(high) }},
	{"frechet", func(c *Cell) string { return c.Frechet.part(value) }},
	{"frechet_low", func(c *Cell) string { return c.Frechet.part(low) }},
	{"frechet_high", func(c *Cell) string { return c.Frechet.part(high) }},
	{"frechet_ratio", func(c *Cell) string { return c.FrechetRatio.part(value) }},
	{"frechet_ratio_low", func(c *Cell) string { return c.FrechetRatio.part(low) }},
	{"frechet_ratio_high", func(c *Cell) string { return c.FrechetRatio.part(high) }},
	{"class_agreement", func(c *Cell) string { return c.Agreement.part(value) }},
	{"class_agreement_low", func(c *Cell) string { return c.Agreement.part(low) }},
	{"class_agreement_high", func(c *Cell) string { return c.Agreement.part(high) }},
	{"step_ms", func(c *Cell) string { return spaced(c.StepMillis) }}, // a list with spaces between
	{"error", func(c *Cell) string { return c.Error }},
	{"note", func(c *Cell) string { return c.Note }},
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
		for j, column := range csvColumns {
			line[j] = column.value(&r.Cells[i])
		}
		if err := out.Write(line); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}

func value(v *Interval) float64 { return v.Value }
func low(v *Interval) float64   { return v.Low }
func high(v *Interval) float64  { return v.High }

// part writes one of an interval's numbers in full, nothing if it was not measured.
func (v *Interval) part(of func(*Interval) float64) string {
	if v == nil {
		return ""
	}
	return exact(of(v))
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
