package main

import "fmt"

var (
	neonBF16Wide   = neonTiles{rows: 7, words: 2, column: 4, mask: true, step: stepNEONBF16Wide}
	neonBF16Matrix = neonTiles{rows: 8, words: 2, column: 8, paired: true, step: stepNEONMatrix(bfmmla)}
	neonINT8Wide   = neonTiles{rows: 7, words: 1, column: 2, integer: true, step: stepNEONINT8Wide}
	neonINT8Dot    = neonTiles{rows: 7, words: 1, column: 4, integer: true, signed: true, step: stepNEONINT8Dot}
	neonINT8Matrix = neonTiles{
		rows:    8,
		words:   2,
		column:  8,
		paired:  true,
		integer: true,
		signed:  true,
		step:    stepNEONMatrix(smmla),
	}
)

// genNEONNarrow writes products of bfloat16 and int8, and the conversion of activations to them.
func genNEONNarrow(a *asm) {
	const (
		bf16 = "\n\tfor k := range %d * t.k { // a and b being what the bfloat16 numbers stand for\n" +
			"\t\tsum += a[k] * b[k]\n\t}"
		int8 = "\n\tfor k := range %d * t.k { // b being signed, a %s\n\t\tsum += int32(a[k]) * int32(b[k])\n\t}\n\n" +
			"A sum becomes float32(sum-%s*t.sums[j])*t.rowScale[r]*t.scale[j] + t.bias[j], rounded\n" +
			"after each operation, before gate and residual. C is not added."
	)
	unsigned, signed := []any{2, "unsigned", "t.rowZero[r]"}, func(group int) []any {
		return []any{group, "less by 128 than unsigned", "(t.rowZero[r]-128)"}
	}
	for _, f := range []struct {
		name  string
		tiles *neonTiles
		doc   string
	}{
		{"tileBF16NEON", &neonBF16Wide, fmt.Sprintf(bf16, 2)},
		{"tileBF16MatrixNEON", &neonBF16Matrix, fmt.Sprintf(bf16, 4)},
		{"tileINT8NEON", &neonINT8Wide, fmt.Sprintf(int8, unsigned...)},
		{"tileINT8DotNEON", &neonINT8Dot, fmt.Sprintf(int8, signed(4)...)},
		{"tileINT8MatrixNEON", &neonINT8Matrix, fmt.Sprintf(int8, signed(8)...)},
	} {
		a.Func(f.name, "t *tile", f.name+fmt.Sprintf(
			" is tileNEON of up to %d rows with the following inner loop, t.k counting its steps:\n", f.tiles.rows)+f.doc)
		f.tiles.body(a)
	}
	genNEONPeak(a, "peakINT8NEON", "multiply-adds of 4 16-bit integers", 4,
		func(i int) { a.VE(smlalElement, 4+i, 0, 1, 0) })
	genNEONPeak(a, "peakINT8DotNEON", "multiply-adds of 16 bytes", 16,
		func(i int) { a.VE(sdotElement, i, 30, 31, 0) })
	genNEONPeak(a, "peakINT8MatrixNEON", "multiply-adds of 32 bytes", 32, func(i int) { a.V(smmla, i, 30, 31) })
	genNEONPeak(a, "peakBF16MatrixNEON", "multiply-adds of 16 bfloat16", 16, func(i int) { a.V(bfmmla, i, 30, 31) })
	neonExtremes(a)
	neonRound(a)
	neonQuantise(a)
}

// stepNEONBF16Wide multiplies pairs as floats: the lower halves of the panel's words, then the upper
// ones. Their products are exact.
func stepNEONBF16Wide(t *neonTile, k, a int) {
	const pair, number, mask = neonPanel, neonPanel + 1, 31
	for v := range t.vectors {
		t.loadVector(k, v, 0, pair)
		t.VShift(shl, number, pair, 16)
		for r := range t.rows {
			t.VE(fmlaElement, t.sum(r, v), number, r, 2*a)
		}
		t.V(and, pair, pair, mask)
		for r := range t.rows {
			t.VE(fmlaElement, t.sum(r, v), pair, r, 2*a+1)
		}
	}
}

// stepNEONINT8Wide multiplies pairs of 16 bits: the first inputs of four columns, then the second.
func stepNEONINT8Wide(t *neonTile, k, a int) {
	const pairs, first, second = neonPanel, neonPanel + 1, neonPanel + 2
	for v := range t.vectors {
		t.loadVector(k, v, 0, pairs)
		for i, unzip := range []vop{uzp1, uzp2} {
			t.V(unzip, first+i, pairs, pairs)
			t.V(sxtl, first+i, first+i)
			for r := range t.rows {
				t.VE(smlalElement, t.sum(r, v), first+i, r, 2*a+i)
			}
		}
	}
}

func stepNEONINT8Dot(t *neonTile, k, a int) {
	for v := range t.vectors {
		t.loadVector(k, v, 0, neonPanel+v)
	}
	for r := range t.rows {
		for v := range t.vectors {
			t.VE(sdotElement, t.sum(r, v), neonPanel+v, r, a)
		}
	}
}

// stepNEONMatrix multiplies 8 bytes of two rows with 8 bytes of two columns. A register of sums then
// holds two columns of the first row and the same two of the second: see pair.
func stepNEONMatrix(op vop) func(t *neonTile, k, a int) {
	return func(t *neonTile, k, _ int) {
		for v := range t.vectors {
			columns := neonPanel + 2*(v%2)
			for half := range 2 {
				t.loadVector(k, v, half, columns+half)
			}
			for r := 0; r < t.sumRows(); r += 2 {
				for half := range 2 {
					t.V(op, t.sum(r+half, v), r/2, columns+half)
				}
			}
		}
	}
}

// loadPairs loads 8 bytes of each row into the register of its pair. A row without another has zeros
// in its place.
func (t *neonTile) loadPairs() {
	for r := range t.rows {
		if r%2 == 0 {
			t.P("FMOVD.P 8(%s), F%d", t.row(r), r/2)
		} else {
			t.P("VLD1.P 8(%s), V%d.D[1]", t.row(r), r/2)
		}
	}
}

// pair goes from rows of sums to what stepNEONMatrix adds to, and back.
func (t *neonTile) pair() {
	if !t.paired {
		return
	}
	for r := 0; r < t.rows; r += 2 {
		for v := range t.vectors {
			first, second := t.sum(r, v), t.sum(r+1, v)
			t.V(zip1, neonPanel, first, second)
			t.V(zip2, second, first, second)
			t.VMove(first, neonPanel)
		}
	}
}

// dequantise makes floats of the sums.
func (t *neonTile) dequantise() {
	t.P("MOVD tile_scale(R0), R19")
	t.P("MOVD tile_sums(R0), R20")
	scale, zero, column := neonPanel, neonPanel+1, neonPanel+2
	for r := range t.rows {
		t.P("FMOVS tile_rowScale+%d(R0), F%d", 4*r, scale)
		t.P("MOVW tile_rowZero+%d(R0), R21", 4*r)
		if t.signed {
			t.P("SUB $128, R21")
		}
		t.P("VMOV R21, V%d.S[0]", zero)
		for v := range t.vectors {
			sum := t.sum(r, v)
			t.load(v, "R20", column)
			t.VE(mlsElement, sum, column, zero, 0)
			t.V(scvtf, sum, sum)
			t.VE(fmulElement, sum, sum, scale, 0)
			t.load(v, "R19", column)
			t.V(fmul, sum, sum, column)
		}
	}
	t.P("MOVD tile_bias(R0), R19")
	t.P("CBZ R19, %s", t.label("dequantised"))
	for v := range t.vectors {
		t.load(v, "R19", column)
		for r := range t.rows {
			t.V(fadd, t.sum(r, v), t.sum(r, v), column)
		}
	}
	t.Label("%s", t.label("dequantised"))
}
