package reuse

import "math"

// lowPass keeps the low spatial frequencies of an image: those whose index (fy, fx), in cycles per
// image, is within radius of 0.
type lowPass struct {
	rows, cols int
	radius     int

	// exp(-2πi·n/rows) for n = 0, 1, ..., and likewise of the columns.
	rowTurn, colTurn []complex128

	rowWaves []complex128 // of the image's rows: [rows, radius+1]
	kept     []complex128 // of the rows of the result, likewise
}

// newLowPass returns the filter of images of a size. The radius must be less than half a side.
func newLowPass(rows, cols, radius int) *lowPass {
	return &lowPass{
		rows:     rows,
		cols:     cols,
		radius:   radius,
		rowTurn:  turns(rows),
		colTurn:  turns(cols),
		rowWaves: make([]complex128, rows*(radius+1)),
		kept:     make([]complex128, rows*(radius+1)),
	}
}

func turns(n int) []complex128 {
	list := make([]complex128, n)
	for i := range list {
		sin, cos := math.Sincos(2 * math.Pi * float64(i) / float64(n))
		list[i] = complex(cos, -sin)
	}
	return list
}

// conj returns the conjugate of z.
func conj(z complex128) complex128 { return complex(real(z), -imag(z)) }

// apply sets low to the low frequencies of image, both [rows, cols]. An image is real, so waves of
// negative fx are the conjugates of those of positive ones.
func (l *lowPass) apply(low, image []float32) {
	waves := l.radius + 1
	for y := range l.rows {
		for fx := range waves {
			sum := complex128(0)
			for x, v := range image[y*l.cols : (y+1)*l.cols] {
				sum += complex(float64(v), 0) * l.colTurn[fx*x%l.cols]
			}
			l.rowWaves[y*waves+fx] = sum
		}
	}
	clear(l.kept)
	for fx := range waves {
		for fy := -l.radius; fy <= l.radius; fy++ {
			if fx*fx+fy*fy <= l.radius*l.radius {
				l.keep(fy, fx)
			}
		}
	}
	for y := range l.rows {
		for x := range l.cols {
			sum := real(l.kept[y*waves])
			for fx := 1; fx < waves; fx++ {
				sum += 2 * real(l.kept[y*waves+fx]*conj(l.colTurn[fx*x%l.cols]))
			}
			low[y*l.cols+x] = float32(sum / float64(l.rows*l.cols))
		}
	}
}

// keep adds the wave (fy, fx) to the rows of the result.
func (l *lowPass) keep(fy, fx int) {
	waves, f := l.radius+1, (fy+l.rows)%l.rows
	sum := complex128(0)
	for y := range l.rows {
		sum += l.rowWaves[y*waves+fx] * l.rowTurn[f*y%l.rows]
	}
	for y := range l.rows {
		l.kept[y*waves+fx] += sum * conj(l.rowTurn[f*y%l.rows])
	}
}
