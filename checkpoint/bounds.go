package checkpoint

import (
	"context"
	"io"
)

// What opening and reading a file costs is bounded by the file's size, whatever the file says.
const (
	// maxInflation bounds what the members of a zip archive, and the tensors that share storages,
	// may amount to: so many times the file's size, and never less than smallFile. Weights hardly
	// shrink, and torch.save does not compress; but somebody may have packed a file again.
	maxInflation = 8
	smallFile    = 1 << 20

	// maxTensors bounds the tensors of a file; the largest published models have some thousands.
	maxTensors = 1 << 16
)

// inflated returns how many bytes what is stored in a file of size bytes may amount to.
func inflated(size int64) int64 { return smallFile + maxInflation*size }

// allowance returns how many bytes of memory a pickle in a file of size bytes may take.
func allowance(size int64) int64 { return 32<<20 + maxInflation*size }

// cancellable is a file whose reads fail once ctx has ended.
type cancellable struct {
	ctx context.Context
	r   io.ReaderAt
}

func (c cancellable) ReadAt(p []byte, at int64) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, context.Cause(c.ctx)
	}
	return c.r.ReadAt(p, at)
}

// piecewise reads at most 64 KiB at a time, so that a cancelled context is noticed soon.
type piecewise struct{ r io.Reader }

func (p piecewise) Read(b []byte) (int, error) { return p.r.Read(b[:min(len(b), 64<<10)]) }
