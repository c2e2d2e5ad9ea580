package tensor

import "github.com/tokencache/tokencache/internal/kernel"

// A convolution in a number format other than float32 converts the pixels of its strip once, row by
// row: the pixels under a row of the window are contiguous, and so is what they are converted to. A
// row of results is then one product for each row of the window, which add up in float32 from the
// bias on, so that the result of a pixel depends on nothing but its window.

// addTaps packs w, [Out, side, side, In], as the next phase of row i: a matrix for each row of the
// window.
func (w *Conv3x3Weight) addTaps(d DType, phase []float32, i int) {
	if i == len(w.taps) {
		w.taps = append(w.taps, nil)
	}
	var taps []kernel.Packed
	k := w.side * w.In
	for t := range w.side {
		taps = append(taps, kernel.Pack(d, phase[t*k:], w.side*k, w.Out, k))
	}
	w.taps[i] = append(w.taps[i], taps)
}

// panels is the number of panels of each of the weight's matrices.
func (w *Conv3x3Weight) panels() int {
	if w.taps != nil {
		return w.taps[0][0][0].Panels()
	}
	return w.phases[0][0].Panels()
}

// runTaps is run of a weight in another number format than float32.
func (op *conv3x3Op) runTaps(group, sample, y0, y1 int, worker *worker) {
	w := op.w
	height, width, sides := w.out(op.in.Height), w.out(op.in.Width), w.sides()
	rows := (y1-y0-1)*w.Stride + window
	like := &w.taps[0][0][0]
	size := kernel.ConvertedLen(like, width)
	scratch := worker.floats(size*rows + rows*op.line + kernel.GemmScratch)
	words, scratch := scratch[:size*rows], scratch[size*rows:]
	pixels, scratch := scratch[:rows*op.line], scratch[rows*op.line:]
	op.prepare(pixels, sample, y0*w.Stride-w.Before, rows)

	converted := make([]kernel.Converted, rows)
	gemm := kernel.Gemm{M: width, LDC: sides * op.dst.X.Stride}
	p0, p1 := op.panels.bounds(group)
	for j := range sides {
		for r := range rows {
			converted[r] = kernel.NewConverted(words[r*size:][:size], like, width)
			converted[r].Rows(pixels[r*op.line+j*w.In:], w.Stride*w.In, 0, width)
		}
		for i := range sides {
			for p := p0; p < p1; p++ {
				for y := y0; y < y1; y++ {
					gemm.C = op.dst.X.from(((sample*height+y)*sides+i)*width*sides + j)
					gemm.Bias, gemm.Accumulate = w.Bias, op.add
					for t := range w.side {
						gemm.X, gemm.B = &converted[(y-y0)*w.Stride+i+t], &w.taps[i][j][t]
						gemm.Run(scratch, 0, width, p, p+1)
						gemm.Bias, gemm.Accumulate = nil, true
					}
				}
			}
		}
	}
}
