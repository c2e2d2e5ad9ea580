package bench

import (
	"context"
	"time"

	"github.com/tokencache/tokencache/internal/busy"
	"github.com/tokencache/tokencache/internal/kernel"
	"github.com/tokencache/tokencache/internal/median"
	"github.com/tokencache/tokencache/tensor"
)

// KernelRow is the speed of one operation of one size. For attention m is the queries, n the keys
// and k the head size.
type KernelRow struct {
	Op            string  `json:"op"` // linear or attention
	DType         string  `json:"dtype"`
	Level         string  `json:"level"`
	Threads       int     `json:"threads"`
	M             int     `json:"m"`
	K             int     `json:"k"`
	N             int     `json:"n"`
	GFLOPs        float64 `json:"gflops"`          // 10^9 operations per second, of integers too
	PercentOfPeak float64 `json:"percent_of_peak"` // of the peak of its number format
}

// KernelReport is what Kernels measures.
type KernelReport struct {
	PeakGFLOPs float64            `json:"peak_gflops"` // of float32, at the best level, with the most threads
	Peaks      map[string]float64 `json:"peaks"`       // the same of each number format
	Rows       []KernelRow        `json:"rows"`
	// Disturbed says why the times may be wrong.
	Disturbed []string `json:"disturbed,omitempty"`
}

// KernelOptions says what to measure.
type KernelOptions struct {
	Levels  []kernel.Level
	DTypes  []kernel.DType // of linear maps; none means all
	Threads []int
	M       []int // rows of linear maps
	Tokens  []int // of attention
	Time    time.Duration
	OnRow   func(KernelRow) // if not nil, is told of each row as it is measured
}

// Shapes are the linear maps of DiT-S and DiT-XL, inputs and outputs, and two whose outputs do not
// fill the last panel.
var Shapes = [][2]int{
	{384, 1152}, {384, 384}, {384, 1536}, {1536, 384},
	{1152, 3456}, {1152, 1152}, {1152, 4608}, {4608, 1152},
	{1152, 1000}, {1152, 50},
}

// attentions are the heads of DiT-S and DiT-XL: their number and size.
var attentions = [][2]int{{6, 64}, {16, 72}}

// attentionBatch is the samples of attention.
const attentionBatch = 2

// Kernels measures linear maps and attention as models run them. It restores the level in use.
func Kernels(ctx context.Context, o KernelOptions) (*KernelReport, error) {
	r := &KernelReport{Peaks: map[string]float64{}}
	if len(o.DTypes) == 0 {
		o.DTypes = kernel.DTypes()
	}
	load, fastest := busy.Load(), 0.0
	active := kernel.Active()
	defer kernel.Use(active)
	for _, level := range o.Levels {
		for _, im := range kernel.Impls() {
			if im.Level == level {
				kernel.Use(im)
			}
		}
		for _, threads := range o.Threads {
			if err := r.level(ctx, o, threads); err != nil {
				return nil, err
			}
		}
	}
	for _, row := range r.Rows {
		fastest = max(fastest, row.PercentOfPeak)
	}
	r.Disturbed = disturbed(load, fastest)
	return r, nil
}

func (r *KernelReport) level(ctx context.Context, o KernelOptions, threads int) error {
	pool := tensor.NewPool(threads)
	defer pool.Close()
	g := tensor.NewGraph(pool)
	add := func(op string, d kernel.DType, m, k, n int, run func()) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		row := KernelRow{
			Op: op, DType: d.String(), Level: kernel.ActiveLevel().String(), Threads: pool.Workers(),
			M: m, K: k, N: n,
		}
		if d != kernel.F32 {
			row.Level = kernel.Active().Level.String()
		}
		// A run of the contestant is long enough to be timed.
		g.ResetFLOPs()
		repeats := 0
		for start := time.Now(); repeats < 2 || time.Since(start) < o.Time/16; repeats++ {
			g.Reset()
			run()
		}
		flops := float64(g.FLOPs())
		c := &contestant{run: func() {
			for range repeats {
				g.Reset()
				run()
			}
		}}
		peaks := measure(d, pool.Workers(), o.Time, c)
		row.GFLOPs = flops / median.Of(c.times) / 1e9
		row.PercentOfPeak = 100 * row.GFLOPs / median.Of(peaks)
		r.Peaks[row.DType] = max(r.Peaks[row.DType], median.Of(peaks))
		r.PeakGFLOPs = r.Peaks[kernel.F32.String()]
		r.Rows = append(r.Rows, row)
		if o.OnRow != nil {
			o.OnRow(row)
		}
		return nil
	}
	for _, shape := range Shapes {
		k, n := shape[0], shape[1]
		values := pattern(n * k)
		for _, d := range o.DTypes {
			w := tensor.NewWeightAs(d, values, n, k, values[:n])
			for _, m := range o.M {
				x := tensor.FromSlice(pattern(m*k), m, k)
				if err := add("linear", d, m, k, n, func() { g.Linear(x, w) }); err != nil {
					return err
				}
			}
		}
	}
	for _, a := range attentions {
		heads, dim := a[0], a[1]
		width := heads * dim
		for _, tokens := range o.Tokens {
			rows := tensor.Uniform(attentionBatch, tokens)
			qkv := tensor.FromSlice(pattern(rows.Len()*3*width), rows.Len(), 3*width)
			for _, d := range o.DTypes {
				if d == kernel.INT8 || kernel.AttentionIn(d) != d {
					continue
				}
				err := add("attention", d, tokens, dim, tokens, func() {
					g.Attention(tensor.AttentionInput{
						Heads: heads, DType: d, QRows: rows, KRows: rows,
						Q: g.Columns(qkv, 0, width), K: g.Columns(qkv, width, 2*width), V: g.Columns(qkv, 2*width, 3*width),
					})
				})
				if err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// pattern returns n numbers in [-0.5,0.5) that look random.
func pattern(n int) []float32 {
	x := make([]float32, n)
	state := uint32(1)
	for i := range x {
		state = state*1664525 + 1013904223
		x[i] = float32(state>>8)/(1<<24) - 0.5
	}
	return x
}
