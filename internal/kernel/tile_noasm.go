//go:build purego || !(amd64 || arm64)

package kernel

func (t *tile) run(kind tileKind) { t.runPortable(kind) }

// Pause tells the processor that the caller is waiting in a loop for another goroutine. Portable Go
// cannot: it does nothing.
func Pause() {}
