// Package nn loads layers from named weights and applies them.
//
// A layer knows no file format, and of names only the last part (weight, bias); models know the
// rest. Where a model fuses operations across layers (attention, the MLP), the layer only holds its
// weights.
package nn

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"unsafe"

	"github.com/tokencache/tokencache/tensor"
)

// Source provides weights. Read fills dst with the elements of the named tensor, by rows, and fails
// if it has no such tensor or one of another size.
type Source interface {
	Read(name string, dst []float32) error
}

// Loader reads layers from a Source, holding one tensor at a time in memory besides the layers.
// After the first error, which Err returns, it reads nothing more and returns layers of zeros.
type Loader struct {
	src  Source
	buf  []float32
	hash hash.Hash
	err  error

	dtype  tensor.DType // of inner linear maps
	record func(name string, words []float32)
	replay *Recording

	train  bool
	frozen bool // parameters have no gradients
	params []*tensor.Param
}

// NewLoader returns a Loader that reads from src.
func NewLoader(src Source) *Loader { return &Loader{src: src, hash: sha256.New()} }

// Train makes the Loader return trainable layers from now on. Params lists their parameters.
func (l *Loader) Train() { l.train = true }

// SetDType sets the number format of the inner linear maps that are read from now on, by Inner,
// InnerNoBias, InnerConv3x3, LoadAttention and LoadMLP, unless they are trainable. It is float32 at
// first.
func (l *Loader) SetDType(d tensor.DType) { l.dtype = d }

// Freeze makes the Loader return layers that pass gradients on to their inputs but have none
// themselves.
func (l *Loader) Freeze() { l.train, l.frozen = true, true }

// Params returns the parameters of the trainable layers, layer by layer in the order of loading.
func (l *Loader) Params() []*tensor.Param { return l.params }

// Training reports whether Train or Freeze was called.
func (l *Loader) Training() bool { return l.train }

// Err returns the first error met.
func (l *Loader) Err() error { return l.err }

// Fingerprint identifies what was read so far, trainable or not: the names, in the order of
// reading, and every bit of the float32 values. The order of tensors in a file does not matter. It
// is the first 32 hexadecimal digits of a SHA-256.
func (l *Loader) Fingerprint() string {
	if l.replay != nil {
		return l.replay.Fingerprint
	}
	return hex.EncodeToString(l.hash.Sum(nil)[:16])
}

// Vector returns the named tensor of n elements.
func (l *Loader) Vector(name string, n int) []float32 {
	if l.replay != nil {
		return l.next(name, n)
	}
	v := make([]float32, n)
	l.read(name, v)
	l.keep(name, v)
	return v
}

// Linear returns the linear map of in to out features in prefix.weight and prefix.bias, in float32.
func (l *Loader) Linear(prefix string, out, in int) *tensor.Weight {
	return l.linear(tensor.F32, prefix, out, in)
}

// Inner is Linear in the Loader's number format: for the maps of all tokens within a block, which
// are nearly all of a model's work, and whose errors the residual stream dilutes.
func (l *Loader) Inner(prefix string, out, in int) *tensor.Weight {
	return l.linear(l.dtype, prefix, out, in)
}

func (l *Loader) linear(d tensor.DType, prefix string, out, in int) *tensor.Weight {
	// The bias comes first, trainable or not: the fingerprint depends on the order of reading.
	bias := l.Vector(prefix+".bias", out)
	if l.train {
		w := l.newParam(prefix+".weight", l.Vector(prefix+".weight", out*in))
		return tensor.NewTrainable(w, l.newParam(prefix+".bias", bias), out, in)
	}
	if l.replay != nil {
		return tensor.MappedWeight(d, l.next(prefix+".weight", tensor.WeightWords(d, out, in)), out, in, bias)
	}
	w := tensor.NewWeightAs(d, l.scratch(prefix+".weight", out*in), out, in, bias)
	l.keep(prefix+".weight", w.Words())
	return w
}

// LinearNoBias returns the linear map of in to out features in prefix.weight, in float32.
func (l *Loader) LinearNoBias(prefix string, out, in int) *tensor.Weight {
	return l.linearNoBias(tensor.F32, prefix, out, in)
}

// InnerNoBias is LinearNoBias in the Loader's number format: see Inner.
func (l *Loader) InnerNoBias(prefix string, out, in int) *tensor.Weight {
	return l.linearNoBias(l.dtype, prefix, out, in)
}

func (l *Loader) linearNoBias(d tensor.DType, prefix string, out, in int) *tensor.Weight {
	if l.train {
		return tensor.NewTrainable(l.newParam(prefix+".weight", l.Vector(prefix+".weight", out*in)), nil, out, in)
	}
	return tensor.NewWeightAs(d, l.scratch(prefix+".weight", out*in), out, in, nil)
}

// Table returns the named matrix of rows x cols.
func (l *Loader) Table(name string, rows, cols int) *tensor.Tensor {
	if l.train {
		return l.newParam(name, l.Vector(name, rows*cols)).Leaf(rows, cols)
	}
	return tensor.FromSlice(l.Vector(name, rows*cols), rows, cols)
}

// NewTable returns a rows x cols matrix with initial values that are not in the source. They do not
// enter the fingerprint.
func (l *Loader) NewTable(name string, values []float32, rows, cols int) *tensor.Tensor {
	if l.train {
		return l.newParam(name, values).Leaf(rows, cols)
	}
	return tensor.FromSlice(values, rows, cols)
}

// Skip reads the named tensor of n elements only for the fingerprint.
func (l *Loader) Skip(name string, n int) {
	if l.replay == nil {
		l.scratch(name, n)
	}
}

// newParam returns a new parameter, which keeps value.
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
		// Fingerprints would differ on a big-endian machine.
		l.hash.Write(unsafe.Slice((*byte)(unsafe.Pointer(&dst[0])), 4*len(dst)))
	}
}
