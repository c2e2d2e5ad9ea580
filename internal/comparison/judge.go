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
	cell := report.Cell{Method: s.Method, Policy: s.Policy, Wanted: s.Wanted, Images: r.Count, StepMillis: d.StepMS, StepsTaken: d.Stats.Steps}
	if t := d.Timing; t != nil {
		cell.WallSeconds, cell.UncachedWallSeconds, cell.Speedup = t.WallSeconds, t.UncachedWallSeconds, t.Speedup
		cell.FLOPs, cell.UncachedFLOPs, cell.CacheBytes, cell.ISteps, cell.PSteps = t.FLOPs, t.UncachedFLOPs, t.CacheBytes, t.ISteps, t.PSteps
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
		if cell.PSNR, err = r.mean(psnr); err != nil {
			return cell, nil, err
		}
		if cell.SSIM, err = r.mean(ssim); err != nil {
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
	pool := tensor.NewPool(r.Pipeline.Threads())
	defer pool.Close()
	judged, err := r.Net.Judge(tensor.NewGraph(pool), len(images), func(i int, dst []float32) error {
		m := images[i]
		for c := range m.Channels {
			for p := range m.Height * m.Width {
				dst[c*m.Height*m.Width+p] = float32(m.Pixels[p*m.Channels+c])/127.5 - 1
			}
		}
		return nil
	}, nil)
	if err != nil {
		return err
	}
	right := make([]float64, len(images))
	for i, m := range images {
		if int(judged.Classes[i]) == m.Class {
			right[i] = 1
		}
	}
	if cell.Agreement, err = r.mean(right); err != nil || r.Reference == nil {
		return err
	}
	// The same images are drawn again in every cell, so that their differences from cell to cell are not hidden by chance.
	value, draws, err := eval.ResampledFrechet(judged.Features.Flat(), r.Reference, resamples, r.Seed)
	if err != nil {
		return err
	}
	cell.Frechet = interval(value, eval.Around(value, draws))
	if isBase {
		r.baseFrechet, r.baseDraws = value, draws
		return nil
	}
	for i := range draws {
		draws[i] /= r.baseDraws[i]
	}
	cell.FrechetRatio = interval(value/r.baseFrechet, eval.Around(value/r.baseFrechet, draws))
	return nil
}

func interval(value float64, i eval.Interval) *report.Interval {
	return &report.Interval{Value: value, Low: i.Low, High: i.High}
}

// mean is the mean of values, nil of none, with its interval.
func (r *run) mean(values []float64) (*report.Interval, error) {
	if len(values) == 0 {
		return nil, nil
	}
	sum := 0.0
	for _, v := range values {
		sum += v
	}
	i, err := eval.BootstrapMean(values, eval.MeanResamples, r.Seed)
	return interval(sum/float64(len(values)), i), err
}
