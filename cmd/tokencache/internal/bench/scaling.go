package bench

import (
	"context"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/tokencache/tokencache/internal/median"
	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
)

// MaxScaling is how many threads a pass may be divided among.
const MaxScaling = 256

// ScalingReport says how a forward pass is divided among threads that this machine need not have. The
// parts into which each operation is divided for a number of threads are computed one after another
// and timed; then as many threads take them in that order. What threads share, such as memory
// bandwidth and turbo, is left out; Bandwidth says what would be needed of it.
type ScalingReport struct {
	Arch        string       `json:"arch"`
	Batch       int          `json:"batch"`
	DType       string       `json:"dtype"`
	WeightBytes int64        `json:"weight_bytes"` // which a pass reads once
	Barrier     float64      `json:"barrier_us"`   // what an operation of no work takes on this machine's threads
	Rows        []ScalingRow `json:"rows"`
}

// ScalingRow is a number of threads.
type ScalingRow struct {
	Threads      int     `json:"threads"`
	Operations   int     `json:"operations"`
	Barriers     int     `json:"barriers"` // operations of several parts, at the end of which all threads wait
	Milliseconds float64 `json:"ms"`       // of a pass
	Balance      float64 `json:"balance"`  // share of the threads' time in which they compute a part
	// Efficiency is Balance if each barrier takes the ScalingReport's Barrier besides.
	Efficiency float64 `json:"efficiency"`
	Bandwidth  float64 `json:"weights_gb_per_s"` // at which weights are then read
}

// scalingPasses is how many passes are timed: parts have the least of their times, as other work on the
// machine only adds to them.
const scalingPasses = 5

// Scaling reports on passes of a model with synthetic weights for each number of threads.
func Scaling(ctx context.Context, o ModelOptions, threads []int) (*ScalingReport, error) {
	m, err := o.Network.load(o.DType)
	if err != nil {
		return nil, err
	}
	r := &ScalingReport{
		Arch:        o.Network.Name(),
		Batch:       o.Batch,
		DType:       o.DType.String(),
		WeightBytes: m.bytes,
		Barrier:     barrier(),
	}
	batch := m.samples(o.Batch)
	for _, n := range threads {
		ops := observed(ctx, m, batch, n)
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		r.Rows = append(r.Rows, r.row(n, ops))
	}
	return r, nil
}

// observed returns the seconds of all parts of the operations of a pass on a pool.
func observed(ctx context.Context, m *model, batch *seam.Batch, threads int) [][]float64 {
	pool := tensor.NewPool(threads)
	defer pool.Close()
	g := tensor.NewGraph(pool)
	g.SetContext(ctx)
	seam.Forward(g, m, seam.Always, batch) // fills the arena
	var times [][][]float64                // of operations, their parts, the passes
	at := 0
	pool.Observe(func(parts []time.Duration) {
		if at == len(times) {
			times = append(times, make([][]float64, len(parts)))
		}
		for i, took := range parts {
			times[at][i] = append(times[at][i], took.Seconds())
		}
		at++
	})
	for range scalingPasses {
		at = 0
		g.Reset()
		seam.Forward(g, m, seam.Always, batch)
	}
	ops := make([][]float64, len(times))
	for i, parts := range times {
		for _, passes := range parts {
			ops[i] = append(ops[i], slices.Min(passes))
		}
	}
	return ops
}

// row sums up operations on n threads.
func (r *ScalingReport) row(n int, ops [][]float64) ScalingRow {
	row := ScalingRow{Threads: n, Operations: len(ops)}
	work, seconds := 0.0, 0.0
	for _, parts := range ops {
		if len(parts) > 1 {
			row.Barriers++
		}
		seconds += makespan(n, parts)
		for _, part := range parts {
			work += part
		}
	}
	row.Balance = work / seconds / float64(n)
	seconds += float64(row.Barriers) * r.Barrier / 1e6
	row.Efficiency = work / seconds / float64(n)
	row.Milliseconds = 1e3 * seconds
	row.Bandwidth = float64(r.WeightBytes) / seconds / 1e9
	return row
}

// makespan is when the last of n threads is done that take parts in their order.
func makespan(n int, parts []float64) float64 {
	free := make([]float64, n)
	for _, part := range parts {
		first := 0
		for i, at := range free {
			if at < free[first] {
				first = i
			}
		}
		free[first] += part
	}
	return slices.Max(free)
}

// barrier returns the microseconds that an operation of no work takes on all processors.
func barrier() float64 {
	pool := tensor.NewPool(0)
	defer pool.Close()
	g := tensor.NewGraph(pool)
	var times []float64
	for range 200 {
		start := time.Now()
		g.EachRow(pool.Workers()*1024, 64, func(int) {}) // so large that it is divided
		times = append(times, time.Since(start).Seconds())
	}
	return 1e6 * median.Of(times)
}

// WriteText writes the report as a table for people.
func (r *ScalingReport) WriteText(out io.Writer) error {
	fmt.Fprintf(out, "%s, batch %d, %s: %.2f GB of weights; an operation of no work takes %.1f µs here\n",
		r.Arch, r.Batch, r.DType, float64(r.WeightBytes)/1e9, r.Barrier)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "threads\tbarriers\tms\tbalance\twith barriers\tweights, GB/s\t")
	for _, row := range r.Rows {
		fmt.Fprintf(w, "%d\t%d\t%.2f\t%.0f%%\t%.0f%%\t%.1f\t\n",
			row.Threads, row.Barriers, row.Milliseconds, 100*row.Balance, 100*row.Efficiency, row.Bandwidth)
	}
	return w.Flush()
}
