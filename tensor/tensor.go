package tensor

import "fmt"

// Tensor is a matrix: a row is a token or a pixel, a column a feature. Rows are Stride floats
// apart, so that a range of columns of a wider matrix is a Tensor too.
//
// A Tensor made by a Graph is valid until the Graph releases its memory: see Ownership in the
// package's documentation.
type Tensor struct {
	Rows, Cols int
	Stride     int
	Data       []float32 // at least (Rows-1)*Stride + Cols

	grad         *Tensor // of the loss, for this matrix; nil if there is none yet
	requiresGrad bool    // a tape records how to compute it
	inPlace      bool    // the result of several recorded operations
	base         *Tensor // the matrix that this one is a view of, from row and col on, or nil
	row, col     int
}

// FromSlice returns a rows x cols matrix over data, which it does not copy.
func FromSlice(data []float32, rows, cols int) *Tensor {
	if len(data) < rows*cols {
		panic(fmt.Sprintf("tensor: %d floats are too few for %d x %d", len(data), rows, cols))
	}
	return &Tensor{Rows: rows, Cols: cols, Stride: cols, Data: data[:rows*cols]}
}

// Row returns row i.
func (t *Tensor) Row(i int) []float32 {
	return t.Data[i*t.Stride : i*t.Stride+t.Cols : i*t.Stride+t.Cols]
}

// Contiguous reports whether the rows follow one another without gaps.
func (t *Tensor) Contiguous() bool { return t.Stride == t.Cols || t.Rows <= 1 }

// Flat returns all elements, row by row, of a contiguous matrix.
func (t *Tensor) Flat() []float32 {
	if !t.Contiguous() {
		panic("tensor: " + t.String() + " is not contiguous")
	}
	return t.Data[:t.Rows*t.Cols]
}

func (t *Tensor) String() string {
	if t.Stride != t.Cols {
		return fmt.Sprintf("[%d %d] (stride %d)", t.Rows, t.Cols, t.Stride)
	}
	return fmt.Sprintf("[%d %d]", t.Rows, t.Cols)
}

// from returns the elements that begin with row i.
func (t *Tensor) from(i int) []float32 {
	if i >= t.Rows {
		return nil
	}
	return t.Data[i*t.Stride:]
}

func mustMatch(what string, t *Tensor, rows, cols int) {
	if t.Rows != rows || t.Cols != cols {
		panic(fmt.Sprintf("tensor: %s is %v, want [%d %d]", what, t, rows, cols))
	}
}

// Rows divides the rows of a matrix among the samples of a batch: sample s has the rows Start[s] up
// to Start[s+1]. Samples may have different numbers of rows, none included.
type Rows struct {
	Start  []int   // one more than there are samples
	Sample []int32 // the sample of each row
}

// Uniform returns the division of samples*each rows into samples of equal size.
func Uniform(samples, each int) *Rows {
	start := make([]int, samples+1)
	for s := range start {
		start[s] = s * each
	}
	return newRows(start)
}

// newRows returns the division in which sample s has the rows start[s] up to start[s+1]; it keeps
// start.
func newRows(start []int) *Rows {
	r := &Rows{Start: start, Sample: make([]int32, start[len(start)-1])}
	r.fill()
	return r
}

func (r *Rows) fill() {
	for s := range r.Samples() {
		for i := r.Start[s]; i < r.Start[s+1]; i++ {
			r.Sample[i] = int32(s)
		}
	}
}

// Samples returns the number of samples.
func (r *Rows) Samples() int { return len(r.Start) - 1 }

// Len returns the number of rows of all samples together.
func (r *Rows) Len() int { return r.Start[len(r.Start)-1] }
