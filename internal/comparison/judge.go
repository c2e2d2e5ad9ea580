package comparison

import (
	"math"
	"math/rand/v2"
	"slices"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/eval"
	"github.com/tokencache/tokencache/report"
	"github.com/tokencache/tokencache/tensor"
)

// shownImages is how many images of a cell the report shows.
const shownImages = 10

// resamples is how many times the images are drawn again, with replacement, for an interval (percentile bootstrap).
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
			if v := eval.PSNR(a, b, 1); !math.IsInf(v, 0) {
				psnr = append(psnr, v)
			}
			v, err := eval.SSIM(a, b, m.Height, m.Width, 1)
			if err != nil {
				return cell, nil, err
			}
			ssim = append(ssim, v)
		}
		cell.PSNR, cell.SSIM = r.mean(psnr), r.mean(ssim)
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
	cell.Agreement = r.mean(right)
	if r.Reference == nil {
		return nil
	}
	frechet := func(index []int) (float64, error) {
		m := eval.NewMoments(judged.Features.Cols)
		var x []float32
		for _, i := range index {
			x = append(x, judged.Features.Row(i)...)
		}
		if err := m.Add(x); err != nil {
			return 0, err
		}
		return eval.Frechet(m, r.Reference)
	}
	all := make([]int, len(images))
	for i := range all {
		all[i] = i
	}
	value, err := frechet(all)
	if err != nil {
		return err
	}
	// The same images are drawn again in every cell, so that their differences from cell to cell are not hidden by chance.
	draws := make([]float64, 0, resamples)
	random := rand.New(rand.NewPCG(r.Seed, 1))
	for range resamples {
		for i := range all {
			all[i] = random.IntN(len(all))
		}
		v, err := frechet(all)
		if err != nil {
			return err
		}
		draws = append(draws, v)
	}
	if isBase {
		r.baseFrechet, r.baseDraws = value, draws
	}
	cell.Frechet = interval(value, draws, value)
	if !isBase && r.baseFrechet > 0 {
		ratios := make([]float64, len(draws))
		for i := range ratios {
			ratios[i] = draws[i] / r.baseDraws[i]
		}
		ratio := value / r.baseFrechet
		cell.FrechetRatio = interval(ratio, ratios, ratio)
	}
	return nil
}

// interval is a value with what a bootstrap says of its error. A resampled set has fewer different images, so its Frechet distances lie higher than the set's own: they are moved down to lie around it.
func interval(value float64, draws []float64, centre float64) *report.Interval {
	mean := 0.0
	for _, v := range draws {
		mean += v / float64(len(draws))
	}
	sorted := slices.Sorted(slices.Values(draws))
	n := len(sorted)
	return &report.Interval{Value: value, Low: sorted[n*25/1000] - mean + centre, High: sorted[n-1-n*25/1000] - mean + centre}
}

// mean is the mean of values, nil of none, with its interval.
func (r *run) mean(values []float64) *report.Interval {
	if len(values) == 0 {
		return nil
	}
	average := func(at func(i int) float64) float64 {
		sum := 0.0
		for i := range values {
			sum += at(i)
		}
		return sum / float64(len(values))
	}
	value := average(func(i int) float64 { return values[i] })
	random := rand.New(rand.NewPCG(r.Seed, 2))
	draws := make([]float64, resamples)
	for i := range draws {
		draws[i] = average(func(int) float64 { return values[random.IntN(len(values))] })
	}
	return interval(value, draws, value)
}
