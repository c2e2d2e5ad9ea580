package bench

import (
	"context"
	"time"

	"github.com/tokencache/tokencache/dit"
	"github.com/tokencache/tokencache/internal/busy"
	"github.com/tokencache/tokencache/internal/kernel"
	"github.com/tokencache/tokencache/internal/median"
	"github.com/tokencache/tokencache/tensor"
	"github.com/tokencache/tokencache/train"
)

// TrainReport is the speed of training.
type TrainReport struct {
	PeakGFLOPs    float64 `json:"peak_gflops"`
	Milliseconds  float64 `json:"ms"` // of an update
	Images        float64 `json:"images_per_second"`
	GFLOPs        float64 `json:"gflops"`
	PercentOfPeak float64 `json:"percent_of_peak"`

	Arch    string `json:"arch"`
	Batch   int    `json:"batch"`
	Micro   int    `json:"micro_batch"`
	Threads int    `json:"threads"`
	Level   string `json:"level"`
	DType   string `json:"dtype"`

	// Disturbed says why the times may be wrong.
	Disturbed []string `json:"disturbed,omitempty"`
}

// TrainOptions says what to measure.
type TrainOptions struct {
	Config  dit.Config
	Batch   int // images of an update
	Micro   int // of them in memory together
	Threads int
	Time    time.Duration
	DType   tensor.DType // see train.Settings
}

// Train measures whole updates of a new model on random images: noise, forward pass, loss,
// backward pass, an MDT's masked passes too, AdamW, moving average.
func Train(ctx context.Context, o TrainOptions) (*TrainReport, error) {
	m, params, err := dit.NewTrainable(o.Config, train.NewInit(o.Config, 1), false)
	if err != nil {
		return nil, err
	}
	pictures := patterns{o.Config}
	labels := make([]int32, pictures.Len())
	options := train.DenoiserOptions{Seed: 1, Dropout: 0.1}
	if o.Config.Arch != dit.ArchDiT {
		mask := train.DefaultMask(o.Config.Arch)
		options.Mask = &mask
	}
	task, err := train.NewDenoiser(m, params, pictures, labels, nil, options)
	if err != nil {
		return nil, err
	}
	pool := tensor.NewPool(o.Threads)
	defer pool.Close()
	g := tensor.NewGraph(pool)
	l, err := train.NewLoop(task, g, "", train.Settings{
		Steps: 1 << 30, Batch: o.Batch, Micro: o.Micro, LR: 1e-4, Schedule: "constant", EMA: 0.999, Clip: 1,
		DType: o.DType.String(),
	})
	if err != nil {
		return nil, err
	}
	// The loop runs as it does for users; the peak is measured between updates.
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var peaks, times []float64
	load := busy.Load()
	var flops int64
	begin := time.Time{}
	l.OnStep = func(r train.StepStats) {
		peaks = append(peaks, measurePeak(tensor.F32, pool.Workers()))
		if begin.IsZero() { // the first update warms up
			begin = time.Now()
			return
		}
		times, flops = append(times, r.Seconds), r.FLOPs
		if len(times) >= 3 && time.Since(begin) >= o.Time {
			stop()
		}
	}
	if err := l.Run(ctx); len(times) < 3 {
		return nil, err
	}
	seconds := median.Of(times)
	r := &TrainReport{
		PeakGFLOPs: median.Of(peaks), Milliseconds: 1e3 * seconds, Images: float64(o.Batch) / seconds, GFLOPs: float64(flops) / seconds / 1e9,
		Arch: o.Config.Name(), Batch: o.Batch, Micro: o.Micro, Threads: pool.Workers(), Level: kernel.LevelOf(o.DType).String(),
		DType: o.DType.String(),
	}
	r.PercentOfPeak = 100 * r.GFLOPs / r.PeakGFLOPs
	percent := r.PercentOfPeak
	if o.DType != tensor.F32 {
		percent = 0 // products of bfloat16 may exceed the peak of float32
	}
	r.Disturbed = disturbed(load, percent, peaks, times)
	return r, nil
}

// patterns are pictures made up on the spot.
type patterns struct{ dit.Config }

func (p patterns) Len() int { return 256 }

func (p patterns) Read(i int, dst []float32) error {
	state := uint32(i)
	for j := range dst {
		state = state*1664525 + 1013904223
		dst[j] = float32(state>>8)/(1<<23) - 1
	}
	return nil
}
