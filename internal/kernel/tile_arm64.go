//go:build !purego

package kernel

var productNEON = productOps{
	layout: layout{
		lanes: neonLanes, vectors: neonVectors, rows: 7,
		group: 1, words: 1, column: 4, run: tileF32NEON,
	},
	transpose: transposeNEON,
	square:    neonLanes,
	peak:      peakNEON,
}

const (
	neonLanes   = 4
	neonVectors = 3
)

// run computes the tile. The calls are direct so that tiles need not be allocated.
func (t *tile) run(kind tileKind) {
	switch {
	case kind.portable():
		t.runPortable(kind)
	case t.tail == neonLanes:
		t.runNEON(kind)
	default:
		t.runPadded(kind)
	}
}

// portable reports whether the routine is written in portable Go.
func (k tileKind) portable() bool {
	return k == tileGeneric || k == tileBF16Generic || k == tileINT8Generic
}

// runNEON computes a tile whose last vector is whole: there are no masks to load or store a part.
func (t *tile) runNEON(kind tileKind) {
	switch kind {
	case tileF32NEON:
		tileNEON(t)
	case tileBF16MatrixOfNEON:
		tileBF16MatrixNEON(t)
	case tileBF16WideNEON:
		tileBF16NEON(t)
	case tileINT8MatrixOfNEON:
		tileINT8MatrixNEON(t)
	case tileINT8DotOfNEON:
		tileINT8DotNEON(t)
	case tileINT8WideNEON:
		tileINT8NEON(t)
	}
}

// runPadded computes a tile whose last vector is not whole on copies of its operands that are.
func (t *tile) runPadded(kind tileKind) {
	const width = neonVectors * neonLanes
	var (
		bias        [width]float32
		c, residual [maxRows * width]float32
		gate        [maxRows][width]float32
	)
	padded, cols := *t, (t.vectors-1)*neonLanes+t.tail
	padded.tail = neonLanes
	padded.c, padded.ldc = c[:], width
	if t.bias != nil {
		copy(bias[:], t.bias[:cols])
		padded.bias = bias[:]
	}
	if t.residual != nil {
		padded.residual, padded.ldresidual = residual[:], width
	}
	for r := range t.rows {
		if t.add {
			copy(c[r*width:], t.c[r*t.ldc:][:cols])
		}
		if t.residual != nil {
			copy(residual[r*width:], t.residual[r*t.ldresidual:][:cols])
			copy(gate[r][:], t.gate[r][:cols])
			padded.gate[r] = gate[r][:]
		}
	}
	padded.runNEON(kind)
	for r := range t.rows {
		copy(t.c[r*t.ldc:][:cols], c[r*width:])
	}
}

// Pause tells the processor that the caller is waiting in a loop for another goroutine.
func Pause() { pause() }
