package redundancy

import (
	"fmt"
	"math"
	"path/filepath"
	"slices"

	"github.com/tokencache/tokencache/report"
)

// Draw writes to dir what the worst tokens hold and what computing them gains.
func (t *Tokens) Draw(dir, model string, images int) (string, error) {
	heat := report.Heat{
		Title: fmt.Sprintf("share of the squared forecast error in the worst %.0f %% of the tokens", 100*t.Ratio),
		X:     stepAxis,
		Y:     blockAxis,
		Scale: report.Scale{Unit: "share of the error", Max: 1},
	}
	for l := range t.tally.blocks {
		row := make([]float64, t.tally.steps)
		for p := range row {
			row[p] = math.NaN()
			if h := t.tally.of[ByError][l*t.tally.steps+p]; h.all > 0 {
				row[p] = h.share(t.Ratio)
			}
		}
		heat.Values = append(heat.Values, row)
	}
	f := report.Figure{
		Title: fmt.Sprintf("%s: whether computing tokens pays, forecasts of order %d, mean of %s",
			model, t.Order, count(images)),
		Note:   t.note(),
		Rows:   [][]report.Panel{{t.shareLines()}, {t.costLines()}, {heat}},
		Height: []int{320, 280, min(180+18*t.tally.blocks, 520)},
	}
	path := filepath.Join(dir, TokensFile)
	return path, f.Write(path)
}

// note says in short what Advice says.
func (t *Tokens) note() string {
	if t.BreakEven == nil {
		return ""
	}
	return fmt.Sprintf("the worst %.0f %% of a block's tokens hold %.0f %% of the error, the break-even is %.0f %%; "+
		"computing them gains %+.1f dB over more I-steps at the same cost",
		100*t.Ratio, 100*t.tally.sum(ByError, everywhere).share(t.Ratio), 100**t.BreakEven, *t.OracleGain)
}

// shareLines shows what each ranking finds, and the break-even.
func (t *Tokens) shareLines() report.Lines {
	lines := report.Lines{
		Title: "squared forecast error in the first tokens of a ranking",
		X:     "first tokens, % of a block's",
		Y:     "share of the error",
		Zero:  true,
		One:   true,
	}
	for k := range grid + 1 {
		lines.XLabel = append(lines.XLabel, 100*k/grid)
	}
	for _, by := range Rankings() {
		h := t.tally.sum(by, everywhere)
		values := []float64{0}
		for k := range grid {
			values = append(values, h.share(float64(k+1)/grid))
		}
		lines.Names, lines.Values = append(lines.Names, string(by)), append(lines.Values, values)
	}
	if t.BreakEven != nil {
		at := int(math.Round(t.Ratio * grid))
		lines.Names = append(lines.Names, "break-even")
		lines.Values = append(lines.Values, point(grid+1, at, *t.BreakEven))
	}
	return lines
}

// point returns n values of which one is there.
func point(n, at int, v float64) []float64 {
	values := slices.Repeat([]float64{math.NaN()}, n)
	values[at] = v
	return values
}

// costLines shows what more I-steps bring, and what tokens bring at the same cost.
func (t *Tokens) costLines() report.Lines {
	lines := report.Lines{
		Title: "PSNR to the uncached run",
		X:     "cost, passes of an image",
		Y:     "dB",
		Names: []string{"more I-steps"},
	}
	last := int(math.Ceil(t.Cost))
	for n := t.ISteps; n <= last; n++ {
		lines.XLabel = append(lines.XLabel, n)
	}
	curve := slices.Repeat([]float64{math.NaN()}, len(lines.XLabel))
	for _, c := range t.Curve {
		curve[c.ISteps-t.ISteps] = c.PSNR
	}
	lines.Values = append(lines.Values, curve)
	at := int(math.Round(t.Cost)) - t.ISteps
	for _, r := range t.Rankings {
		lines.Names = append(lines.Names, string(r.Ranking))
		lines.Values = append(lines.Values, point(len(curve), at, r.PSNR))
	}
	return lines
}
