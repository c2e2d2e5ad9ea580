package checkpoint

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
)

// push puts v on the stack, unless there was an error in making it.
func (u *unpickler) push(v any, err error) error {
	if err != nil {
		return err
	}
	if err := u.spend(slotCost); err != nil {
		return err
	}
	u.stack = append(doubled(u.stack, 1), v)
	return nil
}

// doubled returns s with room for n more. Append alone would let a long slice grow by less, and so
// copy more in all.
func doubled[T any](s []T, n int) []T {
	if len(s)+n > cap(s) {
		return slices.Grow(s, max(n, len(s)))
	}
	return s
}

// pushNew is push of a value that was made for it.
func (u *unpickler) pushNew(v any, err error) error {
	if err == nil {
		err = u.spend(objectCost)
	}
	return u.push(v, err)
}

var errUnderflow = errors.New("an instruction without its operands")

// floor is the height of the last mark, below which no instruction but popMark takes values.
func (u *unpickler) floor() int {
	if len(u.marks) == 0 {
		return 0
	}
	return u.marks[len(u.marks)-1]
}

// popN takes the n uppermost values, which must lie above the last mark.
func (u *unpickler) popN(n int) ([]any, error) {
	from := len(u.stack) - n
	if from < u.floor() {
		return nil, errUnderflow
	}
	return u.cut(from)
}

// popMark takes the last mark and everything above it.
func (u *unpickler) popMark() ([]any, error) {
	if len(u.marks) == 0 {
		return nil, errUnderflow
	}
	from := u.floor()
	u.marks = u.marks[:len(u.marks)-1]
	return u.cut(from)
}

// cut takes the values above a height.
func (u *unpickler) cut(from int) ([]any, error) {
	n := len(u.stack) - from
	if err := u.spend(int64(n) * itemCost); err != nil {
		return nil, err
	}
	items := make([]any, n)
	copy(items, u.stack[from:])
	u.stack = u.stack[:from]
	return items, nil
}

func (u *unpickler) pop() (any, error) {
	v, err := u.top()
	if err == nil {
		u.stack = u.stack[:len(u.stack)-1]
	}
	return v, err
}

// top returns the uppermost value and leaves it.
func (u *unpickler) top() (any, error) {
	if len(u.stack) <= u.floor() {
		return nil, errUnderflow
	}
	return u.stack[len(u.stack)-1], nil
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
	return u.spend(memoCost)
}
