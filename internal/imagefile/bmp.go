package imagefile

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/bits"
)

// bmpFile is what the headers of a BMP file say.
type bmpFile struct {
	height, width int
	topDown       bool
	depth         int // bits of a pixel
	compression   uint32
	masks         [3]uint32 // of red, green and blue in pixels of 16 and 32 bits
	palette       [256][3]uint8
	start         int64 // offset of the pixels
}

// Ways in which the pixels of a BMP file are stored.
const (
	bmpPlain = iota
	bmpRLE8
	bmpRLE4
	bmpMasks
	bmpJPEG
	bmpPNG
	bmpMasksAlpha
)

func bmpHeader(r io.ReaderAt, size int64) (Header, error) {
	b, err := readBMPHeader(r)
	if err != nil {
		return Header{}, err
	}
	pixels := int64(b.height) * int64(b.width)
	return Header{Height: b.height, Width: b.width, memory: 4 * pixels}, nil
}

// readBMPHeader reads the file's header, the image's, of any version, and the palette.
func readBMPHeader(r io.ReaderAt) (*bmpFile, error) {
	head, err := readAt(r, 0, 18)
	if err != nil {
		return nil, err
	}
	b := &bmpFile{start: int64(binary.LittleEndian.Uint32(head[10:]))}
	size := binary.LittleEndian.Uint32(head[14:])
	if size != 12 && (size < 40 || size > 124) {
		return nil, fmt.Errorf("BMP header of %d bytes: want 12, or 40 to 124", size)
	}
	info, err := readAt(r, 14, int(size))
	if err != nil {
		return nil, err
	}
	colours, entry := uint32(0), 4
	if size == 12 { // OS/2's
		b.width, b.height = int(binary.LittleEndian.Uint16(info[4:])), int(binary.LittleEndian.Uint16(info[6:]))
		b.depth = int(binary.LittleEndian.Uint16(info[10:]))
		entry = 3
	} else {
		b.width, b.height = int(int32(binary.LittleEndian.Uint32(info[4:]))), int(int32(binary.LittleEndian.Uint32(info[8:])))
		b.depth = int(binary.LittleEndian.Uint16(info[14:]))
		b.compression = binary.LittleEndian.Uint32(info[16:])
		colours = binary.LittleEndian.Uint32(info[32:])
	}
	if b.height < 0 {
		b.height, b.topDown = -b.height, true
	}
	after := 14 + int64(size)
	if err := b.readMasks(r, info, &after); err != nil {
		return nil, err
	}
	if b.depth > 8 {
		return b, nil
	}
	if colours == 0 || colours > 1<<b.depth {
		colours = 1 << b.depth
	}
	table, err := readAt(r, after, entry*int(colours))
	if err != nil {
		return nil, err
	}
	for i := range int(colours) {
		c := table[i*entry:]
		b.palette[i] = [3]uint8{c[2], c[1], c[0]}
	}
	return b, nil
}

// readMasks checks depth and compression, and sets the masks, which follow the older headers.
func (b *bmpFile) readMasks(r io.ReaderAt, info []byte, after *int64) error {
	ok := false
	switch b.compression {
	case bmpPlain:
		switch b.depth {
		case 16:
			b.masks = [3]uint32{0x7c00, 0x3e0, 0x1f}
			ok = true
		case 1, 4, 8, 24, 32:
			b.masks = [3]uint32{0xff0000, 0xff00, 0xff}
			ok = true
		}
	case bmpRLE8:
		ok = b.depth == 8 && !b.topDown
	case bmpRLE4:
		ok = b.depth == 4 && !b.topDown
	case bmpMasks, bmpMasksAlpha:
		ok = b.depth == 16 || b.depth == 32
		masks := info[40:]
		if len(masks) < 12 {
			n := 12
			if b.compression == bmpMasksAlpha {
				n = 16
			}
			var err error
			if masks, err = readAt(r, *after, n); err != nil {
				return err
			}
			*after += int64(n)
		}
		for c := range b.masks {
			b.masks[c] = binary.LittleEndian.Uint32(masks[4*c:])
		}
	}
	if !ok {
		return fmt.Errorf("BMP of %d bits, compression %d: not supported", b.depth, b.compression)
	}
	return nil
}

func decodeBMP(ctx context.Context, file []byte) (*Image, error) {
	b, err := readBMPHeader(bytes.NewReader(file))
	if err != nil {
		return nil, err
	}
	if b.start > int64(len(file)) {
		return nil, io.ErrUnexpectedEOF
	}
	out := newImage(b.height, b.width, 3)
	data := file[b.start:]
	if b.compression == bmpRLE8 || b.compression == bmpRLE4 {
		indices, err := b.runs(ctx, data)
		if err != nil {
			return nil, err
		}
		for y := range b.height {
			paint(out.row(b.height-1-y), indices[y*b.width:][:b.width], &b.palette)
		}
		return out, nil
	}
	stride := (b.width*b.depth + 31) / 32 * 4
	if len(data)/stride < b.height {
		return nil, io.ErrUnexpectedEOF
	}
	for y := range b.height {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		to := y
		if !b.topDown {
			to = b.height - 1 - y
		}
		b.unpack(out.row(to), data[y*stride:])
	}
	return out, nil
}

// unpack writes the colours of a row.
func (b *bmpFile) unpack(dst, row []uint8) {
	switch b.depth {
	case 1, 4, 8:
		per, mask := 8/b.depth, uint8(1<<b.depth-1)
		for x := range b.width {
			v := row[x/per] >> (8 - b.depth - x%per*b.depth) & mask
			copy(dst[3*x:][:3], b.palette[v][:])
		}
	case 24:
		for x := range b.width {
			dst[3*x], dst[3*x+1], dst[3*x+2] = row[3*x+2], row[3*x+1], row[3*x]
		}
	case 16:
		for x := range b.width {
			b.separate(dst[3*x:], uint32(binary.LittleEndian.Uint16(row[2*x:])))
		}
	case 32:
		for x := range b.width {
			b.separate(dst[3*x:], binary.LittleEndian.Uint32(row[4*x:]))
		}
	}
}

// separate takes the colours out of a pixel.
func (b *bmpFile) separate(dst []uint8, pixel uint32) {
	for c, mask := range b.masks {
		if mask == 0 {
			dst[c] = 0
			continue
		}
		shift := bits.TrailingZeros32(mask)
		dst[c] = uint8(uint64(pixel&mask>>shift) * 255 / uint64(mask>>shift))
	}
}

// runs expands run lengths to the indices of all pixels, from the last row up. What is skipped has
// index 0.
func (b *bmpFile) runs(ctx context.Context, data []byte) ([]uint8, error) {
	out := make([]uint8, b.height*b.width)
	x, y := 0, 0
	put := func(v uint8) {
		if x < b.width && y < b.height {
			out[y*b.width+x] = v
		}
		x++
	}
	// half returns index i of a pair: those of 4 bits take turns.
	half := func(v uint8, i int) uint8 {
		if b.compression == bmpRLE8 {
			return v
		}
		return v >> (4 - 4*(i&1)) & 15
	}
	for len(data) >= 2 && y < b.height {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		n, v := int(data[0]), data[1]
		data = data[2:]
		switch {
		case n > 0:
			for i := range n {
				put(half(v, i))
			}
		case v == 0: // end of the row
			x, y = 0, y+1
		case v == 1: // end of the image
			return out, nil
		case v == 2: // skip
			if len(data) < 2 {
				return nil, io.ErrUnexpectedEOF
			}
			x, y = x+int(data[0]), y+int(data[1])
			data = data[2:]
		default: // as many indices
			size := int(v)
			if b.compression == bmpRLE4 {
				size = (size + 1) / 2
			}
			padded := size + size&1
			if len(data) < size {
				return nil, io.ErrUnexpectedEOF
			}
			for i := range int(v) {
				put(half(data[i*size/int(v)], i))
			}
			data = data[min(padded, len(data)):]
		}
	}
	if y < b.height-1 || y == b.height-1 && x < b.width {
		return nil, io.ErrUnexpectedEOF
	}
	return out, nil
}
