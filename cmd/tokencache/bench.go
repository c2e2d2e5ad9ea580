package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/cmd/tokencache/internal/bench"
	"github.com/tokencache/tokencache/cmd/tokencache/internal/effect"
	"github.com/tokencache/tokencache/dit"
	"github.com/tokencache/tokencache/minit2i"
	"github.com/tokencache/tokencache/models"
	"github.com/tokencache/tokencache/models/bundle"
	"github.com/tokencache/tokencache/reuse"
)

type benchCmd struct {
	Kernels benchKernelsCmd `cmd:"" help:"Linear maps and attention at the sizes of DiT-S and DiT-XL."`
	Model   benchModelCmd   `short:"m" cmd:"" help:"A model's forward pass, with synthetic weights."`
	Train   benchTrainCmd   `cmd:"" help:"Training a model, whole updates."`
	Engine  benchEngineCmd  `cmd:"" help:"A pipeline that many callers use at once: throughput, latency, equality of images."`
	Serve   benchServeCmd   `cmd:"" help:"A server under load: requests that arrive at random, with mixed steps and policies, some given up."`
}

type benchKernelsCmd struct {
	Level   []string `help:"CPU levels: generic, avx2, avx512, vnni, bf16; on arm64 neon, dotprod, bf16, i8mm. Default: the best that the machine has." placeholder:"LEVEL"`
	Threads []int    `help:"Numbers of worker threads. Default: all processors." placeholder:"N"`
	M       []int    `name:"m" help:"Rows of the linear maps." default:"32,64,128,256,512"`
	Tokens  []int    `help:"Tokens that attend to each other." default:"256"`
	JSON    bool     `name:"json" help:"Print one JSON object on standard output."`
}

func (c *benchKernelsCmd) Run(a *app) error {
	o := bench.KernelOptions{Threads: c.Threads, M: c.M, Tokens: c.Tokens, Time: 200 * time.Millisecond}
	if len(o.Threads) == 0 {
		o.Threads = []int{0}
	}
	for _, n := range slices.Concat(c.Threads, c.M, c.Tokens) {
		if n < 1 || n > 1<<16 {
			return fmt.Errorf("%d threads, rows or tokens: want 1 to %d", n, 1<<16)
		}
	}
	var err error
	if o.Levels, err = bench.ParseLevels(c.Level); err != nil {
		return err
	}
	if !c.JSON {
		bench.WriteKernelHeader(a.stdout)
		o.OnRow = func(r bench.KernelRow) { r.Write(a.stdout) }
	}
	r, err := bench.Kernels(a.ctx, o)
	if err != nil {
		return err
	}
	if c.JSON {
		return a.printJSON(r)
	}
	if err := r.WritePeaks(a.stdout); err != nil {
		return err
	}
	return bench.WriteDisturbed(a.stdout, r.Disturbed)
}

type benchModelCmd struct {
	Arch      string     `help:"Architecture: ${architectures}, ${textarchitecture}; or a bundled model: ${models}." default:"DiT-XL/2"`
	ImageSize int        `help:"Side of the images in pixels, for a latent model 8 for each latent." default:"256"`
	Batch     int        `help:"Samples of a forward pass; an image with guidance is two." default:"2"`
	Tokens    string     `help:"Share of the tokens that every block computes, or several: 100%,50%,25%." default:"100%"`
	Policy    policyText `help:"Measure the I- and P-steps of a policy instead, as generate takes it: tokencache:ratio=0.5,..." placeholder:"NAME:KEY=VALUE,..."`
	Steps     int        `help:"With --policy: how many of the first of 50 steps are measured, each against an uncached one." default:"8"`
	On        []int      `name:"on-threads" help:"Instead of timing a pass: say how it would be divided among these numbers of threads, from what its parts take on one. Default: a pass is timed." placeholder:"N,..."`
	DiT       bool       `name:"against-dit" help:"Of an MDT: measure a DiT of equal size too, alternating, and print their ratio."`
	DType     dtypeName  `name:"dtype" help:"Number format of the network's blocks: f32, bf16 or int8, the last two faster and less exact; auto is f32." enum:"auto,f32,bf16,int8" default:"auto"`
	Threads   int        `help:"Worker threads. Default: all processors." placeholder:"N"`
	JSON      bool       `name:"json" help:"Print one JSON object on standard output; with several shares, its rows."`

	given effect.Given `kong:"-"`
}

// AfterApply notes which flags there are.
func (c *benchModelCmd) AfterApply(k *kong.Context) error {
	c.given = effect.Of(k)
	return nil
}

func (c *benchModelCmd) Run(a *app) error {
	run := effect.BenchModel{Policy: c.Policy != "", OnThreads: len(c.On) > 0, Bundled: bundle.Lookup(c.Arch) != nil}
	if err := run.Check(c.given); err != nil {
		return err
	}
	if c.Batch < 1 || c.Batch > 1024 {
		return fmt.Errorf("--batch %d: want 1 to 1024", c.Batch)
	}
	network, err := benchNetwork(c.Arch, c.ImageSize)
	if err != nil {
		return err
	}
	if c.Policy != "" {
		return c.policy(a, network)
	}
	if len(c.On) > 0 {
		return c.scaling(a, network)
	}
	o := bench.ModelOptions{
		Network: network,
		Batch:   c.Batch,
		DType:   c.DType.dtype(),
		Threads: c.Threads,
		Time:    3 * time.Second,
		DiT:     c.DiT,
	}
	if o.Percent, err = bench.ParsePercents(c.Tokens); err != nil {
		return fmt.Errorf("--tokens %w", err)
	}
	a.note("making weights of %s", network.Name())
	reports, err := bench.Model(a.ctx, o)
	if err != nil {
		return err
	}
	if c.JSON {
		if len(reports) == 1 {
			return a.printJSON(reports[0])
		}
		return a.printJSON(map[string]any{"rows": reports})
	}
	return bench.WriteModels(a.stdout, reports)
}

// scaling says how a pass would be divided among numbers of threads.
func (c *benchModelCmd) scaling(a *app, network bench.Network) error {
	for _, n := range c.On {
		if n < 1 || n > bench.MaxScaling {
			return fmt.Errorf("--on-threads %d: want 1 to %d", n, bench.MaxScaling)
		}
	}
	a.note("making weights of %s", network.Name())
	r, err := bench.Scaling(a.ctx, bench.ModelOptions{Network: network, Batch: c.Batch, DType: c.DType.dtype()}, c.On)
	if err != nil {
		return err
	}
	if c.JSON {
		return a.printJSON(r)
	}
	return r.WriteText(a.stdout)
}

// policy measures the steps of a policy.
func (c *benchModelCmd) policy(a *app, network bench.Network) error {
	p, err := reuse.Parse(string(c.Policy))
	if err != nil {
		return err
	}
	if c.Steps < 2 {
		return fmt.Errorf("--steps %d: want 2 or more", c.Steps)
	}
	a.note("making weights of %s", network.Name())
	r, err := bench.Policy(a.ctx, bench.PolicyOptions{
		Network: network,
		Batch:   c.Batch,
		DType:   c.DType.dtype(),
		Policy:  p,
		Steps:   c.Steps,
		Threads: c.Threads,
	})
	if err != nil {
		return err
	}
	if c.JSON {
		return a.printJSON(r)
	}
	return r.Write(a.stdout)
}

// benchNetwork returns an architecture for images of the given side, or that of a bundled model.
func benchNetwork(arch string, imageSize int) (bench.Network, error) {
	text := minit2i.MiniT2IB16()
	if b := bundle.Lookup(arch); b != nil && b.Prompts != nil {
		w, err := b.TextWeights()
		if err != nil {
			return nil, err
		}
		return bench.MiniT2I{Config: w.Config}, w.Close()
	}
	if !strings.EqualFold(arch, text.Name()) {
		c, err := benchConfig(arch, imageSize)
		return bench.DiT{Config: c}, err
	}
	if imageSize < text.PatchSize || imageSize%text.PatchSize != 0 || imageSize > 4096 {
		return nil, fmt.Errorf("--image-size %d: want a multiple of %d up to 4096", imageSize, text.PatchSize)
	}
	text.ImageSize = imageSize
	return bench.MiniT2I{Config: text}, nil
}

// benchConfig returns the configuration of an official DiT, MDT or SiT for images of the given side,
// or of a bundled model of classes.
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
	Arch      string        `help:"Architecture: ${architectures}; or a bundled model of classes: ${classmodels}." default:"${model}"`
	ImageSize int           `help:"Side of the images in pixels, 8 for each latent." default:"256"`
	Batch     int           `help:"Images of an update." default:"16"`
	Micro     int           `name:"micro-batch" help:"Images in memory together." default:"16"`
	DType     dtypeName     `name:"dtype" enum:"f32,bf16" help:"Number format of the blocks' products: f32 or bf16." default:"f32"`
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
		DType:   c.DType.dtype(),
	})
	if err != nil {
		return err
	}
	if c.JSON {
		return a.printJSON(r)
	}
	return r.Write(a.stdout)
}

type benchEngineCmd struct {
	Model   string     `short:"m" help:"A bundled model." default:"${model}"`
	Policy  policyText `help:"What is reused, as generate takes it. Default: what suits the model." placeholder:"NAME:KEY=VALUE,..."`
	Repeat  int        `help:"Rounds of images alone, in a batch and at the same time, of which the medians count." default:"5"`
	Arrive  int        `help:"Requests that arrive at random times, for each rate." default:"200"`
	Seed    uint64     `short:"s" help:"Seed of the times of arrival." default:"1"`
	Threads int        `help:"Worker threads. Default: all processors." placeholder:"N"`
	JSON    bool       `name:"json" help:"Print one JSON object on standard output."`
}

func (c *benchEngineCmd) Run(a *app) error {
	p, req, err := models.Open(c.Model, tokencache.Options{Threads: c.Threads})
	if err != nil {
		return err
	}
	defer p.Close()
	b := bundle.Lookup(c.Model)
	subjects, _, err := p.Subjects(a.ctx, b.Prompts)
	if err != nil {
		return err
	}
	switch {
	case c.Policy != "":
		if req.Policy, err = models.ResolvePolicy(b, string(c.Policy)); err != nil {
			return err
		}
	case req.Policy == nil:
		req.Policy = reuse.None{}
	}
	r, err := bench.EngineWithAndWithout(a.ctx, p, bench.EngineOptions{
		Request:  req,
		Subjects: subjects,
		Repeat:   c.Repeat,
		Arrive:   c.Arrive,
		Seed:     c.Seed,
		OnStage:  func(what string) { a.note("%s", what) },
	})
	if err != nil {
		return err
	}
	if c.JSON {
		return a.printJSON(r)
	}
	return r.Write(a.stdout)
}
