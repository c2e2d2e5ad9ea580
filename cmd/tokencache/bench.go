package main

import (
	"fmt"
	"slices"
	"time"

	"github.com/tokencache/tokencache/cmd/tokencache/internal/bench"
	"github.com/tokencache/tokencache/dit"
	"github.com/tokencache/tokencache/internal/kernel"
	"github.com/tokencache/tokencache/models/bundle"
)

type benchCmd struct {
	Kernels benchKernelsCmd `cmd:"" help:"Linear maps and attention at the sizes of DiT-S and DiT-XL."`
	Model   benchModelCmd   `cmd:"" help:"A model's forward pass, with synthetic weights."`
	Train   benchTrainCmd   `cmd:"" help:"Training a model, whole updates."`
	Engine  benchEngineCmd  `cmd:"" help:"A pipeline that many callers use at once: throughput, latency, equality of images."`
}

type benchKernelsCmd struct {
	Level   []string `help:"CPU levels: generic, avx2, avx512. Default: the best that the machine has." placeholder:"LEVEL"`
	Threads []int    `help:"Numbers of worker threads. Default: all processors." placeholder:"N"`
	M       []int    `name:"m" help:"Rows of the linear maps." default:"32,64,128,256,512"`
	JSON    bool     `name:"json" help:"Print one JSON object on standard output."`
}

func (c *benchKernelsCmd) Run(a *app) error {
	o := bench.KernelOptions{Threads: c.Threads, M: c.M, Time: 200 * time.Millisecond}
	if len(o.Threads) == 0 {
		o.Threads = []int{0}
	}
	for _, n := range slices.Concat(c.Threads, c.M) {
		if n < 1 || n > 1<<16 {
			return fmt.Errorf("%d threads or rows: want 1 to %d", n, 1<<16)
		}
	}
	var err error
	if o.Levels, err = parseLevels(c.Level); err != nil {
		return err
	}
	if !c.JSON {
		fmt.Fprintf(a.stdout, "%-10s %-8s %7s %5s %5s %5s %9s %8s\n",
			"op", "level", "threads", "m", "k", "n", "GFLOP/s", "of peak")
		o.OnRow = func(r bench.KernelRow) {
			fmt.Fprintf(a.stdout, "%-10s %-8s %7d %5d %5d %5d %9.1f %7.1f%%\n",
				r.Op, r.Level, r.Threads, r.M, r.K, r.N, r.GFLOPs, r.PercentOfPeak)
		}
	}
	r, err := bench.Kernels(a.ctx, o)
	if err != nil {
		return err
	}
	if c.JSON {
		return a.printJSON(r)
	}
	_, err = fmt.Fprintf(a.stdout, "peak of fused multiply-adds: %.1f GFLOP/s\n", r.PeakGFLOPs)
	return err
}

// parseLevels returns the CPU levels with the given names, or without names the one in use.
func parseLevels(names []string) ([]kernel.Level, error) {
	if len(names) == 0 {
		return []kernel.Level{kernel.ActiveLevel()}, nil
	}
	var levels []kernel.Level
	for _, name := range names {
		level, err := kernel.ParseLevel(name)
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(kernel.Impls(), func(im *kernel.Impl) bool { return im.Level == level && im.Supported() }) {
			return nil, fmt.Errorf("CPU level %s: this machine or build does not have it", name)
		}
		levels = append(levels, level)
	}
	return levels, nil
}

// benchConfig returns the configuration of an official architecture for images of the given side,
// or of a bundled model.
func benchConfig(arch string, imageSize int) (dit.Config, error) {
	if b := bundle.Lookup(arch); b != nil {
		w, err := b.Weights()
		if err != nil {
			return dit.Config{}, err
		}
		defer w.Close()
		return w.Config, nil
	}
	if imageSize < 8 || imageSize%8 != 0 || imageSize > 4096 {
		return dit.Config{}, fmt.Errorf("--image-size %d: want a multiple of 8 up to 4096", imageSize)
	}
	return dit.Official(arch, imageSize/8)
}

type benchTrainCmd struct {
	Arch      string        `help:"Architecture: ${architectures}; or a bundled model: ${models}." default:"${model}"`
	ImageSize int           `help:"Side of the images in pixels, 8 for each latent." default:"256"`
	Batch     int           `help:"Images of an update." default:"16"`
	Micro     int           `name:"micro-batch" help:"Images in memory together." default:"16"`
	Time      time.Duration `help:"How long to measure." default:"10s"`
	Threads   int           `help:"Worker threads. Default: all processors." placeholder:"N"`
	JSON      bool          `name:"json" help:"Print one JSON object on standard output."`
}

func (c *benchTrainCmd) Run(a *app) error {
	if c.Batch < 1 || c.Batch > 1024 || c.Micro < 1 {
		return fmt.Errorf("--batch %d, --micro-batch %d: want 1 to 1024", c.Batch, c.Micro)
	}
	config, err := benchConfig(c.Arch, c.ImageSize)
	if err != nil {
		return err
	}
	r, err := bench.Train(a.ctx, bench.TrainOptions{
		Config:  config,
		Batch:   c.Batch,
		Micro:   c.Micro,
		Threads: c.Threads,
		Time:    c.Time,
	})
	if err != nil {
		return err
	}
	if c.JSON {
		return a.printJSON(r)
	}
	_, err = fmt.Fprintf(a.stdout, "%s, %d images an update, %d threads, %s: "+
		"%.0f ms, %.1f images/s, %.1f GFLOP/s, %.1f%% of the peak of %.1f GFLOP/s\n",
		r.Arch, r.Batch, r.Threads, r.Level, r.Milliseconds, r.Images, r.GFLOPs, r.PercentOfPeak, r.PeakGFLOPs)
	return err
}
