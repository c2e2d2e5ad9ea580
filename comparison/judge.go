package comparison

import (
	"math"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/eval"
	"github.com/tokencache/tokencache/report"
	"github.com/tokencache/tokencache/tensor"
)

// shownImages is how many images of a cell the report shows.
const shownImages = 10

// resamples is how many times the images are drawn again, with replacement, for an interval of a Frechet distance.
const resamples = 200

// judge compares a cell's images with the uncached ones and with real pictures.
func (r *run) judge(s subject, d, base *drawn) (report.Cell, []tokencache.Image, error) {
	cell := report.Cell{Method: s.Method, Policy: s.Policy, Wanted: s.Wanted, Images: r.Count, StepsTaken: d.Stats.Steps, UncachedStepMillis: d.Step.Millis, UncachedStepFLOPs: d.Step.FLOPs}
	for _, step := range d.Steps {
		cell.StepMillis, cell.StepFLOPs = append(cell.StepMillis, step.Millis), append(cell.StepFLOPs, step.FLOPs)
	}
	if t := d.Timing; t != nil {
		cell.WallSeconds, cell.UncachedWallSeconds, cell.Speedup = t.WallSeconds, t.UncachedWallSeconds, t.Speedup
		cell.FLOPs, cell.UncachedFLOPs, cell.CacheBytes, cell.ISteps, cell.PSteps = t.FLOPs, t.UncachedFLOPs, t.CacheBytes, t.ISteps, t.PSteps
		cell.StepsTaken = t.ISteps + t.PSteps
	} else {
		cell.Speedup, cell.ISteps = 1, r.plan.Steps()
		cell.FLOPs, cell.UncachedFLOPs = d.Stats.FLOPs, d.Stats.FLOPs
	}
	images, err := d.first(r.Count)
	if err != nil {
		return cell, nil, err
	}
	if d != base {
		plain, err := base.first(r.Count)
		if err != nil {
			return cell, nil, err
		}
		var psnr, ssim []float64
		for i, m := range images {
			a, b := floats(m), floats(plain[i])
			v, err := eval.PSNR(a, b, 1)
			if err != nil {
				return cell, nil, err
			}
			if !math.IsInf(v, 0) {
				psnr = append(psnr, v)
			}
			if v, err = eval.SSIM(a, b, m.Channels, m.Height, m.Width, 1); err != nil {
				return cell, nil, err
			}
			ssim = append(ssim, v)
		}
		if cell.PSNR, err = mean(psnr, r.Seed); err != nil {
			return cell, nil, err
		}
		if cell.SSIM, err = mean(ssim, r.Seed); err != nil {
			return cell, nil, err
		}
	}
	if r.Net != nil {
		if err := r.see(&cell, images, d == base); err != nil {
			return cell, nil, err
		}
	}
	return cell, images[:min(len(images), shownImages)], nil
}

// floats returns an image's pixels in [0,1], channel after channel as eval takes them.
func floats(m tokencache.Image) []float32 {
	x := make([]float32, len(m.Pixels))
	size := m.Height * m.Width
	for i, v := range m.Pixels {
		x[i%m.Channels*size+i/m.Channels] = float32(v) / 255
	}
	return x
}

// see has the network judge the images.
func (r *run) see(cell *report.Cell, images []tokencache.Image, isBase bool) error {
	labels := make([]int32, len(images))
	for i, m := range images {
		labels[i] = int32(m.Class)
	}
	opinion, err := See(r.Net, r.Pipeline.Threads(), labels, r.Seed, func(i int, dst []float32) error {
		m := images[i]
		for c := range m.Channels {
			for p := range m.Height * m.Width {
				dst[c*m.Height*m.Width+p] = float32(m.Pixels[p*m.Channels+c])/127.5 - 1
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if cell.Agreement = opinion.Agreement; r.Reference == nil {
		return nil
	}
	var draws []float64
	if cell.Frechet, draws, err = opinion.Frechet(r.Reference, r.Seed); err != nil {
		return err
	}
	if isBase {
		r.baseFrechet, r.baseDraws = cell.Frechet.Value, draws
		return nil
	}
	for i := range draws {
		draws[i] /= r.baseDraws[i]
	}
	ratio := cell.Frechet.Value / r.baseFrechet
	cell.FrechetRatio = interval(ratio, eval.Around(ratio, draws))
	return nil
}

// Opinion is what a network sees in pictures.
type Opinion struct {
	Features  []float32        // [pictures, D]
	Width     int              // D
	Agreement *report.Interval // the share of them that it takes for what their labels say
}

// See has a network look at pictures with labels, that read gives as eval.Classifier's Judge takes them.
func See(net *eval.Classifier, threads int, labels []int32, seed uint64, read func(i int, dst []float32) error) (*Opinion, error) {
	pool := tensor.NewPool(threads)
	defer pool.Close()
	judged, err := net.Judge(tensor.NewGraph(pool), len(labels), read, nil)
	if err != nil {
		return nil, err
	}
	right := make([]float64, len(labels))
	for i, label := range labels {
		if judged.Classes[i] == label {
			right[i] = 1
		}
	}
	o := &Opinion{Features: judged.Features.Flat(), Width: judged.Features.Cols}
	o.Agreement, err = mean(right, seed)
	return o, err
}

// Frechet returns the distance of the pictures from a reference, and those of resamples: the same seed draws the same pictures again of any number of them, so that differences between
// sets that belong together are not hidden by chance.
func (o *Opinion) Frechet(reference *eval.Normal, seed uint64) (*report.Interval, []float64, error) {
	value, draws, err := eval.ResampledFrechet(o.Features, reference, resamples, seed)
	if err != nil {
		return nil, nil, err
	}
	return interval(value, eval.Around(value, draws)), draws, nil
}

func interval(value float64, i eval.Interval) *report.Interval {
	return &report.Interval{Value: value, Low: i.Low, High: i.High}
}

// mean is the mean of values, nil of none, with its interval.
func mean(values []float64, seed uint64) (*report.Interval, error) {
	if len(values) == 0 {
		return nil, nil
	}
	sum := 0.0
	for _, v := range values {
		sum += v
	}
	i, err := eval.BootstrapMean(values, eval.MeanResamples, seed)
	return interval(sum/float64(len(values)), i), err
}
