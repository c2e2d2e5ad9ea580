package checkpoint

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

// number reads an integer, a float, or in old protocols a bool.
func (u *unpickler) number(op byte) (any, error) {
	switch op {
	case opBinInt:
		n, err := u.uint(4)
		return int64(int32(n)), err
	case opBinInt1:
		n, err := u.uint(1)
		return int64(n), err
	case opBinInt2:
		n, err := u.uint(2)
		return int64(n), err
	case opBinFloat:
		n, err := u.uint(8)
		return math.Float64frombits(bits.ReverseBytes64(n)), err
	case opLong1, opLong4:
		b, err := u.counted(op)
		if err != nil {
			return nil, err
		}
		return integer(b), nil
	}
	s, err := u.line()
	if err != nil {
		return nil, err
	}
	switch {
	case op == opFloat:
		return strconv.ParseFloat(s, 64)
	case op == opInt && (s == "00" || s == "01"):
		return s == "01", nil
	}
	return strconv.ParseInt(strings.TrimSuffix(s, "L"), 10, 64)
}

// integer is a little-endian number in two's complement.
func integer(b []byte) any {
	if len(b) > 8 {
		return wide(b)
	}
	var full [8]byte
	copy(full[:], b)
	n := int64(binary.LittleEndian.Uint64(full[:]))
	if shift := 64 - 8*len(b); shift < 64 {
		n = n << shift >> shift // extends the sign
	}
	return n
}

// text reads a string whose length stands before it.
func (u *unpickler) text(op byte) (string, error) {
	b, err := u.counted(op)
	if err != nil {
		return "", err
	}
	return string(b), u.spend(int64(len(b)))
}

// counted reads bytes whose number stands before them.
func (u *unpickler) counted(op byte) ([]byte, error) {
	width := 4
	switch op {
	case opShortUnicode, opShortBinString, opShortBinBytes, opLong1:
		width = 1
	case opBinUnicode8, opBinBytes8, opByteArray8:
		width = 8
	}
	n, err := u.uint(width)
	if err != nil {
		return nil, err
	}
	if left := u.limit - u.read; left < 0 || n > uint64(left) {
		return nil, fmt.Errorf("%d bytes are wanted where at most %d are left", n, max(left, 0))
	}
	if err := u.spend(int64(n)); err != nil {
		return nil, err
	}
	b := make([]byte, n)
	return b, u.fill(b)
}

// uint reads a little-endian number of n bytes, at most 8.
func (u *unpickler) uint(n int) (uint64, error) {
	var full [8]byte
	if err := u.fill(full[:n]); err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint64(full[:]), nil
}

func (u *unpickler) byte() (byte, error) {
	b, err := u.r.ReadByte()
	if err != nil {
		return 0, cutOff(err)
	}
	u.read++
	return b, nil
}

// fill reads the next bytes into b.
func (u *unpickler) fill(b []byte) error {
	if _, err := io.ReadFull(u.r, b); err != nil {
		return cutOff(err)
	}
	u.read += int64(len(b))
	return nil
}

// maxLine bounds the lines of text that names, and in old protocols numbers, are.
const maxLine = 4096

func (u *unpickler) line() (string, error) {
	var b []byte
	for len(b) <= maxLine {
		c, err := u.byte()
		if err != nil {
			return "", err
		}
		if c == '\n' {
			return string(b), nil
		}
		b = append(b, c)
	}
	return "", fmt.Errorf("a line of more than %d bytes", maxLine)
}

// cutOff says of the end of the source that it came too early.
func cutOff(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return errors.New("cut off")
	}
	return err
}
