package diffusion

import (
	"fmt"
	"math"
)

// TorchArithmetic is how PyTorch computes float32 normals of 16 elements or more; it depends on the
// processor.
type TorchArithmetic int

const (
	// TorchAVX2 is what PyTorch does on x86 processors with AVX2 and FMA, which is nearly all:
	// reproduced bit for bit.
	TorchAVX2 TorchArithmetic = iota
	// TorchScalar is what it does elsewhere, with the C library's functions: reproduced to 2 units
	// in the last place before mean and deviation are applied.
	TorchScalar
)

// TorchGenerator is PyTorch's random generator for the CPU: the same seed and the same sequence of
// calls give PyTorch's numbers. (Its generators for GPUs are different ones.) The zero value is not
// seeded; make one with NewTorchGenerator. It is not safe for concurrent use.
type TorchGenerator struct {
	engine     mt19937
	arithmetic TorchArithmetic
	spare      float64 // second normal of a serial pair, kept for the next serial draw
	full       bool
}

// NewTorchGenerator is torch.Generator().manual_seed(seed).
func NewTorchGenerator(seed uint64, arithmetic TorchArithmetic) *TorchGenerator {
	g := &TorchGenerator{arithmetic: arithmetic}
	g.ManualSeed(seed)
	return g
}

// ManualSeed is torch.manual_seed. Only the low 32 bits of the seed count.
func (g *TorchGenerator) ManualSeed(seed uint64) {
	g.engine.seed(uint32(seed))
	g.spare, g.full = 0, false
}

// Rand is torch.rand(len(dst)): uniform on [0, 1).
func (g *TorchGenerator) Rand(dst []float32) {
	for k := range dst {
		dst[k] = g.uniform24()
	}
}

// RandFloat64 is torch.rand(len(dst), dtype=torch.float64).
func (g *TorchGenerator) RandFloat64(dst []float64) {
	for k := range dst {
		dst[k] = g.uniform53()
	}
}

// RandInt is torch.randint(low, high, (len(dst),)): uniform on [low, high). It panics unless 0 <
// high-low < 2^32.
func (g *TorchGenerator) RandInt(dst []int64, low, high int64) {
	if high <= low || uint64(high)-uint64(low) >= 1<<32 {
		panic(fmt.Sprintf("diffusion: random integers from %d to %d: want a range of 1 to 2^32-1", low, high))
	}
	for k := range dst {
		dst[k] = low + int64(g.engine.uint32()%uint32(high-low))
	}
}

// Randn is torch.randn of a contiguous tensor of len(dst) elements.
func (g *TorchGenerator) Randn(dst []float32) { g.NormalFill(dst, 0, 1) }

// NormalFill is dst.normal_(mean, std) of a contiguous tensor.
func (g *TorchGenerator) NormalFill(dst []float32, mean, std float64) {
	const block = 16
	if len(dst) < block {
		g.normalSerial(dst, mean, std)
		return
	}
	g.Rand(dst)
	whole := len(dst) / block * block
	for k := 0; k < whole; k += block {
		g.boxMuller(dst[k:k+block], float32(mean), float32(std))
	}
	if whole < len(dst) {
		// What is left is not a block, so the last 16 elements, some of them finished, are drawn again.
		last := dst[len(dst)-block:]
		g.Rand(last)
		g.boxMuller(last, float32(mean), float32(std))
	}
}

// RandnFloat64 is torch.randn(len(dst), dtype=torch.float64), to within the accuracy of package
// math.
func (g *TorchGenerator) RandnFloat64(dst []float64) {
	const block = 16
	if len(dst) < block {
		for k := range dst {
			dst[k] = g.normal()
		}
		return
	}
	g.RandFloat64(dst)
	whole := len(dst) / block * block
	for k := 0; k < whole; k += block {
		boxMuller64(dst[k : k+block])
	}
	if whole < len(dst) {
		last := dst[len(dst)-block:]
		g.RandFloat64(last)
		boxMuller64(last)
	}
}

// normalSerial draws one element after another: short tensors, and those that are not contiguous,
// in the order of memory.
func (g *TorchGenerator) normalSerial(dst []float32, mean, std float64) {
	for k := range dst {
		dst[k] = float32(float64(g.normal()*std) + mean)
	}
}

// normal is one serial draw. Its pairs survive every other kind of draw in between.
func (g *TorchGenerator) normal() float64 {
	if g.full {
		g.full = false
		return g.spare
	}
	u1, u2 := g.uniform53(), g.uniform53()
	r := math.Sqrt(-2 * math.Log1p(-u2))
	sin, cos := math.Sincos(2 * math.Pi * u1)
	g.spare, g.full = r*sin, true
	return r * cos
}

func (g *TorchGenerator) uniform24() float32 {
	return float32(g.engine.uint32()&(1<<24-1)) * 0x1p-24
}

func (g *TorchGenerator) uniform53() float64 {
	high := uint64(g.engine.uint32())
	low := uint64(g.engine.uint32())
	return float64((high<<32|low)&(1<<53-1)) * 0x1p-53
}

// boxMuller turns 16 uniforms into normals: element j and element j+8 are a pair.
func (g *TorchGenerator) boxMuller(d []float32, mean, std float32) {
	const half = 8
	for j := range half {
		u1, u2 := 1-d[j], d[j+half]
		if g.arithmetic == TorchAVX2 {
			r := sqrt32(-2 * log32(u1))
			sin, cos := sincos32(float32(2*math.Pi) * u2)
			d[j] = fma32(r*cos, std, mean)
			d[j+half] = fma32(r*sin, std, mean)
			continue
		}
		r := sqrt32(-2 * float32(math.Log(float64(u1))))
		sin, cos := math.Sincos(float64(float32(2 * math.Pi * float64(u2))))
		d[j] = float32(float32(r*float32(cos))*std) + mean
		d[j+half] = float32(float32(r*float32(sin))*std) + mean
	}
}

func boxMuller64(d []float64) {
	const half = 8
	for j := range half {
		r := math.Sqrt(-2 * math.Log(1-d[j]))
		sin, cos := math.Sincos(2 * math.Pi * d[j+half])
		d[j], d[j+half] = r*cos, r*sin
	}
}
