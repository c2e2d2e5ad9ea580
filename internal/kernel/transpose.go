package kernel

// Transpose sets dst [cols, rows], of rows ldd floats apart, to the transpose of src [rows, cols],
// of rows lds floats apart.
func Transpose(dst []float32, ldd int, src []float32, lds, rows, cols int) {
	checkMatrix("destination of Transpose", dst, ldd, cols, rows)
	checkMatrix("source of Transpose", src, lds, rows, cols)
	wholeRows, wholeCols := 0, 0
	if transpose := active.product.transpose; transpose != nil && rows >= transposeBlock && cols >= transposeBlock {
		wholeRows, wholeCols = rows&^(transposeBlock-1), cols&^(transposeBlock-1)
		transpose(&dst[0], ldd, &src[0], lds, wholeRows, wholeCols)
	}
	for r := range rows {
		from := src[r*lds:][:cols]
		c := 0
		if r < wholeRows {
			c = wholeCols
		}
		for ; c < cols; c++ {
			dst[c*ldd+r] = from[c]
		}
	}
}

// transposeBlock is the side of the squares that an implementation's own transpose moves; it takes
// whole squares only.
const transposeBlock = 8
