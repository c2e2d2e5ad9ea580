package checkpoint

import (
	"fmt"
	"math"
)

// NotFinite counts the elements of a tensor that are NaN or infinite as float32.
type NotFinite struct {
	Name  string
	Count int
	Len   int // elements in all
}

func (n NotFinite) String() string {
	return fmt.Sprintf("tensor %s: %d of %d numbers are not finite (NaN or infinite)", n.Name, n.Count, n.Len)
}

// NotFiniteError says that weights are not numbers to compute with.
type NotFiniteError struct{ Tensors []NotFinite }

func (e *NotFiniteError) Error() string {
	text := e.Tensors[0].String()
	if more := len(e.Tensors) - 1; more > 0 {
		text += fmt.Sprintf(", and %d more tensors have such numbers", more)
	}
	return text
}

// ReadFinite is Read of src, and a *NotFiniteError if the tensor has numbers that are not finite.
func ReadFinite(src interface{ Read(string, []float32) error }, name string, dst []float32) error {
	if err := src.Read(name, dst); err != nil {
		return err
	}
	if n := notFinite(dst); n > 0 {
		return &NotFiniteError{[]NotFinite{{name, n, len(dst)}}}
	}
	return nil
}

// NotFinite goes through the file's tensors of floating-point numbers that can be read and returns
// a *NotFiniteError of those that have numbers that are not finite, or nil.
func (f *File) NotFinite() error {
	var bad []NotFinite
	var values []float32
	for _, name := range f.names {
		t := f.tensors[name]
		if !t.DType.Float() || f.Unreadable(name) != nil {
			continue
		}
		count := 0
		err := t.read(func(_ int, raw []byte) error {
			n := len(raw) / t.DType.Size()
			if len(values) < n {
				values = make([]float32, n)
			}
			t.DType.floats(values, raw)
			count += notFinite(values[:n])
			return f.ctx.Err()
		})
		if err != nil {
			return f.failed(name, err)
		}
		if count > 0 {
			bad = append(bad, NotFinite{name, count, t.Len()})
		}
	}
	if len(bad) == 0 {
		return nil
	}
	return &NotFiniteError{bad}
}

// notFinite counts the elements that are NaN or infinite: all bits of their exponent are set.
func notFinite(values []float32) int {
	const exponent = 0x7F800000
	n := 0
	for _, x := range values {
		if math.Float32bits(x)&exponent == exponent {
			n++
		}
	}
	return n
}
