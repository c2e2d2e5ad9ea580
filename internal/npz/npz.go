// Package npz reads and writes NumPy's array files: .npz archives, and single .npy files as
// archives of one array.
//
// Arrays are read row by row, so that a file of fifty thousand images needs the memory of one. It
// knows file layout and number formats, and nothing of what the arrays mean.
package npz

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/tokencache/tokencache/internal/regularfile"
)

// maxInflation is the maximum ratio of deflate: a size that claims more is false.
const maxInflation = 1032

// Archive is an open .npz or .npy file. Its arrays may be read at the same time by several
// goroutines.
type Archive struct {
	names   []string
	entries map[string]*entry
	about   *entry   // AboutFile, or nil
	file    *os.File // nil if the archive was not opened by Open
}

// Open opens the .npz or .npy file at path. The caller closes it.
func Open(path string) (*Archive, error) {
	f, size, err := regularfile.Open(path)
	if errors.Is(err, regularfile.ErrNotRegular) {
		return nil, fmt.Errorf("npz %s: %w", path, err)
	}
	if err != nil {
		return nil, fmt.Errorf("npz: %w", err)
	}
	a, err := NewReader(f, size)
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("npz %s: %w", path, err)
	}
	a.file = f
	return a, nil
}

// NewReader reads the table of contents of a file of size bytes. A .npy file becomes an archive
// whose one array is arr_0, the name that np.savez gives to an array without one.
func NewReader(r io.ReaderAt, size int64) (*Archive, error) {
	start := make([]byte, len(npyMagic))
	if n, err := r.ReadAt(start, 0); n < len(start) {
		if err == io.EOF {
			err = fmt.Errorf("%d bytes are neither .npz nor .npy", n)
		}
		return nil, err
	}
	a := &Archive{entries: map[string]*entry{}}
	if bytes.Equal(start, []byte(npyMagic)) {
		return a, a.add("arr_0", &entry{at: io.NewSectionReader(r, 0, size), size: size})
	}
	z, err := zip.NewReader(r, size)
	if err != nil {
		return nil, fmt.Errorf("neither .npz nor .npy: %w", err)
	}
	for _, f := range z.File {
		name, isArray := strings.CutSuffix(f.Name, ".npy")
		if f.Name == AboutFile {
			if a.about, err = zipEntry(r, size, f); err != nil {
				return nil, fmt.Errorf("entry %q: %w", f.Name, err)
			}
		}
		if !isArray {
			continue
		}
		e, err := zipEntry(r, size, f)
		if err != nil {
			return nil, fmt.Errorf("entry %q: %w", f.Name, err)
		}
		if err := a.add(name, e); err != nil {
			return nil, err
		}
	}
	return a, nil
}

func (a *Archive) add(name string, e *entry) error {
	if a.entries[name] != nil {
		return fmt.Errorf("two arrays are named %q", name)
	}
	a.names = append(a.names, name)
	a.entries[name] = e
	return nil
}

// Close closes the file, if Open opened it.
func (a *Archive) Close() error {
	if a.file == nil {
		return nil
	}
	return a.file.Close()
}

// Names returns the arrays' names in the file's order, without the ending .npy. Entries that are
// not arrays are left out.
func (a *Archive) Names() []string { return slices.Clone(a.names) }

// AboutFile is the name of an archive's entry that says what made its arrays. NumPy and programs
// that read arrays by their names pass over it.
const AboutFile = "about.json"

// maxAbout bounds the text of AboutFile, in bytes.
const maxAbout = 1 << 24

// ErrNoAbout reports an archive without AboutFile.
var ErrNoAbout = errors.New("there is no " + AboutFile + " in it")

// About returns the text of AboutFile. An archive without it is ErrNoAbout.
func (a *Archive) About() ([]byte, error) {
	switch {
	case a.about == nil:
		return nil, ErrNoAbout
	case a.about.size > maxAbout:
		return nil, fmt.Errorf("%s: %d bytes, want at most %d", AboutFile, a.about.size, maxAbout)
	}
	r, err := a.about.open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

// Array reads the header of the named array. The error of a missing one lists those there are.
func (a *Archive) Array(name string) (*Array, error) {
	e := a.entries[name]
	if e == nil {
		return nil, fmt.Errorf("no array %q: the file has %s", name, strings.Join(a.names, ", "))
	}
	h, err := e.header()
	if err != nil {
		return nil, fmt.Errorf("array %q: %w", name, err)
	}
	return &Array{Name: name, DType: h.dtype, Shape: h.shape, Fortran: h.fortran, entry: e, header: h}, nil
}

// entry is where the bytes of one .npy file are.
type entry struct {
	at   *io.SectionReader // nil if deflated
	file *zip.File         // nil if the .npy is not in a zip archive
	size int64             // of the .npy, inflated
}

func zipEntry(r io.ReaderAt, size int64, f *zip.File) (*entry, error) {
	const encrypted = 1
	packed, whole := f.CompressedSize64, f.UncompressedSize64
	switch {
	case f.Flags&encrypted != 0:
		return nil, errors.New("is encrypted")
	case packed > uint64(size):
		return nil, fmt.Errorf("claims %d bytes of a file of %d", packed, size)
	case f.Method == zip.Store && packed != whole:
		return nil, fmt.Errorf("is stored, yet %d bytes are said to be %d", packed, whole)
	case f.Method == zip.Deflate && whole/maxInflation > packed:
		return nil, fmt.Errorf("claims that %d bytes inflate to %d, which they cannot", packed, whole)
	case f.Method != zip.Store && f.Method != zip.Deflate:
		return nil, fmt.Errorf("is packed by zip method %d, which is not supported (stored and deflated are)", f.Method)
	}
	e := &entry{file: f, size: int64(whole)}
	if f.Method == zip.Store {
		offset, err := f.DataOffset()
		if err != nil {
			return nil, err
		}
		if offset > size-e.size {
			return nil, fmt.Errorf("claims bytes %d to %d of a file of %d", offset, offset+e.size, size)
		}
		e.at = io.NewSectionReader(r, offset, e.size)
	}
	return e, nil
}

// open returns the entry's bytes from the first on. Those of a zip archive are checked against
// their checksum at the end.
func (e *entry) open() (io.ReadCloser, error) {
	if e.file != nil {
		return e.file.Open()
	}
	return e.section(0), nil
}

// section returns the bytes of an entry that is not deflated, from offset on.
func (e *entry) section(offset int64) io.ReadCloser {
	return io.NopCloser(io.NewSectionReader(e.at, offset, e.size-offset))
}

func (e *entry) header() (header, error) {
	r, err := e.open()
	if err != nil {
		return header{}, err
	}
	defer r.Close()
	return readHeader(r, e.size)
}
