package train

import (
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
)

// parallel calls f(0) to f(n-1), each on a goroutine, and returns their errors joined. A panic
// becomes an error, so that a broken data set ends the training and not the process.
func parallel(n int, f func(i int) error) error {
	errs := make([]error, n)
	var wait sync.WaitGroup
	for i := range n {
		wait.Go(func() {
			defer recoverTo(&errs[i])
			errs[i] = f(i)
		})
	}
	wait.Wait()
	return errors.Join(errs...)
}

// recoverTo, deferred, turns a panic into an error with its stack.
func recoverTo(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
	}
}
