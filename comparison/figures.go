package comparison

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/internal/regularfile"
	"github.com/tokencache/tokencache/redundancy"
	"github.com/tokencache/tokencache/report"
)

// Sheet returns the first images of each cell, a row for each. Of each method the one nearest to
// the median speed-up is shown first.
func (r *Result) Sheet() []report.SheetRow {
	shown := map[string]bool{}
	for _, cell := range r.Middle() {
		shown[cell.Name()+" "+cell.Policy] = true
	}
	var rows []report.SheetRow
	for i, cell := range r.Cells {
		if len(r.Images[i]) == 0 {
			continue
		}
		row := report.SheetRow{Title: cell.Name()}
		if !cell.Base() {
			row.Title = fmt.Sprintf("%s, %.2fx", cell.Name(), cell.Speedup)
			row.Note, row.More = cell.Policy, !shown[cell.Name()+" "+cell.Policy]
		}
		if f := cell.PSNRUncached; f != nil && !cell.Base() {
			row.Title += fmt.Sprintf(", %.1f dB", f.Mean)
		}
		for _, m := range r.Images[i] {
			row.Images = append(row.Images, m.RGBA())
		}
		rows = append(rows, row)
	}
	return rows
}

// Overlays draws which tokens each method computes, of its cell nearest to the median speed-up, in
// Dir/overlays. Methods that compute the same of every token have none.
func (r *Result) Overlays(ctx context.Context, o Options) ([]report.Image, error) {
	var list []report.Image
	for _, cell := range r.Middle() {
		if cell.PSteps == 0 || cell.DType != "" { // it chooses as in the comparison's own format
			continue
		}
		file, err := overlay(ctx, o, cell)
		if err != nil {
			return nil, fmt.Errorf("overlay of %s: %w", cell.Policy, err)
		}
		if file == "" {
			continue
		}
		png, err := regularfile.Read(file, math.MaxInt64)
		if err != nil {
			return nil, err
		}
		list = append(list, report.Image{Title: fmt.Sprintf("%s, %.2fx", cell.Method, cell.Speedup), PNG: png})
	}
	return list, nil
}

// overlay draws the overlay of a cell and returns its first file, "" if it has none.
func overlay(ctx context.Context, o Options, cell *report.Cell) (string, error) {
	const images = 2
	policy, sampling, err := (&runner{Options: o}).policyOf(run{Policy: cell.Policy})
	if err != nil {
		return "", err
	}
	subjects, err := o.Pipeline.SubjectsOr(o.Subjects)
	if err != nil {
		return "", err
	}
	req := tokencache.Request{Seed: o.Seed, Sampling: sampling}
	subjects.Cycle(&req, images)
	record, frames, err := redundancy.RecordFrames(ctx, o.Pipeline, redundancy.Options{
		Request: req,
		Policy:  policy,
		OnStage: o.OnStage,
	})
	if err != nil || !record.Chooses() {
		return "", err
	}
	dir := filepath.Join(o.Dir, "overlays", FileName(cell.Method))
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return "", err
	}
	files, err := record.DrawOverlay(dir, o.Pipeline.Name(), frames, o.Pipeline.Labels(req))
	if err != nil || len(files) == 0 { // none where the tokens are no square
		return "", err
	}
	return files[0], nil
}
