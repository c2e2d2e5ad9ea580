package redundancy

import (
	"fmt"
	"math"
	"path/filepath"
	"slices"

	"github.com/tokencache/tokencache/report"
)

// The files that Draw writes.
const (
	TokenSizeFile   = "update-tokens.png"
	TokenChangeFile = "change-tokens.png"
	ChangeFile      = "change.png"
	SimilarityFile  = "similarity.png"
	AlphaFile       = "alpha.png"
	ScheduleFile    = "schedule.png"
	OverlayFile     = "overlay.png"
	AnimationFile   = "overlay.gif"
	TokensFile      = "tokens.png"
)

const (
	stepAxis  = "step (0 is the noisiest)"
	blockAxis = "block"
)

// Draw writes what was watched to dir, and returns the files.
func (w *Watch) Draw(dir, model string) ([]string, error) {
	var files []string
	add := func(name string, f report.Figure) error {
		path := filepath.Join(dir, name)
		files = append(files, path)
		return f.Write(path)
	}
	if side := sideOf(w.Tokens); side > 0 && w.Steps > 1 {
		if err := add(TokenSizeFile, w.tokenMaps(w.Size, side, "|F[p]|",
			model+": size of each token's update F, image 0")); err != nil {
			return nil, err
		}
		if err := add(TokenChangeFile, w.tokenMaps(w.First, side, "|F[p] - F[p-1]| / |F[p]|",
			model+": change of each token's update F from the step before, image 0")); err != nil {
			return nil, err
		}
	}
	if err := add(ChangeFile, w.changes(model)); err != nil {
		return nil, err
	}
	return files, add(SimilarityFile, w.similarities(model))
}

// count returns a number of images for titles.
func count(images int) string {
	if images == 1 {
		return "1 image"
	}
	return fmt.Sprintf("%d images", images)
}

// sideOf returns the side of a square grid, or 0.
func sideOf(tokens int) int {
	if side := int(math.Sqrt(float64(tokens)) + 0.5); side*side == tokens {
		return side
	}
	return 0
}

// tokenMaps draws what was watched of the first image's tokens, [Steps, Blocks, Tokens], in some
// blocks at some steps.
func (w *Watch) tokenMaps(watched []float32, side int, unit, title string) report.Figure {
	const maxTiles = 10 // in each direction
	t := report.Tiles{
		X:     stepAxis,
		Y:     blockAxis,
		Rows:  spread(w.Blocks, maxTiles),
		Side:  side,
		Scale: report.Scale{Unit: unit + ", log scale", Log: true},
	}
	for _, p := range spread(w.Steps-1, maxTiles) {
		t.Cols = append(t.Cols, p+1) // the first step has none before it
	}
	var all []float64
	for _, block := range t.Rows {
		var row [][]float64
		for _, p := range t.Cols {
			values := make([]float64, w.Tokens)
			for i, v := range watched[(p*w.Blocks+block)*w.Tokens:][:w.Tokens] {
				values[i] = float64(v)
			}
			row, all = append(row, values), append(all, values...)
		}
		t.Values = append(t.Values, row)
	}
	t.Min, t.Max = percentiles(all)
	return report.Figure{
		Title:  title,
		Rows:   [][]report.Panel{{t}},
		Height: []int{60 + 104*len(t.Rows)},
	}
}

// percentiles returns the 1st and the 99th of the positive values, as outliers would spoil a scale;
// 0 and 0 if there are none.
func percentiles(values []float64) (low, high float64) {
	values = slices.DeleteFunc(slices.Clone(values), func(v float64) bool { return !(v > 0) })
	if len(values) == 0 {
		return 0, 0
	}
	slices.Sort(values)
	return values[len(values)/100], values[len(values)-1-len(values)/100]
}

// changes draws the mean change of every block at every step.
func (w *Watch) changes(model string) report.Figure {
	curves := report.Lines{Title: "its mean over blocks", X: stepAxis, Y: "mean change", Zero: true}
	mean := make([]float64, w.Steps)
	for p := range mean {
		for l := range w.Blocks {
			mean[p] += w.Mean[l][p] / float64(w.Blocks)
		}
	}
	curves.Values = [][]float64{mean}
	heat := report.Heat{
		Title:  "|F[p] - F[p-1]| / |F[p]|, mean over tokens",
		X:      stepAxis,
		Y:      blockAxis,
		Values: w.Mean,
		Scale:  report.Scale{Unit: "mean relative change, log scale", Log: true},
	}
	return report.Figure{
		Title: fmt.Sprintf("%s: relative change of the tokens' updates from the step before, mean of %s",
			model, count(w.Images)),
		Rows:   [][]report.Panel{{heat}, {curves}},
		Height: []int{min(200+24*w.Blocks, 640), 260},
	}
}

// similarities draws the matrices of cosines.
func (w *Watch) similarities(model string) report.Figure {
	f := report.Figure{
		Title:  fmt.Sprintf("%s: cosine similarity of tokens between steps, mean of %s", model, count(w.Images)),
		Height: []int{345, 345},
	}
	low := 1.0
	for _, s := range w.Alike {
		for p := range s.Updates {
			low = min(low, slices.Min(s.Updates[p]), slices.Min(s.Output[p]))
		}
	}
	scale := report.Scale{Unit: "cosine", Min: min(math.Floor(10*low)/10, 0.9), Max: 1}
	var updates, output []report.Panel
	for _, s := range w.Alike {
		name := fmt.Sprintf("block %d", s.Block)
		updates = append(updates, s.panel("updates of "+name, s.Updates, scale))
		output = append(output, s.panel("tokens after "+name, s.Output, scale))
	}
	f.Rows = [][]report.Panel{updates, output}
	return f
}

func (s Similarity) panel(title string, values [][]float64, scale report.Scale) report.Panel {
	return report.Heat{
		Title:  title,
		X:      "step",
		Y:      "step",
		Values: values,
		XLabel: s.Steps,
		YLabel: s.Steps,
		Narrow: true,
		Scale:  scale,
	}
}

// Importance returns the importance update-norm that a cache of the step before would have given
// tokens, where no policy ranks any.
func (w *Watch) Importance() *Importance {
	m := &Importance{Kind: "update-norm of the uncached model"}
	alpha := make([]float64, len(w.Norm))
	for i, v := range w.Norm {
		alpha[i] = float64(v)
	}
	m.average(alpha, w.Blocks, w.Tokens, func(p int) bool { return p > 0 })
	return m
}

// Draw writes the importance to dir.
func (m *Importance) Draw(dir, model string, images int) (string, error) {
	scale := report.Scale{Unit: "importance, log scale", Log: true}
	if m.Learned {
		scale = report.Scale{Unit: "alpha, 0 to 1"}
	}
	tokens := report.Heat{
		Title:  "alpha of each token in each block, mean over steps",
		X:      "token, in reading order",
		Y:      blockAxis,
		Values: m.TokenMean,
		Scale:  scale,
	}
	steps := report.Heat{
		Title:  "alpha in each block at each step, mean over tokens",
		X:      stepAxis,
		Y:      blockAxis,
		Values: m.StepMean,
		Scale:  scale,
	}
	lines := report.Lines{
		Title:  "mean over blocks and tokens",
		X:      stepAxis,
		Y:      "mean alpha",
		Values: [][]float64{m.Mean},
		Zero:   true,
		One:    m.Learned,
	}
	blocks := len(m.StepMean)
	height := min(180+18*blocks, 520)
	f := report.Figure{
		Title:  fmt.Sprintf("%s: importance alpha of tokens (%s), mean of %s", model, m.Kind, count(images)),
		Rows:   [][]report.Panel{{tokens}, {steps}, {lines}},
		Height: []int{height, height, 250},
	}
	path := filepath.Join(dir, AlphaFile)
	return path, f.Write(path)
}

// schedule returns the share computed at each step, a mean over blocks, and which steps are
// I-steps.
func (r *Record) schedule() (share []float64, full []bool) {
	share, full = make([]float64, r.Steps), make([]bool, r.Steps)
	for p := range share {
		for l := range r.Blocks {
			share[p] += r.Share[l][p] / float64(r.Blocks)
		}
		full[p] = slices.Contains(r.ISteps, p)
	}
	return share, full
}

// DrawSchedule writes to dir which steps are I-steps and what is computed at the others.
func (r *Record) DrawSchedule(dir, model string) (string, error) {
	share, full := r.schedule()
	bars := report.StepBars{Title: "share of tokens computed at each step", X: stepAxis, Share: share, Full: full}
	heat := report.Heat{
		Title:  "the same in each block",
		X:      stepAxis,
		Y:      blockAxis,
		Values: r.Share,
		Scale:  report.Scale{Unit: "share computed", Max: 1},
	}
	f := report.Figure{
		Title: fmt.Sprintf("%s: %d I-steps of %d, %.0f %% of all tokens computed",
			model, len(r.ISteps), r.Steps, 100*r.Computed()),
		Note:   shortened(r.Policy),
		Rows:   [][]report.Panel{{bars}, {heat}},
		Height: []int{240, min(140+18*r.Blocks, 480)},
	}
	path := filepath.Join(dir, ScheduleFile)
	return path, f.Write(path)
}

// shortened returns a policy's text as far as it fits above a figure: lists of steps are long, and
// in the figure anyway.
func shortened(policy string) string {
	const maxLength = 150
	if len(policy) <= maxLength {
		return policy
	}
	return policy[:maxLength] + " …"
}

// Computed returns the share of all tokens of all blocks and steps that was computed.
func (r *Record) Computed() float64 {
	share, _ := r.schedule()
	sum := 0.0
	for _, s := range share {
		sum += s / float64(len(share))
	}
	return sum
}

// Chooses reports whether the policy tells tokens apart: at some step it computed more of one than
// of another.
func (r *Record) Chooses() bool {
	for _, image := range r.First {
		for s := range r.Steps {
			step := image[s*r.Tokens:][:r.Tokens]
			if slices.Max(step) > slices.Min(step) {
				return true
			}
		}
	}
	return false
}

// DrawOverlay writes to dir the frames with the computed tokens, as a strip and as an animation.
// Names say what each image shows.
func (r *Record) DrawOverlay(dir, model string, frames []Frame, names []string) ([]string, error) {
	side := sideOf(r.Tokens)
	if side == 0 {
		return nil, nil
	}
	o := report.Overlay{
		Title: fmt.Sprintf("%s: tokens that the policy computes", model),
		Note:  shortened(r.Policy),
		Side:  side,
		Names: names[:len(r.First)],
	}
	o.Share, o.Full = r.schedule()
	for _, f := range frames {
		frame := report.OverlayFrame{Step: f.Step}
		for i, m := range f.Images {
			frame.Images = append(frame.Images, m.RGBA())
			frame.Computed = append(frame.Computed, r.First[i][f.Step*r.Tokens:][:r.Tokens])
		}
		o.Frames = append(o.Frames, frame)
	}
	strip, animation := filepath.Join(dir, OverlayFile), filepath.Join(dir, AnimationFile)
	if err := o.WriteStrip(strip); err != nil {
		return nil, err
	}
	return []string{strip, animation}, o.WriteGIF(animation)
}
