package imagefile

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"math"
)

// pnmFile is what the header of a PNM file says. Its kind is '1' to '6': a bitmap, grey or colours,
// as text or, from '4', as bytes.
type pnmFile struct {
	kind          byte
	height, width int
	maxValue      int // of a sample
	channels      int
}

func isPNM(start string) bool {
	return len(start) >= 3 && start[0] == 'P' && start[1] >= '1' && start[1] <= '6' &&
		(isSpace(start[2]) || start[2] == '#')
}

func isSpace(c byte) bool { return c == ' ' || c >= '\t' && c <= '\r' }

func pnmHeader(r io.ReaderAt, size int64) (Header, error) {
	p, err := readPNMHeader(bufio.NewReader(io.NewSectionReader(r, 0, size)))
	if err != nil {
		return Header{}, err
	}
	memory := int64(p.channels) * int64(p.height) * int64(p.width)
	return Header{Height: p.height, Width: p.width, memory: memory}, nil
}

// readPNMHeader reads the header and the one space after it.
func readPNMHeader(r *bufio.Reader) (*pnmFile, error) {
	var start [2]byte
	if _, err := io.ReadFull(r, start[:]); err != nil {
		return nil, err
	}
	p := &pnmFile{kind: start[1], maxValue: 1, channels: 1}
	numbers := []*int{&p.width, &p.height, &p.maxValue}
	switch p.kind {
	case '1', '4':
		numbers = numbers[:2]
	case '3', '6':
		p.channels = 3
	}
	for _, n := range numbers {
		var err error
		if *n, err = readPNMNumber(r, false); err != nil {
			return nil, err
		}
	}
	if p.maxValue < 1 || p.maxValue > 65535 {
		return nil, fmt.Errorf("PNM of samples up to %d: want 1 to 65535", p.maxValue)
	}
	return p, nil
}

// readPNMNumber reads a number after spaces and comments, and the one byte that follows it. The
// samples of a bitmap need no space between them: they are one digit each.
func readPNMNumber(r *bufio.Reader, digit bool) (int, error) {
	c, err := r.ReadByte()
	for comment := false; err == nil && (isSpace(c) || c == '#' || comment); c, err = r.ReadByte() {
		comment = (comment || c == '#') && c != '\n' && c != '\r'
	}
	if err != nil {
		return 0, err
	}
	n := 0
	for {
		if c < '0' || c > '9' {
			return 0, fmt.Errorf("PNM with %q where a number should be", c)
		}
		n = 10*n + int(c-'0')
		if digit {
			return n, nil
		}
		if n > math.MaxInt32/10 {
			return 0, fmt.Errorf("PNM with a number above %d", math.MaxInt32)
		}
		if c, err = r.ReadByte(); err == io.EOF || err == nil && isSpace(c) {
			return n, nil
		} else if err != nil {
			return 0, err
		}
	}
}

func decodePNM(ctx context.Context, file []byte) (*Image, error) {
	r := bufio.NewReader(&contextReader{ctx, bytes.NewReader(file)})
	p, err := readPNMHeader(r)
	if err != nil {
		return nil, err
	}
	out := newImage(p.height, p.width, p.channels)
	if p.kind == '4' {
		return out, readBitmap(r, out)
	}
	read := func() (int, error) { return readPNMNumber(r, p.kind == '1') }
	if p.kind > '4' {
		read = func() (int, error) {
			b, err := r.ReadByte()
			return int(b), err
		}
		if p.maxValue > 255 {
			read = func() (int, error) {
				high, err := r.ReadByte()
				if err != nil {
					return 0, err
				}
				low, err := r.ReadByte()
				return int(high)<<8 | int(low), err
			}
		}
	}
	for i := range out.Pix {
		v, err := read()
		if err != nil {
			return nil, err
		}
		if out.Pix[i], err = p.sample(v); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// sample makes a byte of a value: rounded, as Pillow does; of grey of 16 bits the upper 8.
func (p *pnmFile) sample(v int) (uint8, error) {
	if v > p.maxValue {
		return 0, fmt.Errorf("PNM sample %d: want at most %d", v, p.maxValue)
	}
	switch {
	case p.kind == '1':
		return uint8(255 * (1 - v)), nil // 1 is black
	case p.maxValue == 255:
		return uint8(v), nil
	case p.maxValue > 255 && p.channels == 1:
		return uint8(int(math.RoundToEven(float64(v)/float64(p.maxValue)*65535)) >> 8), nil
	}
	return uint8(math.RoundToEven(float64(v) / float64(p.maxValue) * 255)), nil
}

// readBitmap reads rows of 8 pixels a byte, the first highest, of which 1 is black.
func readBitmap(r io.Reader, out *Image) error {
	bits := make([]byte, ceilDiv(out.Width, 8))
	for y := range out.Height {
		if _, err := io.ReadFull(r, bits); err != nil {
			return err
		}
		for x, row := 0, out.row(y); x < len(row); x++ {
			row[x] = 255 * (^bits[x/8] >> (7 - x%8) & 1)
		}
	}
	return nil
}
