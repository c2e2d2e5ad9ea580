package train

import (
	"math"
	"runtime"
	"sync/atomic"

	"github.com/tokencache/tokencache/internal/kernel"
	"github.com/tokencache/tokencache/tensor"
)

// Muon is the optimiser of Jordan et al. (2024): a matrix moves by the momentum of its gradient made
// orthogonal, that is by U·Vᵀ of its singular value decomposition U·S·Vᵀ. The step's root mean
// square is Liu et al.'s (arXiv 2502.16982, equation 4), that of AdamW's, so that learning rates and
// weight decay carry over. It is for the matrices of the blocks' linear maps; all other parameters
// take steps of AdamW.
type Muon struct {
	Momentum, Decay float64

	rest     *AdamW
	matrices []*tensor.Weight
	m        [][]float32 // momentum of each matrix
}

// NewMuon returns an optimiser of params with Nesterov's momentum of 0.95 for the matrices of maps,
// and AdamW for the others. Frozen matrices stay as they are.
func NewMuon(params []*tensor.Param, maps []*tensor.Weight, decay float64) *Muon {
	o := &Muon{Momentum: 0.95, Decay: decay}
	isMatrix := map[*tensor.Param]bool{}
	for _, w := range maps {
		if w.W.Grad != nil {
			isMatrix[w.W] = true
			o.matrices = append(o.matrices, w)
			o.m = append(o.m, make([]float32, len(w.W.Value)))
		}
	}
	var rest []*tensor.Param
	for _, p := range params {
		if !isMatrix[p] {
			rest = append(rest, p)
		}
	}
	o.rest = NewAdamW(rest, decay)
	return o
}

// Update takes one step at learning rate lr.
func (o *Muon) Update(lr float64) {
	o.rest.Update(lr)
	var next atomic.Int64
	err := parallel(runtime.GOMAXPROCS(0), func(int) error {
		var work orthogonalizer
		for i := next.Add(1) - 1; i < int64(len(o.matrices)); i = next.Add(1) - 1 {
			o.step(&work, int(i), lr)
		}
		return nil
	})
	if err != nil {
		panic(err)
	}
}

func (o *Muon) step(work *orthogonalizer, i int, lr float64) {
	w, m := o.matrices[i], o.m[i]
	kernel.Scale(m, m, float32(o.Momentum))
	kernel.AXPY(m, 1, w.W.Grad)
	ahead := work.input(w.Out, w.In)
	kernel.Scale(ahead, m, float32(o.Momentum))
	kernel.AXPY(ahead, 1, w.W.Grad)
	direction := work.run()
	kernel.Scale(w.W.Value, w.W.Value, float32(1-lr*o.Decay))
	kernel.AXPY(w.W.Value, float32(-lr*0.2*math.Sqrt(float64(max(w.Out, w.In)))), direction)
}

// resume implements optimizer.
func (o *Muon) resume(steps int) { o.rest.resume(steps) }

// moments implements optimizer.
func (o *Muon) moments() map[string][]float32 {
	arrays := o.rest.moments()
	for i, w := range o.matrices {
		arrays[muonPrefix+w.W.Name] = o.m[i]
	}
	return arrays
}

// orthogonalizer makes matrices orthogonal by five Newton-Schulz iterations of Jordan's quintic
// polynomial, with products of bfloat16 as his. They bring singular values to about 0.7 to 1.2: no
// more is needed.
type orthogonalizer struct {
	rows, cols int
	in, out    []float32 // [rows, cols]
	y, next    []float32 // [long, short]: the matrix, or its transpose if that is the taller one
	wide       []float32 // [short, long]
	gram, poly []float32 // [short, short]
	packed     []float32 // right-hand sides
	converted  []float32 // left-hand sides
	scratch    []float32
}

// input returns the memory of the matrix that run takes.
func (o *orthogonalizer) input(rows, cols int) []float32 {
	long, short := max(rows, cols), min(rows, cols)
	o.rows, o.cols = rows, cols
	for _, a := range []*[]float32{&o.in, &o.out, &o.y, &o.next, &o.wide} {
		resize(a, rows*cols)
	}
	resize(&o.gram, short*short)
	resize(&o.poly, short*short)
	resize(&o.packed, kernel.WordsLen(kernel.BF16, short, long))
	resize(&o.scratch, kernel.GemmScratch)
	return o.in
}

// resize gives a slice a length. Its values are then arbitrary.
func resize(a *[]float32, n int) {
	if cap(*a) < n {
		*a = kernel.AlignedFloats(n)
	}
	*a = (*a)[:n]
}

// run returns the orthogonal matrix nearest to the input, valid until the next call of input. It
// changes the input. A matrix of zeros stays one.
func (o *orthogonalizer) run() []float32 {
	const (
		a, b, c    = 3.4445, -4.7750, 2.0315
		iterations = 5
	)
	norm := math.Sqrt(float64(kernel.SumSquares(o.in)))
	if norm == 0 {
		clear(o.out)
		return o.out
	}
	kernel.Scale(o.in, o.in, float32(1/norm))
	tall, long, short := o.rows >= o.cols, max(o.rows, o.cols), min(o.rows, o.cols)
	if tall {
		copy(o.y, o.in)
	} else {
		kernel.Transpose(o.y, short, o.in, long, short, long)
	}
	for range iterations {
		kernel.Transpose(o.wide, long, o.y, short, long, short)
		o.product(o.gram, o.wide, o.y, short, long, short)
		o.product(o.poly, o.gram, o.gram, short, short, short)
		kernel.Scale(o.poly, o.poly, c)
		kernel.AXPY(o.poly, b, o.gram)
		for i := range short {
			o.poly[i*short+i] += a
		}
		o.product(o.next, o.y, o.poly, long, short, short)
		o.y, o.next = o.next, o.y
	}
	if tall {
		copy(o.out, o.y)
	} else {
		kernel.Transpose(o.out, long, o.y, short, long, short)
	}
	return o.out
}

// product sets dst [m, n] to x [m, k] times w [k, n].
func (o *orthogonalizer) product(dst, x, w []float32, m, k, n int) {
	b := kernel.PackKNBF16(o.packed[:kernel.WordsLen(kernel.BF16, n, k)], w, n, n, k)
	resize(&o.converted, kernel.ConvertedLen(&b, m))
	rows := kernel.NewConverted(o.converted, &b, m)
	rows.Rows(x, k, 0, m)
	g := kernel.Gemm{X: &rows, M: m, B: &b, C: dst, LDC: n}
	g.Run(o.scratch, 0, m, 0, b.Panels())
}
