package checkpoint

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
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
	// Note says which of several things in the file was taken, such as "ema of {args, ema, model, opt}", and is empty where there was no choice.
	Note string

	tensors  map[string]*stored
	names    []string // sorted
	metadata map[string]string
	entries  []Entry
	files    []*os.File
}

// Entry is something in a file that is not one of its tensors: a name and a short description of the value.
type Entry struct{ Name, Value string }

// Open opens the checkpoint at path and recognises its format by its content. The index of a sharded safetensors checkpoint
// (model.safetensors.index.json) opens all files that it names. The caller closes it.
func Open(path string) (*File, error) { return OpenKey(path, "") }

// OpenKey is Open for a file that holds several sets of weights, as training scripts save them ({model, ema, opt, args}), of which key
// is to be taken. With an empty key it takes the ema if there is one, else the model, state_dict or params, else the only set there is.
func OpenKey(path, key string) (*File, error) {
	f := &File{Path: path, tensors: map[string]*stored{}}
	file, size, err := f.openFile(path)
	if err == nil {
		err = f.open(file, size, key)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("checkpoint %s: %w", path, err)
	}
	return f.sorted(), nil
}

// NewReader reads a checkpoint of size bytes that is not a file of its own, such as one that is embedded in a program. Errors call it by name.
// An index of shards, which names other files, is refused.
func NewReader(name string, r io.ReaderAt, size int64) (*File, error) {
	f := &File{Path: name, tensors: map[string]*stored{}}
	if err := f.open(r, size, ""); err != nil {
		f.Close()
		return nil, fmt.Errorf("checkpoint %s: %w", name, err)
	}
	return f.sorted(), nil
}

// sorted returns f with its tensors' names in order.
func (f *File) sorted() *File {
	for name := range f.tensors {
		f.names = append(f.names, name)
	}
	slices.Sort(f.names)
	return f
}

func (f *File) open(file io.ReaderAt, size int64, key string) error {
	var head [32]byte
	n, err := file.ReadAt(head[:], 0)
	if err != nil && err != io.EOF {
		return err
	}
	open := f.openSafetensors
	switch {
	case n == 0:
		return errors.New("the file is empty")
	case isZip(head[:n]):
		return f.openZip(file, size, key)
	case isLegacy(head[:n]):
		return f.openLegacy(file, size, key)
	case isIndex(head[:n]) && len(f.files) == 0:
		return errors.New("an index of shards, want the weights themselves")
	case isIndex(head[:n]):
		open = f.openShards
	case !isSafetensors(head[:n], size):
		return errors.New("unknown format: neither safetensors nor a file of torch.save")
	}
	if key != "" {
		return fmt.Errorf("no %q: a safetensors file holds one set of weights", key)
	}
	return open(file, size)
}

// openFile opens a file that is closed with f.
func (f *File) openFile(path string) (*os.File, int64, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, 0, withoutPath(err)
	}
	if info.IsDir() {
		return nil, 0, errors.New("a folder, not a file")
	}
	if !info.Mode().IsRegular() { // opening a pipe would wait for a writer
		return nil, 0, errors.New("not a regular file")
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, 0, withoutPath(err)
	}
	f.files = append(f.files, file)
	return file, info.Size(), nil
}

// withoutPath drops the path from an error of package os, where the caller names it.
func withoutPath(err error) error {
	var p *os.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
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

// Metadata is the text that a safetensors file carries in __metadata__, or nil. The caller must not change it.
func (f *File) Metadata() map[string]string { return f.metadata }

// Entries lists what else is in the file, such as a training script's arguments, in the file's order.
func (f *File) Entries() []Entry { return f.entries }

// Read fills dst with the named tensor by rows, converted to float32. It fails if dst has another number of elements than the tensor.
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
		return nil
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

// Int64 returns the named tensor of integers by rows. It fails if the elements are floating-point numbers.
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
		return nil
	})
	if err != nil {
		return nil, f.failed(name, err)
	}
	return dst, nil
}

// readable returns the named tensor if its elements can be read.
func (f *File) readable(name string) (*stored, error) {
	t, ok := f.tensors[name]
	if !ok {
		return nil, f.failed(name, errors.New("missing"))
	}
	if t.DType.Size() == 0 {
		return nil, f.failed(name, fmt.Errorf("elements of type %s cannot be read", t.DType))
	}
	return t, nil
}

// failed wraps an error of the named tensor; no error stays none.
func (f *File) failed(name string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("checkpoint %s: tensor %s: %w", f.Path, name, err)
}
