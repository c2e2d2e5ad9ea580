package checkpoint

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
)

// A pickle is a program for a stack machine. The unpickler runs it but can only build data: it knows the instructions that make values, and
// calls nothing but the functions of globals.

// Bounds of what a pickle may make, whatever the size of its file.
const (
	maxPickle  = 64 << 20 // bytes
	maxObjects = 1 << 20  // tuples, lists, dicts, records and tensors, and memo entries
	maxStack   = 1 << 20  // values on the stack
)

// The instructions, by the names that Python's documentation gives them.
const (
	opMark           = '('
	opStop           = '.'
	opPop            = '0'
	opPopMark        = '1'
	opDup            = '2'
	opFloat          = 'F'
	opInt            = 'I'
	opBinInt         = 'J'
	opBinInt1        = 'K'
	opLong           = 'L'
	opBinInt2        = 'M'
	opNone           = 'N'
	opBinPersID      = 'Q'
	opReduce         = 'R'
	opBinString      = 'T'
	opShortBinString = 'U'
	opBinUnicode     = 'X'
	opAppend         = 'a'
	opBuild          = 'b'
	opGlobal         = 'c'
	opDict           = 'd'
	opEmptyDict      = '}'
	opAppends        = 'e'
	opGet            = 'g'
	opBinGet         = 'h'
	opLongBinGet     = 'j'
	opList           = 'l'
	opEmptyList      = ']'
	opPut            = 'p'
	opBinPut         = 'q'
	opLongBinPut     = 'r'
	opSetItem        = 's'
	opTuple          = 't'
	opEmptyTuple     = ')'
	opSetItems       = 'u'
	opBinFloat       = 'G'
	opBinBytes       = 'B'
	opShortBinBytes  = 'C'

	opProto        = 0x80
	opNewObj       = 0x81
	opTuple1       = 0x85
	opTuple2       = 0x86
	opTuple3       = 0x87
	opNewTrue      = 0x88
	opNewFalse     = 0x89
	opLong1        = 0x8a
	opLong4        = 0x8b
	opShortUnicode = 0x8c
	opBinUnicode8  = 0x8d
	opBinBytes8    = 0x8e
	opEmptySet     = 0x8f
	opAddItems     = 0x90
	opFrozenSet    = 0x91
	opNewObjEx     = 0x92
	opStackGlobal  = 0x93
	opMemoize      = 0x94
	opFrame        = 0x95
	opByteArray8   = 0x96
)

// unpickler runs pickles that follow one another in a source.
type unpickler struct {
	r       *bufio.Reader
	read    int64 // bytes so far
	limit   int64 // of read: no string can be longer than what is left
	stack   []any
	marks   []int // heights of the stack
	memo    map[uint64]any
	refs    map[string]DType // the storages referred to, and what their elements are
	objects int
}

// newUnpickler reads from r, which has size bytes.
func newUnpickler(r io.Reader, size int64) *unpickler {
	return &unpickler{r: bufio.NewReader(r), limit: min(size, maxPickle), refs: map[string]DType{}}
}

// load runs the next pickle and returns its value.
func (u *unpickler) load() (any, error) {
	u.stack, u.marks, u.memo = nil, nil, map[uint64]any{}
	for {
		at := u.read
		op, err := u.byte()
		if err == nil && op == opStop {
			return u.pop()
		}
		if err == nil {
			err = u.run(op)
		}
		if err == nil && u.objects > maxObjects {
			err = fmt.Errorf("more than %d objects", maxObjects)
		}
		if err == nil && max(len(u.stack), len(u.marks)) > maxStack {
			err = fmt.Errorf("more than %d values on the stack", maxStack)
		}
		if err != nil {
			return nil, fmt.Errorf("pickle, byte %d: %w", at, err)
		}
	}
}

// run runs one instruction.
func (u *unpickler) run(op byte) error {
	switch op {
	case opProto:
		version, err := u.byte()
		if err == nil && version > 5 {
			err = fmt.Errorf("protocol %d, want at most 5", version)
		}
		return err
	case opFrame: // its length helps those who read ahead
		_, err := u.uint(8)
		return err
	case opMark:
		u.marks = append(u.marks, len(u.stack))
		return nil
	case opPop:
		if n := len(u.marks); n > 0 && u.marks[n-1] == len(u.stack) {
			u.marks = u.marks[:n-1]
			return nil
		}
		_, err := u.pop()
		return err
	case opPopMark:
		_, err := u.popMark()
		return err
	case opDup:
		v, err := u.top()
		return u.push(v, err)
	case opNone:
		return u.push(nil, nil)
	case opNewTrue, opNewFalse:
		return u.push(op == opNewTrue, nil)
	case opInt, opLong, opFloat, opBinInt, opBinInt1, opBinInt2, opLong1, opLong4, opBinFloat:
		v, err := u.number(op)
		return u.push(v, err)
	case opBinUnicode, opShortUnicode, opBinUnicode8, opBinString, opShortBinString:
		b, err := u.counted(op)
		return u.push(string(b), err)
	case opBinBytes, opShortBinBytes, opBinBytes8, opByteArray8:
		b, err := u.counted(op)
		return u.push(b, err)
	case opPut, opBinPut, opLongBinPut, opMemoize, opGet, opBinGet, opLongBinGet:
		return u.remember(op)
	case opGlobal, opStackGlobal:
		g, err := u.global(op)
		return u.push(g, err)
	case opBinPersID:
		id, err := u.pop()
		if err != nil {
			return err
		}
		s, err := storageID(id)
		if err == nil {
			err = u.refer(s)
		}
		return u.pushNew(s, err)
	case opReduce, opNewObj, opNewObjEx:
		v, err := u.call(op)
		return u.pushNew(v, err)
	case opBuild:
		return u.build()
	}
	return u.collect(op)
}

// refer notes a storage, which cannot have elements of two types.
func (u *unpickler) refer(s *storageRef) error {
	if dtype, ok := u.refs[s.key]; ok && dtype != s.dtype {
		return fmt.Errorf("storage %.40q is of %s and of %s", s.key, dtype, s.dtype)
	}
	u.refs[s.key] = s.dtype
	return nil
}

// collect runs the instructions that make and fill containers.
func (u *unpickler) collect(op byte) error {
	switch op {
	case opEmptyTuple:
		return u.pushNew(tuple{}, nil)
	case opEmptyList, opEmptySet:
		return u.pushNew(&list{}, nil)
	case opEmptyDict:
		return u.pushNew(&dict{}, nil)
	case opTuple1, opTuple2, opTuple3:
		items, err := u.popN(int(op-opTuple1) + 1)
		return u.pushNew(tuple(items), err)
	case opTuple, opFrozenSet:
		items, err := u.popMark()
		return u.pushNew(tuple(items), err)
	case opList:
		items, err := u.popMark()
		return u.pushNew(&list{items}, err)
	case opAppend:
		items, err := u.popN(1)
		return u.extend(items, err)
	case opAppends, opAddItems:
		items, err := u.popMark()
		return u.extend(items, err)
	case opDict:
		items, err := u.popMark()
		if err := u.pushNew(&dict{}, err); err != nil {
			return err
		}
		return u.setItems(items, nil)
	case opSetItem:
		items, err := u.popN(2)
		return u.setItems(items, err)
	case opSetItems:
		items, err := u.popMark()
		return u.setItems(items, err)
	}
	return fmt.Errorf("instruction %#x is not one that weights need", op)
}

// extend appends to the list, or the set, on top of the stack.
func (u *unpickler) extend(items []any, err error) error {
	if err != nil {
		return err
	}
	v, err := u.top()
	if err != nil {
		return err
	}
	l, ok := v.(*list)
	if !ok {
		return fmt.Errorf("appending to %s", kind(v))
	}
	l.items = append(l.items, items...)
	return nil
}

// setItems adds keys and values to the dict on top of the stack.
func (u *unpickler) setItems(items []any, err error) error {
	if err != nil {
		return err
	}
	v, err := u.top()
	if err != nil {
		return err
	}
	d, ok := v.(*dict)
	if r, isRecord := v.(*record); isRecord { // a class that is a dict, such as collections.Counter
		if r.state == nil {
			r.state = new(dict)
		}
		d, ok = r.state.(*dict)
	}
	if !ok || len(items)%2 != 0 {
		return fmt.Errorf("setting %d items of %s", len(items), kind(v))
	}
	for i := 0; i < len(items); i += 2 {
		d.pairs = append(d.pairs, pair{items[i], items[i+1]})
	}
	return nil
}

// call runs a function, or makes an object of a class.
func (u *unpickler) call(op byte) (any, error) {
	n := 2
	if op == opNewObjEx {
		n = 3 // with keyword arguments
	}
	operands, err := u.popN(n)
	if err != nil {
		return nil, err
	}
	g, ok := operands[0].(*global)
	args, isTuple := operands[1].(tuple)
	if !ok || g.call == nil || !isTuple {
		return nil, fmt.Errorf("calling %s with %s", kind(operands[0]), kind(operands[1]))
	}
	if op == opNewObjEx {
		args = append(args[:len(args):len(args)], operands[2])
	}
	return g.call(args)
}

// build gives the object on top of the stack its attributes, of which those of records are kept, to be shown.
func (u *unpickler) build() error {
	state, err := u.pop()
	if err != nil {
		return err
	}
	v, err := u.top()
	if err != nil {
		return err
	}
	switch v := v.(type) {
	case *record:
		v.state = state
	case *dict, *view:
	default:
		return fmt.Errorf("setting attributes of %s", kind(v))
	}
	return nil
}

// global reads what a pickle names.
func (u *unpickler) global(op byte) (*global, error) {
	if op == opGlobal {
		module, err := u.line()
		if err != nil {
			return nil, err
		}
		name, err := u.line()
		if err != nil {
			return nil, err
		}
		return findGlobal(module, name)
	}
	operands, err := u.popN(2)
	if err != nil {
		return nil, err
	}
	module, ok := operands[0].(string)
	name, ok2 := operands[1].(string)
	if !ok || !ok2 {
		return nil, fmt.Errorf("a global named by %s and %s", kind(operands[0]), kind(operands[1]))
	}
	return findGlobal(module, name)
}

// remember stores the value on top of the stack in the memo, or fetches one.
func (u *unpickler) remember(op byte) error {
	var n uint64
	var err error
	switch op {
	case opBinPut, opBinGet:
		n, err = u.uint(1)
	case opLongBinPut, opLongBinGet:
		n, err = u.uint(4)
	case opMemoize:
		n = uint64(len(u.memo))
	case opPut, opGet:
		var s string
		if s, err = u.line(); err == nil {
			n, err = strconv.ParseUint(s, 10, 32)
		}
	}
	if err != nil {
		return err
	}
	if op == opGet || op == opBinGet || op == opLongBinGet {
		v, ok := u.memo[n]
		if !ok {
			return fmt.Errorf("nothing was remembered under %d", n)
		}
		return u.push(v, nil)
	}
	v, err := u.top()
	if err != nil {
		return err
	}
	u.memo[n] = v
	u.objects++
	return nil
}

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
		b, err := u.bytes(8)
		if err != nil {
			return nil, err
		}
		return math.Float64frombits(binary.BigEndian.Uint64(b)), nil
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

// counted reads a string whose length stands before it.
func (u *unpickler) counted(op byte) ([]byte, error) {
	width := 4
	switch op {
	case opShortUnicode, opShortBinString, opShortBinBytes, opLong1:
		width = 1
	case opBinUnicode8, opBinBytes8, opByteArray8:
		width = 8
	}
	n, err := u.uint(uint64(width))
	if err != nil {
		return nil, err
	}
	return u.bytes(n)
}

// uint reads a little-endian number of n bytes.
func (u *unpickler) uint(n uint64) (uint64, error) {
	b, err := u.bytes(n)
	if err != nil {
		return 0, err
	}
	var full [8]byte
	copy(full[:], b)
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

func (u *unpickler) bytes(n uint64) ([]byte, error) {
	if left := u.limit - u.read; left < 0 || n > uint64(left) {
		return nil, fmt.Errorf("%d bytes are wanted where at most %d are left", n, max(left, 0))
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(u.r, b); err != nil {
		return nil, cutOff(err)
	}
	u.read += int64(n)
	return b, nil
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

// push puts v on the stack, unless there was an error in making it.
func (u *unpickler) push(v any, err error) error {
	if err == nil {
		u.stack = append(u.stack, v)
	}
	return err
}

// pushNew is push of a value that counts as an object.
func (u *unpickler) pushNew(v any, err error) error {
	u.objects++
	return u.push(v, err)
}

var errUnderflow = errors.New("an instruction without its operands")

// popN takes the n uppermost values, which must lie above the last mark.
func (u *unpickler) popN(n int) ([]any, error) {
	floor := 0
	if len(u.marks) > 0 {
		floor = u.marks[len(u.marks)-1]
	}
	from := len(u.stack) - n
	if from < floor {
		return nil, errUnderflow
	}
	return u.cut(from), nil
}

// popMark takes the last mark and everything above it.
func (u *unpickler) popMark() ([]any, error) {
	if len(u.marks) == 0 {
		return nil, errUnderflow
	}
	from := u.marks[len(u.marks)-1]
	u.marks = u.marks[:len(u.marks)-1]
	return u.cut(from), nil
}

// cut takes the values above a height.
func (u *unpickler) cut(from int) []any {
	items := make([]any, len(u.stack)-from)
	copy(items, u.stack[from:])
	u.stack = u.stack[:from]
	return items
}

func (u *unpickler) pop() (any, error) {
	items, err := u.popN(1)
	if err != nil {
		return nil, err
	}
	return items[0], nil
}

// top returns the uppermost value and leaves it.
func (u *unpickler) top() (any, error) {
	v, err := u.pop()
	if err != nil {
		return nil, err
	}
	return v, u.push(v, nil)
}
