package npz

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"math/bits"
	"strconv"
	"strings"
)

const (
	npyMagic  = "\x93NUMPY"
	maxHeader = 1 << 16 // bytes; NumPy itself refuses more than 10,000 unless told
	maxDims   = 64      // NumPy's own limit
	alignment = 64      // of the first element, in the file
)

// header is what a .npy file says before its elements.
type header struct {
	dtype   DType
	shape   []int
	fortran bool
	size    int64 // of the header, that is where the elements begin
	count   int   // elements
	row     int   // elements per first index
}

// readHeader reads the header of a .npy file of size bytes, versions 1 to 3, and checks that the
// elements it announces are exactly what the rest of the file holds.
func readHeader(r io.Reader, size int64) (header, error) {
	var fixed [12]byte // magic, version, length of the text: 2 bytes in version 1, else 4
	if _, err := io.ReadFull(r, fixed[:10]); err != nil {
		return header{}, fmt.Errorf("read header: %w", noEOF(err))
	}
	if string(fixed[:6]) != npyMagic {
		return header{}, errors.New("not a .npy file: the magic bytes are missing")
	}
	start, length := int64(10), int64(binary.LittleEndian.Uint16(fixed[8:]))
	switch major := fixed[6]; major {
	case 1:
	case 2, 3:
		if _, err := io.ReadFull(r, fixed[10:]); err != nil {
			return header{}, fmt.Errorf("read header: %w", noEOF(err))
		}
		start, length = 12, int64(binary.LittleEndian.Uint32(fixed[8:]))
	default:
		return header{}, fmt.Errorf(".npy version %d is not supported (1, 2 and 3 are)", major)
	}
	if length > maxHeader || length > size-start {
		return header{}, fmt.Errorf("header of %d bytes in a file of %d", length, size)
	}
	text := make([]byte, length)
	if _, err := io.ReadFull(r, text); err != nil {
		return header{}, fmt.Errorf("read header: %w", noEOF(err))
	}
	h, err := parseHeader(string(text))
	if err != nil {
		return header{}, fmt.Errorf("header: %w", err)
	}
	h.size = start + length
	if have, want := size-h.size, int64(h.count)*int64(h.dtype.size); have != want {
		return header{}, fmt.Errorf("shape %v of %s takes %d bytes, the file has %d", h.shape, h.dtype, want, have)
	}
	return h, nil
}

// noEOF makes the end of a file that should go on an error that says so.
func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// measure fills in count and row from shape and dtype; sizes beyond the machine's integers are an
// error.
func (h *header) measure() error {
	row, err := product(h.shape[min(1, len(h.shape)):], h.dtype.size)
	if err != nil {
		return err
	}
	h.row, h.count = row, row
	if len(h.shape) > 0 {
		h.count, err = product(h.shape, h.dtype.size)
	}
	return err
}

// product multiplies sizes; in bytes, at size each, the result is below half of the largest int64.
func product(sizes []int, size int) (int, error) {
	n, limit := uint64(1), uint64(math.MaxInt/2/size)
	for _, s := range sizes {
		high, low := bits.Mul64(n, uint64(s))
		if high != 0 || low > limit {
			return 0, fmt.Errorf("shape %v is too large", sizes)
		}
		n = low
	}
	return int(n), nil
}

// formatHeader is the header that NumPy writes, version 1.0: padded so that the elements are
// aligned.
func formatHeader(dtype DType, shape []int) ([]byte, error) {
	var dims strings.Builder
	for i, n := range shape {
		if n < 0 {
			return nil, fmt.Errorf("shape %v has a negative size", shape)
		}
		if i > 0 {
			dims.WriteByte(' ')
		}
		dims.WriteString(strconv.Itoa(n))
		if i == 0 || i < len(shape)-1 {
			dims.WriteByte(',')
		}
	}
	text := fmt.Sprintf("{'descr': '%s', 'fortran_order': False, 'shape': (%s), }", dtype, dims.String())
	const fixed = len(npyMagic) + 4
	length := (fixed+len(text)+1+alignment-1)/alignment*alignment - fixed
	if len(shape) > maxDims || length > math.MaxUint16 {
		return nil, fmt.Errorf("%d dimensions are too many", len(shape))
	}
	b := append([]byte(npyMagic), 1, 0)
	b = binary.LittleEndian.AppendUint16(b, uint16(length))
	b = append(b, text...)
	for len(b) < fixed+length-1 {
		b = append(b, ' ')
	}
	return append(b, '\n'), nil
}
