package kernel

// productOps is what one implementation brings to matrix products.
type productOps struct {
	lanes   int // columns in a vector
	vectors int // maximum of a panel
	rows    int // maximum of a tile

	// transpose transposes a matrix of whole squares of transposeBlock; nil leaves it to Transpose.
	transpose func(dst *float32, ldd int, src *float32, lds, rows, cols int)
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
}

// setPanel makes the tile one of panel i of p.
func (t *tile) setPanel(p *Packed, i int) {
	_, cols := p.Panel(i)
	b, width := p.panel(i)
	lanes := p.impl.product.lanes
	t.b, t.vectors, t.tail = b, width/lanes, cols-width+lanes
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
