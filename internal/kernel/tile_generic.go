package kernel

// genericProduct is the portable implementation. Its tile is 2 rows by 3 columns, as many sums as
// compilers keep in registers.
var genericProduct = productOps{
	layout: layout{lanes: genericLanes, vectors: 1, rows: genericRows, group: 1, words: 1, column: 4},
	peak:   genericPeak,
}

const (
	genericLanes = 3
	genericRows  = 2
)

// runPortable computes the tile in portable Go.
func (t *tile) runPortable(kind tileKind) {
	switch kind {
	case tileBF16Generic:
		t.runBF16Generic()
	case tileINT8Generic:
		t.runINT8Generic()
	default:
		t.runGeneric()
	}
}

// runGeneric computes a tile in portable Go: the reference of the assembly, but for fused rounding.
// Products are rounded before they are added, on every machine, so that a row is the same whether
// it has a neighbour or not.
func (t *tile) runGeneric() {
	var sums [genericRows][genericLanes]float32
	for r := range t.rows {
		copy(sums[r][:t.tail], t.bias)
		if t.add {
			for j, c := range t.c[r*t.ldc:][:t.tail] {
				sums[r][j] += c
			}
		}
	}
	b := t.b
	for _, tap := range t.taps {
		panel := b[:t.k*genericLanes]
		b = b[len(panel):]
		if t.rows == 2 {
			multiplyTwo(&sums, t.a[tap:][:t.k], t.a[t.lda+tap:][:t.k], panel)
		} else {
			multiplyOne(&sums[0], t.a[tap:][:t.k], panel)
		}
	}
	for r := range t.rows {
		to := t.c[r*t.ldc:][:t.tail]
		if t.residual == nil {
			copy(to, sums[r][:])
			continue
		}
		residual, gate := t.residual[r*t.ldresidual:][:t.tail], t.gate[r][:t.tail]
		for j, sum := range sums[r][:t.tail] {
			to[j] = float32(float64(residual[j]) + float64(gate[j])*float64(sum)) // the product is exact
		}
	}
}

// multiplyTwo adds the products of rows a0 and a1 with a panel to their sums.
func multiplyTwo(sums *[genericRows][genericLanes]float32, a0, a1, panel []float32) {
	s00, s01, s02 := sums[0][0], sums[0][1], sums[0][2]
	s10, s11, s12 := sums[1][0], sums[1][1], sums[1][2]
	a1 = a1[:len(a0)]
	for k := 0; k < len(a0) && len(panel) >= genericLanes; k++ {
		x, y := a0[k], a1[k]
		b := panel[0]
		s00 += float32(x * b)
		s10 += float32(y * b)
		b = panel[1]
		s01 += float32(x * b)
		s11 += float32(y * b)
		b = panel[2]
		s02 += float32(x * b)
		s12 += float32(y * b)
		panel = panel[genericLanes:]
	}
	sums[0] = [genericLanes]float32{s00, s01, s02}
	sums[1] = [genericLanes]float32{s10, s11, s12}
}

// multiplyOne adds the products of one row with a panel to its sums.
func multiplyOne(sums *[genericLanes]float32, a, panel []float32) {
	s0, s1, s2 := sums[0], sums[1], sums[2]
	for k := 0; k < len(a) && len(panel) >= genericLanes; k++ {
		x := a[k]
		s0 += float32(x * panel[0])
		s1 += float32(x * panel[1])
		s2 += float32(x * panel[2])
		panel = panel[genericLanes:]
	}
	*sums = [genericLanes]float32{s0, s1, s2}
}
