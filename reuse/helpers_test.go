package reuse_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/tokencache/tokencache/checkpoint"
	"github.com/tokencache/tokencache/diffusion"
	"github.com/tokencache/tokencache/dit"
	"github.com/tokencache/tokencache/internal/formula"
	"github.com/tokencache/tokencache/minit2i"
	"github.com/tokencache/tokencache/nn"
	"github.com/tokencache/tokencache/reuse"
	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
)

var plan = reuse.Plan{
	Sampling:  diffusion.Sampling{Sampler: "ddim", Steps: 8},
	Timesteps: []float64{999, 856, 714, 571, 428, 285, 142, 0},
	Sigma:     []float64{157, 29, 9.6, 4.3, 2.2, 1.2, 0.56, 0.01},
}

// archMiniT2I stands for a MiniT2I, whose tokens begin with a text's.
const archMiniT2I dit.Arch = "MiniT2I"

var archs = []dit.Arch{dit.ArchDiT, dit.ArchMDTv1, dit.ArchMDTv2, dit.ArchSiT, archMiniT2I}

// net is a model of any architecture.
type net interface {
	seam.Model
	Forward(g *tensor.Graph, r seam.Reuse, b *seam.Batch) *tensor.Tensor
}

func model(t *testing.T) net { return modelOf(t, dit.ArchDiT) }

// modelOf returns a small model of each architecture.
func modelOf(t *testing.T, arch dit.Arch) net {
	t.Helper()
	return modelAs(t, tensor.F32, arch)
}

// modelAs is modelOf in a number format.
func modelAs(t *testing.T, d tensor.DType, arch dit.Arch) net {
	t.Helper()
	if arch == archMiniT2I {
		return textModel(t, d)
	}
	c := dit.Config{
		Arch:       arch,
		InputSize:  8,
		PatchSize:  2,
		InChannels: 4,
		Hidden:     48,
		Depth:      4,
		Heads:      4,
		MLPHidden:  192,
		NumClasses: 10,
		LearnSigma: true,
	}
	switch arch {
	case dit.ArchMDTv1, dit.ArchMDTv2:
		c.DecodeLayer = 2
	case dit.ArchSiT:
		c.Path, c.Prediction = diffusion.LinearPath, diffusion.PredictVelocity
	}
	m, err := dit.NewAs(d, c, weights(c), false)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// textModel returns a small MiniT2I with an embedding of its own.
func textModel(t *testing.T, d tensor.DType) *minit2i.Model {
	t.Helper()
	c := minit2i.Config{
		ImageSize:  16,
		PatchSize:  4,
		Hidden:     48,
		Heads:      4,
		Depth:      4,
		TextDepth:  1,
		TextWidth:  24,
		TextTokens: 5,
		Bottleneck: 24,
		MLPHidden:  96,
		Vocabulary: 20,
	}
	m, err := minit2i.NewAs(d, c, weights(c))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// condition returns what sample s of a test's batches is conditioned on.
func condition(m net, s int) seam.Condition {
	text, ok := m.(*minit2i.Model)
	if !ok {
		return dit.Class(s % 10)
	}
	ids := []int32{int32(3 + s%10), int32(7 + s%3), 1}
	p, err := text.RawIDPrompt(ids[s%2:])
	if err != nil {
		panic(err)
	}
	return p
}

func weights(c interface{ Tensors() []checkpoint.Want }) nn.Source {
	var src formula.Source
	for _, w := range c.Tensors() {
		src.Add(w.Name, w.Shape...)
	}
	return &src
}

// inputs are batches of samples that drift from step to step, as a sampler's do.
func inputs(m net, samples int) []*seam.Batch { return inputsFrom(m, samples, 1) }

func inputsFrom(m net, samples int, seed uint64) []*seam.Batch {
	r := rand.New(rand.NewPCG(seed, 2))
	size := m.Shape().Latents()
	x, drift := make([]float32, samples*size), make([]float32, samples*size)
	for i := range x {
		x[i], drift[i] = float32(r.NormFloat64()), float32(r.NormFloat64())
	}
	var conditions []seam.Condition
	for s := range samples {
		conditions = append(conditions, condition(m, s))
	}
	var list []*seam.Batch
	for p, timestep := range plan.Timesteps {
		b := &seam.Batch{X: tensor.FromSlice(make([]float32, len(x)), samples, size)}
		for i := range x {
			b.X.Data[i] = x[i] + 0.1*float32(p)*drift[i]
		}
		for s := range samples {
			b.T, b.Cond = append(b.T, float32(timestep)), append(b.Cond, conditions[s])
		}
		list = append(list, b)
	}
	return list
}

// guided makes batches of pairs of the samples: the second half has the null class.
func guided(m net, batches []*seam.Batch) []*seam.Batch {
	var list []*seam.Batch
	for _, b := range batches {
		n := b.X.Rows
		c := &seam.Batch{
			X:    tensor.FromSlice(append(slices.Clone(b.X.Data), b.X.Data...), 2*n, b.X.Cols),
			T:    append(slices.Clone(b.T), b.T...),
			Cond: slices.Clone(b.Cond),
		}
		for s := range n {
			c.Cond, c.Unconditional = append(c.Cond, m.NullCondition()), append(c.Unconditional, n+s)
		}
		for range n {
			c.Unconditional = append(c.Unconditional, -1)
		}
		list = append(list, c)
	}
	return list
}

// pick returns the batches of the named samples.
func pick(batches []*seam.Batch, samples ...int) []*seam.Batch {
	var list []*seam.Batch
	for _, b := range batches {
		c := &seam.Batch{X: tensor.FromSlice(make([]float32, len(samples)*b.X.Cols), len(samples), b.X.Cols)}
		for to, from := range samples {
			copy(c.X.Row(to), b.X.Row(from))
			c.T, c.Cond = append(c.T, b.T[from]), append(c.Cond, b.Cond[from])
		}
		list = append(list, c)
	}
	return list
}

// outputs runs all steps and returns the predictions of each.
func outputs(
	t *testing.T, m net, p reuse.Policy, batches []*seam.Batch, workers int,
) ([][]float32, reuse.Cost, int64) {
	t.Helper()
	pool := tensor.NewPool(workers)
	defer pool.Close()
	g := tensor.NewGraph(pool)
	run, err := p.NewRun(m, plan, batches[0].X.Rows)
	if err != nil {
		t.Fatal(err)
	}
	out := steps(g, m, run, batches)
	return out, run.Stats(), g.FLOPs()
}

func steps(g *tensor.Graph, m net, run reuse.Run, batches []*seam.Batch) [][]float32 {
	var all [][]float32
	for p, b := range batches {
		all = append(all, slices.Clone(step(g, m, run, b, slices.Repeat([]int{p}, b.Samples())...).Flat()))
	}
	return all
}

// step makes a pass, again where the run rejects it, and returns its predictions.
func step(g *tensor.Graph, m net, run reuse.Run, b *seam.Batch, positions ...int) *tensor.Tensor {
	for {
		g.Reset()
		run.Begin(g, b, positions)
		if out := m.Forward(g, run, b); !seam.Finish(run, out) {
			return out
		}
	}
}

// policies are the methods with parameters that make a difference at each law.
var policies = []string{
	"none",
	"tokencache",
	"tokencache:order=0", "tokencache:order=2,k=2", "tokencache:ratio=0", "tokencache:keys=kept",
	"tokencache:order=2,basis=taylor,k=2", "tokencache:order=2,basis=hermite,k=3", "tokencache:order=3,ratio=0", "tokencache:keys=cached",
	"tokencache:keys=fresh", "tokencache:cached=output,order=0", "tokencache:ratio=0,order=0",
	"tokencache:selection=grid,cell=3,ratio=0.5", "tokencache:selection=per-block,importance=random",
	"tokencache:write-back=true,at=every,ratio=0.25", "tokencache:steps=tprr,k1=2,k2=4,boundary=0.5",
	"tokencache:importance=static", "tokencache:importance=dynamic,order=2,k=2",
	"tokencache:importance=dynamic,keys=fresh,selection=per-block",
	"tokencache:learned=true,ratio=0", "tokencache:learned=true,ratio=0.5", "tokencache:learned=true,ratio=0,steps=list,i=0+1+4,half=2+3+6",
	"tokencache:site=body", "tokencache:site=body,ratio=0",
	"tokencache:site=body,keys=fresh,cached=output,order=0",
	"fora", "taylorseer", "taylorseer:order=2,n=2",
	"hicache", "hicache:order=3,n=2,warmup=1,sigma=0.7", "hicache:basis=taylor-scaled,warmup=2",
	"speca:threshold=0.3,decay=1,min=1,metric=l1", "speca:order=1,min=0,max=3,threshold=0.5,decay=1,metric=l2,reject=true",
	"speca:order=2,min=1,threshold=0.35,decay=0.8,metric=l1,reject=true,halves=separate",
	"toca", "toca:scheduler=ddim50,n=2", "duca",
	"clusca", "clusca:n=3,clusters=4", "clusca:gamma=0,n=2,topk=2,clusters=3", "clusca:gamma=0.3,clusters=5,order=1",
	"clusca:order=0,clusters=3,topk=2,warmup=1,seed=9",
	"fbcache:threshold=1", "fbcache:threshold=9,most=2,warmup=2",
	"dbcache:front=1,back=1,threshold=0.8", "dbcache:threshold=9,most=3",
	"dbcache:order=1,threshold=2,warmup=2", "dbcache:front=1,order=2,threshold=2,halves=joint,max-cached=4",
	"easycache:threshold=1,warmup=2", "easycache:threshold=0.8,warmup=2,halves=conditional",
	"easycache:threshold=1,warmup=3,halves=separate",
	"fastercache:start=3,n=3,high=7", "fastercache:start=2,n=4,high=4,weight=0.9",
	"teacache:threshold=1", "teacache:threshold=1,coefficients=0.1+0+0.5,low=0.1,high=0.7",
	"teacache:threshold=1,halves=joint",
	"seacache:threshold=0.6", "seacache:threshold=0.5,warmup=2,filter-forced=false,power=3,halves=joint",
	"magcache", "magcache:skips=2,retention=0.3,threshold=0.3,ratios=1+0.9+0.8,null-ratios=1+1.3+0.9+0.7",
	"spectrum:warmup=3", "spectrum:w=0.5,warmup=2,flex=0",
	"spectrum:m=1,lam=1e-7,warmup=4,window=3",
	"deltadit", "deltadit:n=2,span=0.75,boundary=0.4", "random", "update-norm",
	"dpcache:n=2", "dpcache:i=3+6,warmup=2,order=1", "dpcache:order=0,warmup=1",
	"dmd:n=2,warmup=4", "dmd:n=2,warmup=1,history=4,feature=hidden", "dmd:n=3,warmup=5,history=5",
	"cem", "cem:i=0+2+6,ratio=0.3,scheduler=constant",
	"smoothcache", "l2c", "l2p:feature=output", "l2p:feature=hidden",
	"tome", "tome:ratio=0.3,mlp=true",
}

func parse(t *testing.T, text string) reuse.Policy {
	t.Helper()
	p, err := reuse.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// isCalibrated reports whether a text stands for a policy that only calibration makes.
func isCalibrated(text string) bool {
	return strings.Contains(text, "importance=static") || strings.Contains(text, "importance=dynamic") ||
		strings.Contains(text, "learned=true") || text == "smoothcache" || text == "l2c" ||
		strings.HasPrefix(text, "l2p:")
}

// made returns the policy that a text stands for, with what calibration would have made for m: a
// predictor that is not trained, forecasts between the last two values, some schedule, some
// routers.
func made(t *testing.T, m net, text string) reuse.Described {
	t.Helper()
	switch {
	case !isCalibrated(text):
		return parse(t, text).(reuse.Described)
	case text == "smoothcache":
		return &reuse.SmoothCache{Compute: map[string][]int{"attn": {1, 0, 1, 0, 0, 1, 0, 1}, "mlp-1": {1, 0, 0}}}
	case text == "l2c":
		return &reuse.L2C{Threshold: 0.1, Logits: routers(plan.Steps(), 2*m.Shape().Blocks)}
	case strings.HasPrefix(text, "l2p:"):
		p := l2pOf(0, 1, 4)
		p.Feature = strings.TrimPrefix(text, "l2p:feature=")
		return p
	}
	p := reuse.NewTokenCache()
	set(t, p, text)
	if p.Learned {
		p.Forecast = reuse.NewForecast(plan.Steps(), 2)
		for i := range plan.Timesteps {
			p.Forecast.At(i)[0], p.Forecast.At(i)[1] = 1.25, -0.25
		}
		return p
	}
	c := reuse.NewPredictorConfig(p.Importance, m.Shape())
	var err error
	init := reuse.InitPredictor{Config: c}
	if m, ok := m.(*dit.Model); ok {
		init.Model, init.Block = weights(m.Config), m.BlockName(0)
	}
	p.Predictor, err = reuse.NewPredictor(c, init)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// set sets the parameters of a text, with a method's name before them or without, also those that
// have no effect.
func set(t *testing.T, p interface{ Set(key, value string) error }, text string) {
	t.Helper()
	_, pairs, named := strings.Cut(text, ":")
	if !named {
		pairs = text
	}
	for pair := range strings.SplitSeq(pairs, ",") {
		key, value, _ := strings.Cut(pair, "=")
		if err := p.Set(key, value); err != nil {
			t.Fatal(err)
		}
	}
}

// l2pOf returns an L2P with some weights that add up to 1 at each step.
func l2pOf(list ...int) *reuse.L2P {
	p := reuse.NewL2P()
	p.List = list
	for i := range plan.Steps() {
		row := make([]float32, plan.Steps())
		if i > 0 {
			row[i-1]++
		}
		if i > 1 {
			row[i-1], row[i-2] = 1.5, -0.5
		}
		p.Weights = append(p.Weights, row)
	}
	return p
}

// routers returns logits for a number of steps and branches.
func routers(steps, branches int) [][]float32 {
	var list [][]float32
	for i := range steps {
		row := make([]float32, branches)
		for j := range row {
			row[j] = float32((i*branches+j)*7%11) - 6
		}
		list = append(list, row)
	}
	return list
}

// same says where two runs differ, or "".
func same(a, b [][]float32) string {
	for p := range a {
		for i := range a[p] {
			if a[p][i] != b[p][i] {
				return fmt.Sprintf("step %d, element %d: %g and %g", p, i, a[p][i], b[p][i])
			}
		}
	}
	return ""
}

// join adds parameters to a policy's text.
func join(text, more string) string {
	if strings.Contains(text, ":") {
		return text + "," + more
	}
	return text + ":" + more
}
