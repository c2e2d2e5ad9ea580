package tensor

import (
	"context"
	"fmt"
)

// Graph is the context that operations run in: the arena their results live in, the workers, the count of
// floating-point operations and cancellation. A Graph serves one run at a time.
//
// After cancellation operations do nothing and results are meaningless: ask Err before using them.
type Graph struct {
	pool    *Pool
	ctx     context.Context
	done    <-chan struct{}
	floats  arena[float32]
	ints    arena[int32]
	starts  arena[int]
	headers arena[Tensor]
	rows    arena[Rows]
	flops   int64
	tape    *tape
	ops     operations
}

// operations holds the description of the operation that runs, one of each kind, so that running one allocates nothing.
type operations struct {
	linear    linearOp
	attention attentionOp
	pack      attentionPack
	byRow     rowOp
	conv      convOp
	rectConv  rectConvOp
	norm      groupNormOp

	weightGrad    weightGradOp
	attentionGrad attentionGradOp
	normGrad      normGradOp
}

// NewGraph returns a Graph whose operations run on pool.
func NewGraph(pool *Pool) *Graph {
	return &Graph{
		pool: pool, ctx: context.Background(),
		floats:  arena[float32]{align: 16, least: 1 << 16},
		ints:    arena[int32]{align: 16, least: 1 << 12},
		starts:  arena[int]{align: 8, least: 1 << 10},
		headers: arena[Tensor]{align: 1, least: 256},
		rows:    arena[Rows]{align: 1, least: 64},
	}
}

// SetContext makes operations stop when ctx is done.
func (g *Graph) SetContext(ctx context.Context) { g.ctx, g.done = ctx, ctx.Done() }

// Err is not nil once the context is done.
func (g *Graph) Err() error { return g.ctx.Err() }

// Workers returns the number of workers.
func (g *Graph) Workers() int { return g.pool.Workers() }

// FLOPs returns the floating-point operations of all matrix products, attentions and convolutions since the Graph was made
// or ResetFLOPs was called; a multiplication and an addition count as two, anything else as nothing.
func (g *Graph) FLOPs() int64 { return g.flops }

// ResetFLOPs sets the count to 0.
func (g *Graph) ResetFLOPs() { g.flops = 0 }

// Bytes returns the memory that the Graph holds for activations.
func (g *Graph) Bytes() int64 { return g.floats.bytes() + g.ints.bytes() }

// Mark is a point in a Graph's memory to return to.
type Mark struct{ floats, ints, starts, headers, rows arenaMark }

// Mark notes what is in use now.
func (g *Graph) Mark() Mark {
	return Mark{g.floats.mark(), g.ints.mark(), g.starts.mark(), g.headers.mark(), g.rows.mark()}
}

// Release frees everything made since m: those tensors must not be used again. While a tape records it frees nothing.
func (g *Graph) Release(m Mark) {
	if g.tape == nil {
		g.release(m)
	}
}

func (g *Graph) release(m Mark) {
	g.floats.release(m.floats)
	g.ints.release(m.ints)
	g.starts.release(m.starts)
	g.headers.release(m.headers)
	g.rows.release(m.rows)
}

// Reset frees everything and drops what a tape has recorded.
func (g *Graph) Reset() {
	g.tape = nil
	g.release(Mark{})
}

// New returns a matrix of unspecified content.
func (g *Graph) New(rows, cols int) *Tensor {
	return g.header(g.floats.get(rows*cols), rows, cols, cols)
}

// Columns returns columns from up to to of t, sharing its memory.
func (g *Graph) Columns(t *Tensor, from, to int) *Tensor {
	if from < 0 || to < from || to > t.Cols {
		panic(fmt.Sprintf("tensor: columns %d to %d of %v", from, to, t))
	}
	data := t.Data[from:]
	if t.Rows > 0 {
		data = data[:(t.Rows-1)*t.Stride+to-from]
	}
	return g.view(g.header(data, t.Rows, to-from, t.Stride), t, 0, from)
}

// RowRange returns rows from up to to of t, sharing its memory.
func (g *Graph) RowRange(t *Tensor, from, to int) *Tensor {
	if from < 0 || to < from || to > t.Rows {
		panic(fmt.Sprintf("tensor: rows %d to %d of %v", from, to, t))
	}
	return g.view(g.header(t.from(from), to-from, t.Cols, t.Stride), t, from, 0)
}

// view notes that v is a part of t, so that v's gradient is a part of t's.
func (g *Graph) view(v, t *Tensor, row, col int) *Tensor {
	if g.recording(t) {
		v.wanted, v.base, v.row, v.col = true, t, row, col
	}
	return v
}

// Wrap returns a rows x cols matrix over data, which it does not copy.
func (g *Graph) Wrap(data []float32, rows, cols int) *Tensor {
	return g.header(data[:rows*cols], rows, cols, cols)
}

// Ints returns n integers of unspecified content.
func (g *Graph) Ints(n int) []int32 { return g.ints.get(n) }

// Rows returns the division of rows in which sample s has counts[s] rows.
func (g *Graph) Rows(counts []int32) *Rows {
	r := &g.rows.get(1)[0]
	r.Start = g.starts.get(len(counts) + 1)
	r.Start[0] = 0
	for s, n := range counts {
		r.Start[s+1] = r.Start[s] + int(n)
	}
	r.Sample = g.ints.get(r.Len())
	r.fill()
	return r
}

func (g *Graph) header(data []float32, rows, cols, stride int) *Tensor {
	t := &g.headers.get(1)[0]
	*t = Tensor{Rows: rows, Cols: cols, Stride: stride, Data: data}
	return t
}

// run computes the parts of j unless the Graph was cancelled.
func (g *Graph) run(j job, parts int) {
	select {
	case <-g.done:
	default:
		if parts > 0 {
			g.pool.run(j, parts)
		}
	}
}
