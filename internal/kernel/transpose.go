package kernel

// Transpose sets dst [cols, rows], of rows ldd floats apart, to the transpose of src [rows, cols],
// of rows lds floats apart.
func Transpose(dst []float32, ldd int, src []float32, lds, rows, cols int) {
	checkMatrix("destination of Transpose", dst, ldd, cols, rows)
	checkMatrix("source of Transpose", src, lds, rows, cols)
	wholeRows, wholeCols := 0, 0
	if ops := &active.product; ops.transpose != nil && rows >= ops.square && cols >= ops.square {
		wholeRows, wholeCols = rows/ops.square*ops.square, cols/ops.square*ops.square
		ops.transpose(&dst[0], ldd, &src[0], lds, wholeRows, wholeCols)
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
