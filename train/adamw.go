package train

import (
	"math"
	"sync/atomic"

	"github.com/tokencache/tokencache/internal/kernel"
	"github.com/tokencache/tokencache/tensor"
)

// AdamW is the optimiser of Loshchilov and Hutter (arXiv 1711.05101) as PyTorch computes it. Weight
// decay applies to every parameter.
type AdamW struct {
	Beta1, Beta2, Eps, Decay float64

	Step   int // updates made
	params []*tensor.Param
	m, v   [][]float32 // moving averages of each parameter's gradient and its square
}

// NewAdamW returns an optimiser of params with betas 0.9 and 0.999 and epsilon 1e-8.
func NewAdamW(params []*tensor.Param, decay float64) *AdamW {
	a := &AdamW{Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, Decay: decay, params: params}
	for _, p := range params {
		a.m = append(a.m, make([]float32, len(p.Value)))
		a.v = append(a.v, make([]float32, len(p.Value)))
	}
	return a
}

// Update takes one step at learning rate lr.
func (a *AdamW) Update(lr float64) {
	a.Step++
	correction1 := 1 - math.Pow(a.Beta1, float64(a.Step))
	correction2 := 1 - math.Pow(a.Beta2, float64(a.Step))
	eachParam(a.params, func(i int, p *tensor.Param) {
		kernel.AdamW(p.Value, a.m[i], a.v[i], p.Grad,
			float32(lr), float32(a.Beta1), float32(a.Beta2), float32(a.Eps), float32(a.Decay),
			float32(correction1), float32(correction2))
	})
}

// resume implements optimizer.
func (a *AdamW) resume(steps int) { a.Step = steps }

// moments implements optimizer.
func (a *AdamW) moments() map[string][]float32 {
	arrays := map[string][]float32{}
	for i, p := range a.params {
		arrays[mPrefix+p.Name], arrays[vPrefix+p.Name] = a.m[i], a.v[i]
	}
	return arrays
}

// GradNorm returns the Euclidean norm of all gradients.
func GradNorm(params []*tensor.Param) float64 {
	squares := make([]float64, len(params))
	eachParam(params, func(i int, p *tensor.Param) {
		const chunk = 1 << 10 // summed in float32, chunks in float64
		for g := p.Grad; len(g) > 0; {
			n := min(chunk, len(g))
			squares[i] += float64(kernel.SumSquares(g[:n]))
			g = g[n:]
		}
	})
	total := 0.0
	for _, s := range squares {
		total += s
	}
	return math.Sqrt(total)
}

// scaleGrads multiplies all gradients by s.
func scaleGrads(params []*tensor.Param, s float64) {
	eachParam(params, func(_ int, p *tensor.Param) { kernel.Scale(p.Grad, p.Grad, float32(s)) })
}

// ZeroGrads sets all gradients to 0.
func ZeroGrads(params []*tensor.Param) {
	eachParam(params, func(_ int, p *tensor.Param) { clear(p.Grad) })
}

// eachParam calls f for every parameter, on several goroutines. A panic of f is the caller's.
func eachParam(params []*tensor.Param, f func(i int, p *tensor.Param)) {
	const workers = 4 // more do not help: memory bandwidth is the limit
	var next atomic.Int64
	err := parallel(workers, func(int) error {
		for i := int(next.Add(1)) - 1; i < len(params); i = int(next.Add(1)) - 1 {
			f(i, params[i])
		}
		return nil
	})
	if err != nil {
		panic(err)
	}
}

// EMA is an exponential moving average of parameters, the weights that models are sampled with.
type EMA struct {
	Decay  float64
	Values [][]float32
	params []*tensor.Param
}

// NewEMA starts an average at the parameters' values.
func NewEMA(params []*tensor.Param, decay float64) *EMA {
	e := &EMA{Decay: decay, params: params}
	for _, p := range params {
		e.Values = append(e.Values, append([]float32(nil), p.Value...))
	}
	return e
}

// Update moves the average towards the parameters' values.
func (e *EMA) Update(decay float64) {
	eachParam(e.params, func(i int, p *tensor.Param) { kernel.Lerp(e.Values[i], p.Value, float32(decay)) })
}
