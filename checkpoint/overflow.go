package checkpoint

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"
)

// OverflowError says that a tensor has numbers that a narrower type cannot hold.
type OverflowError struct {
	Name    string  // of the first such tensor
	Largest float64 // of its numbers, by absolute value
	DType   DType   // that was asked for
	Fits    []DType // that hold the number and can be written, narrowest first
}

func (e *OverflowError) Error() string {
	fits := "no type that can be written holds it"
	if len(e.Fits) > 0 {
		names := make([]string, len(e.Fits))
		for i, d := range e.Fits {
			names[i] = string(d)
		}
		fits = "want " + strings.Join(names, " or ")
	}
	limit := fmt.Sprintf("%s holds numbers to %.6g", e.DType, e.DType.largest())
	if e.DType == F64 {
		limit = fmt.Sprintf("numbers pass through %s, which holds them to %.6g", F32, e.DType.largest())
	}
	return fmt.Sprintf("tensor %s: its largest number, %.6g, would become infinite: %s; %s",
		e.Name, e.Largest, limit, fits)
}

// largest returns the largest finite number of a type that can be written. What is written passes
// through float32, so that F64 holds no more than F32.
func (d DType) largest() float64 {
	switch d {
	case F16:
		return float64(Float16(0x7BFF))
	case BF16:
		return float64(BFloat16(0x7F7F))
	}
	return math.MaxFloat32
}

// holds reports whether a number stays finite when it is written as a type.
func (d DType) holds(x float64) bool {
	single := float32(x)
	switch d {
	case F16:
		single = Float16(ToFloat16(single))
	case BF16:
		single = BFloat16(ToBFloat16(single))
	}
	return !math.IsInf(float64(single), 0)
}

// checkRange reads the file's tensors of these names, each with the type to write it as. It returns
// a *NotFiniteError for those that hold NaN or infinities, else an *OverflowError for the first
// with a number that its type cannot hold.
func (f *File) checkRange(list []Info) error {
	var bad []NotFinite
	var over *OverflowError
	var values []float32
	for _, want := range list {
		t := f.tensors[want.Name]
		if err := f.Unreadable(want.Name); err != nil {
			return f.failed(want.Name, err)
		}
		count, largest := 0, 0.0
		err := t.read(func(_ int, raw []byte) error {
			n := len(raw) / t.DType.Size()
			if t.DType == F64 {
				for i := range n {
					seen(math.Float64frombits(binary.LittleEndian.Uint64(raw[8*i:])), &count, &largest)
				}
				return f.ctx.Err()
			}
			if len(values) < n {
				values = make([]float32, n)
			}
			t.DType.floats(values, raw)
			for _, x := range values[:n] {
				seen(float64(x), &count, &largest)
			}
			return f.ctx.Err()
		})
		switch {
		case err != nil:
			return f.failed(want.Name, err)
		case count > 0:
			bad = append(bad, NotFinite{want.Name, count, t.Len()})
		case over == nil && !want.DType.holds(largest):
			over = &OverflowError{Name: want.Name, Largest: largest, DType: want.DType}
			for _, d := range []DType{F16, BF16, F32} {
				if d.holds(largest) {
					over.Fits = append(over.Fits, d)
				}
			}
		}
	}
	switch {
	case len(bad) > 0:
		return &NotFiniteError{bad}
	case over != nil:
		return over
	}
	return nil
}

// seen counts a number that is not finite, and keeps the largest of the others.
func seen(x float64, notFinite *int, largest *float64) {
	x = math.Abs(x)
	switch {
	case math.IsNaN(x), math.IsInf(x, 0):
		*notFinite++
	case x > *largest:
		*largest = x
	}
}
