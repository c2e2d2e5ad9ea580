// Package nn holds the layers that models are made of: what they are given of weights, and the operations that they are.
//
// A layer knows no file format and no naming scheme but the last part of a tensor's name (weight, bias); models know the rest.
package nn

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"unsafe"

	"github.com/tokencache/tokencache/tensor"
)

// Source is where weights come from: Read fills dst with the elements of the named tensor, by rows.
type Source interface {
	Read(name string, dst []float32) error
}

// Loader reads layers from a Source, holding no more of it in memory than one tensor at a time. The first error ends
// the reading: later calls return layers of zeros, and Err returns that error.
type Loader struct {
	src  Source
	buf  []float32
	hash hash.Hash
	err  error

	train  bool
	frozen bool // what is trainable gets no gradient of its own
	params []*tensor.Param
}

// NewLoader returns a Loader that reads from src.
func NewLoader(src Source) *Loader { return &Loader{src: src, hash: sha256.New()} }

// Train makes the Loader return trainable layers from now on. Their parameters are those of Params.
func (l *Loader) Train() { l.train = true }

// Freeze makes the Loader return layers that gradients go back through, but that have none themselves.
func (l *Loader) Freeze() { l.train, l.frozen = true, true }

// Params returns the parameters of the trainable layers, in the order in which they were read.
func (l *Loader) Params() []*tensor.Param { return l.params }

// Training reports whether layers are made trainable.
func (l *Loader) Training() bool { return l.train }

// Err returns the first error met.
func (l *Loader) Err() error { return l.err }

// Fingerprint identifies what was read: the names, in their order, and every bit of the float32 values. It is 32 hexadecimal digits of a
// SHA-256.
func (l *Loader) Fingerprint() string { return hex.EncodeToString(l.hash.Sum(nil)[:16]) }

// Vector returns the named tensor of n elements.
func (l *Loader) Vector(name string, n int) []float32 {
	v := make([]float32, n)
	l.read(name, v)
	return v
}

// Linear returns the linear map of in to out features in prefix.weight and prefix.bias.
func (l *Loader) Linear(prefix string, out, in int) *tensor.Weight {
	if l.train {
		return tensor.NewTrainable(l.param(prefix+".weight", out*in), l.param(prefix+".bias", out), out, in)
	}
	bias := l.Vector(prefix+".bias", out)
	return tensor.NewWeight(l.scratch(prefix+".weight", out*in), out, in, bias)
}

// Table returns the named matrix as it stands.
func (l *Loader) Table(name string, rows, cols int) *tensor.Tensor {
	if l.train {
		return l.param(name, rows*cols).Leaf(rows, cols)
	}
	return tensor.FromSlice(l.Vector(name, rows*cols), rows, cols)
}

// NewTable returns the named matrix with the given initial values, which the source does not have; they are no part of the fingerprint.
func (l *Loader) NewTable(name string, values []float32, rows, cols int) *tensor.Tensor {
	if l.train {
		return l.newParam(name, values).Leaf(rows, cols)
	}
	return tensor.FromSlice(values, rows, cols)
}

// Skip reads the named tensor of n elements for the fingerprint alone.
func (l *Loader) Skip(name string, n int) { l.scratch(name, n) }

// param reads a trainable parameter.
func (l *Loader) param(name string, n int) *tensor.Param { return l.newParam(name, l.Vector(name, n)) }

func (l *Loader) newParam(name string, value []float32) *tensor.Param {
	p := &tensor.Param{Name: name, Value: value}
	if !l.frozen {
		p.Grad = make([]float32, len(value))
	}
	l.params = append(l.params, p)
	return p
}

// scratch returns the named tensor in memory that the next call reuses.
func (l *Loader) scratch(name string, n int) []float32 {
	if len(l.buf) < n {
		l.buf = make([]float32, n)
	}
	l.read(name, l.buf[:n])
	return l.buf[:n]
}

func (l *Loader) read(name string, dst []float32) {
	if l.err != nil {
		return
	}
	if err := l.src.Read(name, dst); err != nil {
		l.err = fmt.Errorf("load %s: %w", name, err)
		return
	}
	fmt.Fprintf(l.hash, "%s %d\n", name, len(dst))
	if len(dst) > 0 {
		// On a machine of the other byte order fingerprints would differ; there is none that Go and these models run on.
		l.hash.Write(unsafe.Slice((*byte)(unsafe.Pointer(&dst[0])), 4*len(dst)))
	}
}
