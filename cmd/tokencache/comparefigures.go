package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/comparison"
	"github.com/tokencache/tokencache/redundancy"
	"github.com/tokencache/tokencache/report"
)

// sheetOf returns the first images of each cell, a row for each. Of each method that near the middle of all speeds is shown first.
func sheetOf(r *comparison.Result) []report.SheetRow {
	shown := map[string]bool{}
	for _, cell := range (&report.Results{Cells: r.Cells}).Middle() {
		shown[cell.Policy] = true
	}
	var rows []report.SheetRow
	for i, cell := range r.Cells {
		if len(r.Images[i]) == 0 {
			continue
		}
		row := report.SheetRow{Title: cell.Method}
		if cell.Method != report.Uncached {
			row.Title = fmt.Sprintf("%s, %.2fx", cell.Method, cell.Speedup)
			row.Note, row.More = cell.Policy, !shown[cell.Policy]
		}
		if cell.PSNR != nil {
			row.Title += fmt.Sprintf(", %.1f dB", cell.PSNR.Value)
		}
		for _, m := range r.Images[i] {
			row.Images = append(row.Images, m.RGBA())
		}
		rows = append(rows, row)
	}
	return rows
}

// overlays draws which tokens each method computes, of its cell nearest to the middle of all speeds, in OUT/overlays. Methods that compute the same of every token have none.
func (c *compareCmd) overlays(a *app, p *tokencache.Pipeline, o comparison.Options, result *report.Results) ([]report.Image, error) {
	const images = 2
	var list []report.Image
	for _, cell := range result.Middle() {
		if cell.PSteps == 0 {
			continue
		}
		policy, err := o.Open(cell.Policy)
		if err != nil {
			return nil, err
		}
		req := tokencache.Request{Seed: c.Seed, Sampling: o.Sampling}
		for i := range images {
			req.Classes = append(req.Classes, i%p.Config().NumClasses)
		}
		record, frames, err := redundancy.RecordFrames(a.ctx, p, redundancy.Options{Request: req, Policy: policy, OnStage: o.OnStage})
		if err != nil {
			return nil, fmt.Errorf("overlay of %s: %w", cell.Policy, err)
		}
		if !record.Chooses() {
			continue
		}
		dir := filepath.Join(c.Out, "overlays", comparison.FileName(cell.Method))
		if err := os.MkdirAll(dir, 0o777); err != nil {
			return nil, err
		}
		files, err := record.DrawOverlay(dir, p.Config().Name(), frames, req.Classes, p.ClassNames())
		if err != nil {
			return nil, err
		}
		if len(files) == 0 {
			return nil, nil // the tokens are no square
		}
		png, err := os.ReadFile(files[0])
		if err != nil {
			return nil, err
		}
		list = append(list, report.Image{Title: fmt.Sprintf("%s, %.2fx", cell.Method, cell.Speedup), PNG: png})
	}
	return list, nil
}
