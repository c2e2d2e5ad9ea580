//go:build purego || !amd64

package kernel

func (t *tile) run(Level) { t.runGeneric() }

// Pause tells the processor that the caller is waiting in a loop for another goroutine. Portable Go
// cannot: it does nothing.
func Pause() {}
