package checkpoint

import (
	"fmt"
	"io"
	"math"
)

// storage is a run of raw elements in a file, of which tensors are parts.
type storage interface {
	// open returns a reader of length bytes from offset on, which ends there and, if it finds then
	// that they are damaged, says so.
	open(offset, length int64) (io.ReadCloser, error)
}

// section is a storage that lies in a file as it is.
type section struct {
	file io.ReaderAt
	at   int64
}

func (s section) open(offset, length int64) (io.ReadCloser, error) {
	return io.NopCloser(io.NewSectionReader(s.file, s.at+offset, length)), nil
}

// stored is a tensor in a file.
type stored struct {
	Info
	data    storage
	offset  int64   // bytes from the storage's beginning to the first element
	strides []int64 // in elements; nil if the elements lie by rows
	bad     error   // why the elements cannot be read, if they cannot
}

// span returns how many bytes of its storage the tensor reaches over.
func (t *stored) span() int64 {
	n := int64(t.Len())
	if n > 0 && t.strides != nil {
		n = 1
		for d, size := range t.Shape {
			n += int64(size-1) * t.strides[d]
		}
	}
	return n * int64(t.DType.Size())
}

// chunk is how many bytes of a tensor are read at a time.
const chunk = 1 << 20

// read calls f with the tensor's raw elements by rows, some at a time; at counts the elements
// before them.
func (t *stored) read(f func(at int, raw []byte) error) error {
	if t.Len() == 0 {
		return nil
	}
	if t.strides != nil {
		return t.gather(f)
	}
	size := t.DType.Size()
	return readStorage(t.data, t.offset, int64(t.Len()*size), func(at int64, raw []byte) error {
		return f(int(at)/size, raw)
	})
}

// gather reads a tensor whose elements do not lie by rows: the part of the storage that it spans,
// and from there its elements.
func (t *stored) gather(f func(at int, raw []byte) error) error {
	size := t.DType.Size()
	span := make([]byte, t.span())
	err := readStorage(t.data, t.offset, int64(len(span)), func(at int64, raw []byte) error {
		copy(span[at:], raw)
		return nil
	})
	if err != nil {
		return err
	}
	total := t.Len()
	index := make([]int, len(t.Shape))
	buf := make([]byte, 0, min(total*size, chunk/16)) // often, so that f notices a cancelled context
	from := int64(0)                                  // position in the span, in elements
	for at := 0; at < total; {
		begin := at
		for buf = buf[:0]; at < total && len(buf)+size <= cap(buf); at++ {
			buf = append(buf, span[from*int64(size):(from+1)*int64(size)]...)
			for d := len(index) - 1; d >= 0; d-- {
				index[d]++
				from += t.strides[d]
				if index[d] < t.Shape[d] {
					break
				}
				from -= int64(index[d]) * t.strides[d]
				index[d] = 0
			}
		}
		if err := f(begin, buf); err != nil {
			return err
		}
	}
	return nil
}

// readStorage calls f with length bytes of s from offset on, a chunk at a time; at counts the bytes
// before it.
func readStorage(s storage, offset, length int64, f func(at int64, raw []byte) error) error {
	r, err := s.open(offset, length)
	if err != nil {
		return err
	}
	defer r.Close()
	buf := make([]byte, min(length, chunk))
	for at := int64(0); at < length; {
		raw := buf[:min(length-at, chunk)]
		if _, err := io.ReadFull(r, raw); err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
		if err := f(at, raw); err != nil {
			return err
		}
		at += int64(len(raw))
	}
	if _, err := r.Read(buf[:1]); err != nil && err != io.EOF {
		return err
	}
	return nil
}

// elements returns the number of elements of a shape, or an error if a dimension is negative or
// there are more than limit.
func elements(shape []int, limit int64) (int64, error) {
	limit = min(limit, math.MaxInt/8) // so that the size in bytes, and that of what is read from it, is an int
	n := int64(1)
	empty := false
	for _, d := range shape {
		if d < 0 {
			return 0, fmt.Errorf("shape %v has a negative size", shape)
		}
		empty = empty || d == 0
	}
	if empty {
		return 0, nil
	}
	for _, d := range shape {
		if int64(d) > limit/n {
			return 0, fmt.Errorf("shape %v has more elements than the file has room for", shape)
		}
		n *= int64(d)
	}
	return n, nil
}
