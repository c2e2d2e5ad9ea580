package checkpoint

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
)

// Info describes a tensor.
type Info struct {
	Name  string
	DType DType
	Shape []int // empty for a single number
}

// Len returns the number of elements.
func (i Info) Len() int {
	n := 1
	for _, d := range i.Shape {
		n *= d
	}
	return n
}

// File is an opened checkpoint. Its tensors may be read by several goroutines at once.
type File struct {
	Path   string
	Format string // "safetensors", "PyTorch zip" or "PyTorch legacy"
	// Note says which of several things in the file was taken, such as "ema of {args, ema, model,
	// opt}", and is empty where there was no choice.
	Note string
	// Assumed says which set of weights was taken where several hold a model and no key chose one,
	// or is empty.
	Assumed string

	ctx      context.Context // of OpenContext: it ends reading too
	tensors  map[string]*stored
	names    []string // sorted
	foreign  map[string]string
	metadata map[string]string
	entries  []Entry
	settings map[string]string
	root     *dict // of a file of torch.save, while it is opened
	lists    []nameless
	place    func(*storageRef) (placed, error)
	files    []*os.File
	size     int64 // of all files together
}

// OpenOptions says how to open a checkpoint.
type OpenOptions struct {
	// Key says which to take of several sets of weights, as training scripts save them ({model,
	// ema, opt, args}): the keys that lead to it, joined by ".". A set may be known by what all of
	// its names begin with, too. "" takes the average (ema, shadow) if there is one, else the
	// weights themselves.
	Key string
	// Known, if not nil, reports whether tensors are those of a model that the caller can run. Only
	// sets that it knows are to choose from, and what wrappers put before all of their names comes
	// off. If it knows none, it is as if it were nil.
	Known func(Lister) bool
}

// Open opens the checkpoint at path and recognises its format by its content. The index of a
// sharded checkpoint (model.safetensors.index.json) opens all files that it names. The caller
// closes it.
func Open(path string) (*File, error) { return OpenKey(path, "") }

// OpenKey is Open for a file that holds several sets of weights, of which key is to be taken: see
// OpenOptions.
func OpenKey(path, key string) (*File, error) {
	return OpenContext(context.Background(), path, OpenOptions{Key: key})
}

// OpenContext is Open with options. When ctx ends, opening fails soon, and so does every later
// reading of the file's tensors.
func OpenContext(ctx context.Context, path string, o OpenOptions) (*File, error) {
	f := &File{Path: path, ctx: ctx}
	file, size, err := f.openFile(path)
	if err == nil {
		err = f.open(file, size, o)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("checkpoint %s: %w", path, err)
	}
	return f, nil
}

// NewReader reads a checkpoint of size bytes that is not a file, such as one that is
// embedded in a program. Errors call it by name. An index of shards, which names other files, is
// refused.
func NewReader(name string, r io.ReaderAt, size int64) (*File, error) {
	f := &File{Path: name, ctx: context.Background(), size: size}
	if err := f.open(r, size, OpenOptions{}); err != nil {
		f.Close()
		return nil, fmt.Errorf("checkpoint %s: %w", name, err)
	}
	return f, nil
}

// open reads what is in the file but the tensors' elements, and chooses among its sets of weights.
func (f *File) open(file io.ReaderAt, size int64, o OpenOptions) error {
	head, err := readHead(file)
	if err != nil {
		return err
	}
	var sets []*set
	switch {
	case !isIndex(head):
		sets, err = f.parse(file, size)
	case len(f.files) == 0:
		err = errors.New("an index of shards, want the weights themselves")
	default:
		var all *set
		if all, err = f.openShards(file, size); err == nil {
			sets = []*set{all}
		}
	}
	if err != nil {
		return err
	}
	if err := f.ctx.Err(); err != nil {
		return err
	}
	return f.choose(sets, o)
}

// readHead returns the first bytes of a file, by which its format is known.
func readHead(file io.ReaderAt) ([]byte, error) {
	var head [32]byte
	n, err := file.ReadAt(head[:], 0)
	if err != nil && err != io.EOF {
		return nil, err
	}
	if n == 0 {
		return nil, errors.New("the file is empty")
	}
	return head[:n], checkPointer(head[:n])
}

// parse reads a file of weights, in any format.
func (f *File) parse(file io.ReaderAt, size int64) ([]*set, error) {
	head, err := readHead(file)
	if err != nil {
		return nil, err
	}
	switch {
	case isZip(head):
		return f.openZip(file, size)
	case isLegacy(head):
		return f.openLegacy(file, size)
	case otherFormat(head) != nil:
		return nil, otherFormat(head)
	case isSafetensors(head, size):
		s, err := f.openSafetensors(file, size)
		return []*set{s}, err
	}
	return nil, unknownFormat(head, file)
}

// openFile opens a file that is closed with f.
func (f *File) openFile(path string) (io.ReaderAt, int64, error) {
	file, size, err := openRegular(path)
	if err != nil {
		return nil, 0, err
	}
	f.files = append(f.files, file)
	f.size += size
	return cancellable{f.ctx, file}, size, nil
}

// Close closes the file.
func (f *File) Close() error {
	var errs []error
	for _, file := range f.files {
		errs = append(errs, file.Close())
	}
	f.files = nil
	return errors.Join(errs...)
}

// Names lists the tensors in alphabetical order. The caller must not change the list.
func (f *File) Names() []string { return f.names }

// Lookup describes the named tensor.
func (f *File) Lookup(name string) (Info, bool) {
	t, ok := f.tensors[name]
	if !ok {
		return Info{}, false
	}
	return t.Info, true
}

// Metadata is the text that a safetensors file carries in __metadata__, or nil. The caller must not
// change it.
func (f *File) Metadata() map[string]string { return f.metadata }

// Size returns the size of the file, or of all shards together, in bytes.
func (f *File) Size() int64 { return f.size }

// Read fills dst with the named tensor by rows, converted to float32. It fails if dst has another
// number of elements than the tensor.
func (f *File) Read(name string, dst []float32) error {
	t, err := f.readable(name)
	if err != nil {
		return err
	}
	if n := t.Len(); n != len(dst) {
		return f.failed(name, fmt.Errorf("shape %v has %d elements, want %d", t.Shape, n, len(dst)))
	}
	return f.failed(name, t.read(func(at int, raw []byte) error {
		t.DType.floats(dst[at:], raw)
		return f.ctx.Err()
	}))
}

// Float32 returns the named tensor by rows, converted to float32.
func (f *File) Float32(name string) ([]float32, error) {
	t, err := f.readable(name)
	if err != nil {
		return nil, err
	}
	dst := make([]float32, t.Len())
	if err := f.Read(name, dst); err != nil {
		return nil, err
	}
	return dst, nil
}

// Float64 returns the named tensor by rows: elements of type F64 as they are, others as Float32 has
// them.
func (f *File) Float64(name string) ([]float64, error) {
	t, err := f.readable(name)
	if err != nil {
		return nil, err
	}
	dst := make([]float64, t.Len())
	if t.DType != F64 {
		x, err := f.Float32(name)
		for i, v := range x {
			dst[i] = float64(v)
		}
		return dst, err
	}
	err = t.read(func(at int, raw []byte) error {
		for i := range len(raw) / 8 {
			dst[at+i] = math.Float64frombits(binary.LittleEndian.Uint64(raw[8*i:]))
		}
		return f.ctx.Err()
	})
	return dst, f.failed(name, err)
}

// Int64 returns the named tensor of integers by rows. It fails if the elements are floating-point
// numbers.
func (f *File) Int64(name string) ([]int64, error) {
	t, err := f.readable(name)
	if err != nil {
		return nil, err
	}
	if t.DType.Float() {
		return nil, f.failed(name, fmt.Errorf("elements of type %s, want integers", t.DType))
	}
	dst := make([]int64, t.Len())
	err = t.read(func(at int, raw []byte) error {
		t.DType.ints(dst[at:], raw)
		return f.ctx.Err()
	})
	if err != nil {
		return nil, f.failed(name, err)
	}
	return dst, nil
}

var errMissing = errors.New("missing")

// Unreadable says why the named tensor cannot be read as weights, or nil if it can: it is missing
// and another object stands in its place, its elements are of a type that is not read here, or it
// is not stored as weights are.
func (f *File) Unreadable(name string) error {
	t, ok := f.tensors[name]
	switch {
	case !ok && f.foreign[name] != "":
		return fmt.Errorf("%s, not a tensor", f.foreign[name])
	case !ok:
		return errMissing
	case t.bad != nil:
		return t.bad
	case t.DType.Size() == 0:
		return fmt.Errorf("elements of type %s cannot be read", t.DType)
	}
	return nil
}

// readable returns the named tensor if its elements can be read.
func (f *File) readable(name string) (*stored, error) {
	if err := f.Unreadable(name); err != nil {
		return nil, f.failed(name, err)
	}
	return f.tensors[name], nil
}

// failed wraps an error of the named tensor; no error stays none.
func (f *File) failed(name string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("checkpoint %s: tensor %s: %w", f.Path, Clean(name), err)
}
