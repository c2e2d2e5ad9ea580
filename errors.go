package tokencache

import (
	"errors"
	"fmt"

	"github.com/tokencache/tokencache/diffusion"
)

// ErrClosed is returned by a pipeline that was closed or is closing.
var ErrClosed = errors.New("the pipeline is closed")

// FieldError reports a field of a Request or of Options that has no meaning for the model: which,
// what it was and what is wanted. The caller can mend it.
type FieldError = diffusion.FieldError

// OverloadedError reports a request that found the queue full. Later it may be taken.
type OverloadedError struct {
	Waiting int // requests in the queue
	Limit   int
}

func (e *OverloadedError) Error() string {
	return fmt.Sprintf("overloaded: %d requests are waiting, at most %d may", e.Waiting, e.Limit)
}

// LimitError reports a request that can never be taken, as one image of it needs more than there
// is.
type LimitError struct {
	What  string // cache memory of the request, memory or rows of the engine
	Need  int64
	Limit int64
}

func (e *LimitError) Error() string {
	if e.What == limitRows {
		return fmt.Sprintf("one image needs %d %s, the limit is %d", e.Need, e.What, e.Limit)
	}
	const mb = 1 << 20
	return fmt.Sprintf("one image needs %.1f MB of %s, the limit is %.1f MB", float64(e.Need)/mb, e.What, float64(e.Limit)/mb)
}

// What a LimitError is about.
const (
	limitCache  = "cache memory"
	limitMemory = "memory"
	limitRows   = "rows a tick"
)

// NotFiniteError reports numbers that are not finite where an image was in the making: weights or
// settings that the model cannot compute with.
type NotFiniteError struct {
	Index int // of the image
	Step  int // from 0
}

func (e *NotFiniteError) Error() string {
	return fmt.Sprintf("image %d: the model's prediction at step %d is not finite (NaN or infinite)", e.Index, e.Step)
}

// PanicError reports a panic in the model or in a policy while it worked on a request. Other
// requests are not affected.
type PanicError struct {
	Value any
	Stack []byte
}

func (e *PanicError) Error() string { return fmt.Sprintf("panic while generating: %v", e.Value) }
