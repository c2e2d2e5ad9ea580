package kernel

// productOps is what one implementation brings to matrix products.
type productOps struct {
	layout

	// transpose transposes a matrix of whole squares of side square; nil leaves it to Transpose.
	transpose func(dst *float32, ldd int, src *float32, lds, rows, cols int)
	square    int
	// peak executes the given number of rounds of independent multiply-adds and returns the
	// operations in a round.
	peak func(rounds int) int
}

// The largest tile of any implementation has at most this many rows and columns.
const (
	maxRows    = 8
	maxColumns = 48
)

// tile is one step of a product: some rows by the columns of one panel. The assembly reads it by
// the names of its fields.
type tile struct {
	rows, vectors int
	tail          int // columns of the last vector, the others being padding

	a    []float32 // row r of tap t begins at r*lda+taps[t]
	lda  int
	k    int // of one tap
	taps []int

	b []float32 // the panel: vectors*lanes floats for each k of each tap
	// ahead is memory that will be wanted soon: a cache line of it for each k of each tap is
	// brought nearer meanwhile. There may be less of it.
	ahead []float32
	bias  []float32 // nil for zeros

	c    []float32
	ldc  int
	add  bool // to what c holds
	gate [maxRows][]float32

	residual   []float32 // nil for neither gate nor residual
	ldresidual int

	// For int8: the scale and zero point of each row, and of each column the scale and the sum of
	// its weights, up to whole vectors.
	rowScale [maxRows]float32
	rowZero  [maxRows]int32
	scale    []float32
	sums     []int32
}

// For bfloat16 and int8, a and b are words of the layout in question, lda and taps count words of
// a, and k the steps of one tap.

// setPanel makes the tile one of panel i of p.
func (t *tile) setPanel(p *Packed, i int) {
	first, cols := p.Panel(i)
	b, width := p.panel(i)
	lanes := p.layout.lanes
	t.b, t.vectors, t.tail = b, width/lanes, cols-width+lanes
	if p.dtype == INT8 {
		t.scale, t.sums = p.scale[first:][:width], p.sums[first:][:width]
	}
}

// share divides n rows into blocks as even as can be, the larger ones first, and returns the first
// row of block i and how many it has.
func share(n, blocks, i int) (first, count int) {
	base, extra := n/blocks, n%blocks
	first, count = i*base+min(i, extra), base
	if i < extra {
		count++
	}
	return first, count
}
