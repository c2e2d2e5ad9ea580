package checkpoint

import (
	"bufio"
	"context"
	"fmt"
	"io"
)

// A pickle is a program for a stack machine. The unpickler runs it but can only build data: it
// knows the instructions that make values, and calls nothing but the functions of globals. What it
// makes is counted in bytes, against what a file of its size may take.

// maxPickle bounds a pickle, in bytes.
const maxPickle = 64 << 20

// What values take, in bytes of memory, over the life of the stack and of the containers that they
// pass through.
const (
	slotCost   = 48 // a value on the stack, which grows by doubling
	itemCost   = 16 // a value in a container
	pairCost   = 32 // a key and a value in a dict
	objectCost = 128
	memoCost   = 64
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
	opInst           = 'i'
	opList           = 'l'
	opObj            = 'o'
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
	ctx   context.Context
	r     *bufio.Reader
	read  int64 // bytes so far
	limit int64 // of read: no string can be longer than what is left
	room  int64 // bytes of memory that values may still take
	stack []any
	marks []int // heights of the stack
	memo  map[uint64]any
	refs  map[string]DType // the storages referred to, and what their elements are
}

// newUnpickler reads from r, which has size bytes, values that take at most room bytes of memory.
func newUnpickler(ctx context.Context, r io.Reader, size, room int64) *unpickler {
	return &unpickler{
		ctx:   ctx,
		r:     bufio.NewReader(r),
		limit: min(size, maxPickle),
		room:  room,
		refs:  map[string]DType{},
	}
}

// load runs the next pickle and returns its value.
func (u *unpickler) load() (any, error) {
	u.stack, u.marks, u.memo = nil, nil, map[uint64]any{}
	for n := 1; ; n++ {
		at := u.read
		op, err := u.byte()
		if err == nil && op == opStop {
			return u.pop()
		}
		if err == nil {
			err = u.run(op)
		}
		if err == nil && n%(1<<16) == 0 {
			err = u.ctx.Err()
		}
		if err != nil {
			return nil, fmt.Errorf("pickle, byte %d: %w", at, err)
		}
	}
}

// spend counts memory that is about to be taken.
func (u *unpickler) spend(n int64) error {
	if u.room -= n; u.room < 0 {
		return fmt.Errorf("it makes far more values than a file of this size has")
	}
	return nil
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
		return u.spend(slotCost)
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
		s, err := u.text(op)
		return u.push(s, err)
	case opBinBytes, opShortBinBytes, opBinBytes8, opByteArray8:
		b, err := u.counted(op)
		return u.push(b, err)
	case opPut, opBinPut, opLongBinPut, opMemoize, opGet, opBinGet, opLongBinGet:
		return u.remember(op)
	case opGlobal, opStackGlobal:
		g, err := u.global(op)
		return u.pushNew(g, err)
	case opBinPersID:
		id, err := u.pop()
		if err != nil {
			return err
		}
		v, err := persistent(id)
		if s, ok := v.(*storageRef); ok {
			err = u.refer(s)
		}
		return u.pushNew(v, err)
	case opReduce, opNewObj, opNewObjEx, opInst, opObj:
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
