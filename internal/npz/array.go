package npz

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
)

// chunk is how much of a file is taken into memory before more of it has been seen: elements and
// bytes.
const chunk = 1 << 18

// Array is one array of an archive, its header read, its elements not.
type Array struct {
	Name    string
	DType   DType
	Shape   []int // empty: a single number
	Fortran bool  // as it is in the file; what is read is in row-major order whatever this says
	entry   *entry
	header  header
}

// Len returns the number of elements.
func (a *Array) Len() int { return a.header.count }

// Bytes returns the size of all elements in the file, before it was deflated.
func (a *Array) Bytes() int64 { return int64(a.Len()) * int64(a.DType.size) }

// RowLen returns the number of elements per first index, 1 for a single number.
func (a *Array) RowLen() int { return a.header.row }

// NumRows returns the number of rows: the first size of the shape, 1 for a single number.
func (a *Array) NumRows() int {
	if len(a.Shape) == 0 {
		return 1
	}
	return a.Shape[0]
}

// Seekable says whether Seek finds any row at once: not in a deflated entry, nor in Fortran order.
func (a *Array) Seekable() bool { return a.entry.at != nil && (!a.Fortran || len(a.Shape) < 2) }

// Read returns all elements in row-major order. Integers, bool and floats can be read as floats,
// rounded if need be; integers and bool as int64; u1 and bool as uint8.
func Read[T Element](a *Array) ([]T, error) {
	rows, err := a.Rows()
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	out := []T{}
	if a.entry.at != nil { // the elements are there, one by one, in the file
		out = make([]T, 0, a.Len())
	}
	for len(out) < a.Len() {
		n := min(chunk, a.Len()-len(out))
		out = slices.Grow(out, n)[:len(out)+n]
		if err := elements(rows, out[len(out)-n:]); err != nil {
			return nil, rows.fail(err)
		}
	}
	return out, rows.fail(rows.finish())
}

// Rows returns a reader of the array's rows, which starts at the first. The caller closes it. An
// array in Fortran order is brought into memory whole.
func (a *Array) Rows() (*Rows, error) {
	r := &Rows{array: a}
	var err error
	if a.Fortran && len(a.Shape) > 1 {
		r.memory, err = a.rowMajor()
	}
	if err == nil {
		err = r.start()
	}
	if err != nil {
		return nil, r.fail(err)
	}
	return r, nil
}

// rowMajor reads an array in Fortran order and returns its elements' bytes in row-major order.
func (a *Array) rowMajor() ([]byte, error) {
	src, err := a.entry.open()
	if err != nil {
		return nil, err
	}
	defer src.Close()
	var file bytes.Buffer // grows with what comes, not with what the header says
	if n, err := io.Copy(&file, src); err != nil {
		return nil, err
	} else if n != a.entry.size {
		return nil, fmt.Errorf("%d bytes where %d should be: %w", n, a.entry.size, io.ErrUnexpectedEOF)
	}
	columns := file.Bytes()[a.header.size:]
	strides := make([]int, len(a.Shape)) // in bytes
	stride := a.DType.size
	for d, n := range a.Shape {
		strides[d] = stride
		stride *= n
	}
	rows := make([]byte, 0, len(columns))
	index := make([]int, len(a.Shape))
	for at := 0; len(rows) < len(columns); {
		rows = append(rows, columns[at:at+a.DType.size]...)
		for d := len(index) - 1; d >= 0; d-- {
			index[d]++
			at += strides[d]
			if index[d] < a.Shape[d] {
				break
			}
			at -= index[d] * strides[d]
			index[d] = 0
		}
	}
	return rows, nil
}

// Rows reads the rows of an array, one or several at a time.
type Rows struct {
	array  *Array
	row    int           // the next to be read
	src    io.ReadCloser // stands at row
	memory []byte        // all elements, if the array was brought into memory
	buf    []byte
}

// Next reads as many whole rows as fit into dst and are left, in row-major order, and returns their
// number. After the last it returns 0 and io.EOF. The checksum of an archive's entry is verified
// with its last row, unless Seek was used on one that is not deflated.
func Next[T Element](r *Rows, dst []T) (int, error) {
	left := r.array.NumRows() - r.row
	if left == 0 {
		return 0, io.EOF
	}
	n, size := left, r.array.RowLen()
	if size > 0 {
		n = min(n, len(dst)/size)
	}
	if n == 0 {
		return 0, r.fail(fmt.Errorf("a row has %d elements, the destination room for %d", size, len(dst)))
	}
	if err := elements(r, dst[:n*size]); err != nil {
		return 0, r.fail(err)
	}
	r.row += n
	if n < left {
		return n, nil
	}
	if err := r.finish(); err != nil {
		return 0, r.fail(err)
	}
	return n, nil
}

// Seek makes row the next to be read. Rows of a stored entry are found at once; in a deflated one
// all rows before it are read, from the first one if it lies behind.
func (r *Rows) Seek(row int) error {
	if row < 0 || row > r.array.NumRows() {
		return r.fail(fmt.Errorf("row %d of %d", row, r.array.NumRows()))
	}
	size := int64(r.array.RowLen()) * int64(r.array.DType.size)
	to := int64(row) * size
	var err error
	switch {
	case r.memory != nil:
		r.src = io.NopCloser(bytes.NewReader(r.memory[to:]))
	case r.array.entry.at != nil:
		r.Close()
		r.src = r.array.entry.section(r.array.header.size + to)
	default:
		if row < r.row {
			r.Close()
			err = r.start()
		}
		if err == nil {
			_, err = io.CopyN(io.Discard, r.src, int64(row-r.row)*size)
		}
	}
	if err != nil {
		return r.fail(noEOF(err))
	}
	r.row = row
	return nil
}

// Close ends the reading.
func (r *Rows) Close() error { return r.src.Close() }

// start opens the elements at the first row.
func (r *Rows) start() error {
	r.row = 0
	if r.memory != nil {
		r.src = io.NopCloser(bytes.NewReader(r.memory))
		return nil
	}
	src, err := r.array.entry.open()
	if err != nil {
		return err
	}
	if _, err := io.CopyN(io.Discard, src, r.array.header.size); err != nil {
		src.Close()
		return noEOF(err)
	}
	r.src = src
	return nil
}

// elements reads the next len(dst) elements.
func elements[T Element](r *Rows, dst []T) error {
	d := r.array.DType
	if err := convertible[T](d); err != nil {
		return err
	}
	if dst, same := any(dst).([]uint8); same && d.kind == 'u' {
		_, err := io.ReadFull(r.src, dst)
		return noEOF(err)
	}
	for len(dst) > 0 {
		n := min(len(dst), chunk/d.size)
		r.buf = slices.Grow(r.buf[:0], n*d.size)[:n*d.size]
		if _, err := io.ReadFull(r.src, r.buf); err != nil {
			return noEOF(err)
		}
		if err := decode(dst[:n], r.buf, d); err != nil {
			return err
		}
		dst = dst[n:]
	}
	return nil
}

// finish reads the end of the elements, where a checksum that does not match shows.
func (r *Rows) finish() error {
	switch n, err := r.src.Read(make([]byte, 1)); {
	case n > 0:
		return errors.New("bytes follow the last element")
	case err != nil && err != io.EOF:
		return err
	}
	return nil
}

// fail says which array err is about.
func (r *Rows) fail(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("array %q: %w", r.array.Name, err)
}
