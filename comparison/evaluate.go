package comparison

import (
	"context"
	"image"
	"strings"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/eval"
	"github.com/tokencache/tokencache/report"
)

const (
	shownImages = 10  // of a cell, in the report
	resamples   = 200 // for an interval of a Fréchet distance
)

// evaluate compares the images of a result with the uncached ones and with real images.
func (r *runner) evaluate(ctx context.Context, d, base *result) (report.Cell, []tokencache.Image, error) {
	cell := r.cost(d)
	images, err := d.first(r.Count)
	if err != nil {
		return cell, nil, err
	}
	if cell.PSNRUncached, err = fidelity(images, base); err != nil {
		return cell, nil, err
	}
	if r.solution != nil {
		if cell.PSNRConverged, err = fidelity(images[:min(r.Count, maxConverged)], r.solution); err != nil {
			return cell, nil, err
		}
	}
	if d != base {
		if cell.SSIM, err = r.similarity(images, base); err != nil {
			return cell, nil, err
		}
	}
	if r.Reference != nil {
		if err := r.features(ctx, &cell, images, d.Run); err != nil {
			return cell, nil, err
		}
	}
	return cell, images[:min(len(images), shownImages)], nil
}

// cost returns the cell of a result with what it took.
func (r *runner) cost(d *result) report.Cell {
	cell := report.Cell{
		Method:             d.Run.Method,
		Policy:             d.Run.Policy,
		Wanted:             d.Run.Wanted,
		DType:              d.Run.DType,
		Images:             r.Count,
		StepsTaken:         d.Stats.Steps,
		UncachedStepMillis: d.Step.Millis,
		UncachedStepFLOPs:  d.Step.FLOPs,
	}
	for _, step := range d.Steps {
		cell.StepMillis, cell.StepFLOPs = append(cell.StepMillis, step.Millis), append(cell.StepFLOPs, step.FLOPs)
	}
	t := d.Timing
	if t == nil { // the uncached model
		cell.Speedup, cell.ISteps = 1, r.plan.Steps()
		cell.FLOPs, cell.UncachedFLOPs = d.Stats.FLOPs, d.Stats.FLOPs
		cell.NFE = float64(cell.ISteps)
		return cell
	}
	cell.Cost = t.Cost
	cell.WallSeconds, cell.UncachedWallSeconds = t.WallSeconds, t.UncachedWallSeconds
	cell.Speedup = t.Speedup
	cell.StepsTaken = t.ISteps + t.PSteps
	cell.Disturbed, cell.Untimed = strings.Join(t.Disturbed, ", "), t.Untimed
	if t.UncachedFLOPs > 0 {
		cell.NFE = float64(r.plan.Steps()) * float64(t.FLOPs) / float64(t.UncachedFLOPs)
	}
	return cell
}

// similarity returns the SSIM of images to those of the uncached model.
func (r *runner) similarity(images []tokencache.Image, base *result) (*eval.Estimate, error) {
	uncached, err := base.first(len(images))
	if err != nil {
		return nil, err
	}
	ssim := make([]float64, len(images))
	for i, m := range images {
		if ssim[i], err = eval.SSIM(floats(m), floats(uncached[i]), m.Channels, m.Height, m.Width, 1); err != nil {
			return nil, err
		}
	}
	return mean(ssim, r.Seed)
}

// floats returns an image's pixels in [0,1], [C, H, W].
func floats(m tokencache.Image) []float32 {
	x := make([]float32, len(m.Pixels))
	size := m.Height * m.Width
	for i, v := range m.Pixels {
		x[i%m.Channels*size+i/m.Channels] = float32(v) / 255
	}
	return x
}

// features fills in what the network's features say of the images of a run.
func (r *runner) features(ctx context.Context, cell *report.Cell, images []tokencache.Image, s run) error {
	set := imagesOf(images)
	p, err := predict(ctx, r.Reference.Network, set, r.Pipeline.Threads())
	if err != nil {
		return err
	}
	if cell.Agreement, err = mean(p.Agreement(set.Labels), r.Seed); err != nil || r.Reference.Gaussian == nil {
		return err
	}
	var draws []float64
	if cell.Frechet, draws, err = frechet(p, r.Reference.Gaussian, r.Seed); err != nil {
		return err
	}
	r.drawn[s] = drawn{cell.Frechet.Value, draws}
	if !s.isBase() {
		ratio := r.drawn[s].over(r.drawn[r.base.Run])
		cell.FrechetRatio = &ratio
	}
	return nil
}

// standard returns an image as one of the standard library's.
func standard(m tokencache.Image) image.Image {
	if m.Channels == 1 {
		return &image.Gray{Pix: m.Pixels, Stride: m.Width, Rect: m.Bounds()}
	}
	return m.RGBA()
}

// frechet returns the distance of images from a reference, and those of resamples, which are
// paired: see eval.ResampledFrechet.
func frechet(p *eval.Predictions, reference *eval.Gaussian, seed uint64) (*eval.Estimate, []float64, error) {
	value, draws, err := eval.ResampledFrechet(p.Features, reference, resamples, seed)
	if err != nil {
		return nil, nil, err
	}
	e := eval.Around(value, draws)
	return &e, draws, nil
}

// mean is the mean of values, nil of none.
func mean(values []float64, seed uint64) (*eval.Estimate, error) {
	if len(values) == 0 {
		return nil, nil
	}
	e, err := eval.BootstrapMean(values, eval.MeanResamples, seed)
	return &e, err
}
