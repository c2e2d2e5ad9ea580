package tensor

import (
	"context"
	"fmt"
	"slices"
)

// Graph is the context that operations run in: the arena their results live in, the workers, the
// count of floating-point operations and cancellation. A Graph serves one run at a time.
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
	tape    *tape
	spare   spareGrads
	ops     operations

	flops  int64
	ledger []int64 // of each owner: its operations
	shares []share // by which operations are charged to owners
	weight int64   // of all shares

	scratch []scratch
}

// share is the part of an operation that an owner is charged with.
type share struct {
	owner  int
	weight int64
}

// scratch is what a caller keeps with a Graph: see Scratch.
type scratch struct{ key, value any }

// operations holds the description of the operation that runs, one of each kind, so that running
// one allocates nothing.
type operations struct {
	linear    linearOp
	attention attentionOp
	pack      attentionPack
	byRow     rowOp
	conv      conv3x3Op
	conv2D    conv2DOp
	norm      groupNormOp

	weightGrad    weightGradOp
	narrowGrad    narrowGradOp
	attentionGrad attentionGradOp
	normGrad      normGradOp
}

// NewGraph returns a Graph whose operations run on pool.
func NewGraph(pool *Pool) *Graph {
	return &Graph{
		pool: pool, ctx: context.Background(),
		floats:  arena[float32]{align: 16, minSlab: 1 << 16},
		ints:    arena[int32]{align: 16, minSlab: 1 << 12},
		starts:  arena[int]{align: 8, minSlab: 1 << 10},
		headers: arena[Tensor]{align: 1, minSlab: 256},
		rows:    arena[Rows]{align: 1, minSlab: 64},
	}
}

// SetContext makes operations stop when ctx is done.
func (g *Graph) SetContext(ctx context.Context) { g.ctx, g.done = ctx, ctx.Done() }

// Err is not nil once the context is done.
func (g *Graph) Err() error { return g.ctx.Err() }

// Workers returns the number of workers.
func (g *Graph) Workers() int { return g.pool.Workers() }

// FLOPs returns the floating-point operations of all matrix products, attentions and convolutions
// since the Graph was made or ResetFLOPs was called; a multiplication and an addition count as two,
// anything else as nothing.
func (g *Graph) FLOPs() int64 { return g.flops }

// ResetFLOPs sets the count to 0.
func (g *Graph) ResetFLOPs() { g.flops = 0 }

// OpenLedger keeps, from now on, a count of operations for each of a number of owners, who are
// charged as Charge says. No owners end it.
func (g *Graph) OpenLedger(owners int) {
	g.ledger = slices.Grow(g.ledger[:0], owners)[:owners]
	clear(g.ledger)
	g.ClearCharge(0)
}

// OwnerFLOPs returns the operations that were charged to an owner.
func (g *Graph) OwnerFLOPs(owner int) int64 { return g.ledger[owner] }

// ClearCharge charges the operations that follow to one owner, and Charge divides them among those
// that it names, until the next ClearCharge, in proportion to their weights.
func (g *Graph) ClearCharge(owner int) {
	g.shares, g.weight = append(g.shares[:0], share{owner, 1}), 0
}

// Charge adds an owner to those that share the operations that follow: see ClearCharge.
func (g *Graph) Charge(owner, weight int) {
	if g.weight == 0 {
		g.shares = g.shares[:0]
	}
	g.shares = append(g.shares, share{owner, int64(weight)})
	g.weight += int64(weight)
}

// count notes the operations of an operation.
func (g *Graph) count(flops int64) {
	g.flops += flops
	if len(g.ledger) == 0 {
		return
	}
	for _, s := range g.shares {
		g.ledger[s.owner] += flops / max(1, g.weight) * s.weight
	}
}

// Scratch returns what make made for key the first time, kept with the Graph from then on: memory
// that whoever runs on the Graph needs again at every pass. If it has a method Reset, that is
// called whenever the Graph is Reset.
func (g *Graph) Scratch(key any, make func() any) any {
	for _, s := range g.scratch {
		if s.key == key {
			return s.value
		}
	}
	value := make()
	g.scratch = append(g.scratch, scratch{key, value})
	return value
}

// Bytes returns the memory that the Graph holds for activations.
func (g *Graph) Bytes() int64 { return g.floats.bytes() + g.ints.bytes() }

// Mark is a point in a Graph's memory to return to.
type Mark struct{ floats, ints, starts, headers, rows arenaMark }

// Mark notes what is in use now.
func (g *Graph) Mark() Mark {
	return Mark{g.floats.mark(), g.ints.mark(), g.starts.mark(), g.headers.mark(), g.rows.mark()}
}

// Release frees everything made since m: those tensors must not be used again. While a tape records
// it frees nothing.
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
	g.spare.clear()
	g.release(Mark{})
	for _, s := range g.scratch {
		if r, ok := s.value.(interface{ Reset() }); ok {
			r.Reset()
		}
	}
}

// Trim resets the Graph and gives memory back that the passes since the last Trim did not need.
func (g *Graph) Trim() {
	g.Reset()
	g.floats.trim()
	g.ints.trim()
	g.starts.trim()
	g.headers.trim()
	g.headers.wipe() // headers of old matrices would keep their memory alive
	g.rows.trim()
	g.rows.wipe()
	g.pool.trim()
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
		v.requiresGrad, v.base, v.row, v.col = true, t, row, col
	}
	return v
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
