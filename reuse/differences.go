package reuse

import (
	"github.com/tokencache/tokencache/internal/kernel"
)

// mostOrder is the highest order of forecasts.
const mostOrder = 2

// history keeps, for every row of every block, what was computed of it last, and the finite differences over the positions at which it was computed:
//
//	d0 = f(p)    d1 = (d0 - d0') / (p - p')    d2 = (d1 - d1') / (p - p')
//
// where the primes are what was kept at the position p' before. Its forecast at a later position q is the Taylor series d0 + d1·h + d2·h²/2 with h = q - p, as far as
// differences exist. Rows have ages of their own.
type history struct {
	order, width int
	blocks       [][]float32 // for each block, [rows, order+1, width]
	at           [][]int32   // for each block, the position at which each row was computed last
	seen         [][]uint8   // for each block, how often each row was computed, at most order+1
}

func newHistory(blocks, rows, width, order int) *history {
	h := &history{order: order, width: width}
	for range blocks {
		h.blocks = append(h.blocks, make([]float32, rows*(order+1)*width))
		h.at = append(h.at, make([]int32, rows))
		h.seen = append(h.seen, make([]uint8, rows))
	}
	return h
}

// historyBytes returns the memory of a history.
func historyBytes(blocks, rows, width, order int) int64 {
	return int64(blocks) * int64(rows) * (int64(order+1)*int64(width)*4 + 4 + 1)
}

func (h *history) reset() {
	for i := range h.seen {
		clear(h.seen[i])
	}
}

// differences returns d0 up to d_order of a row.
func (h *history) differences(block, row int) []float32 {
	n := (h.order + 1) * h.width
	return h.blocks[block][row*n : (row+1)*n]
}

// record takes in fresh, what the block made of a row at position p, which it overwrites.
func (h *history) record(block, row, p int, fresh []float32) {
	d, w := h.differences(block, row), h.width
	seen, gap := int(h.seen[block][row]), p-int(h.at[block][row])
	if gap <= 0 {
		seen = 0 // the positions began anew
	}
	known := min(seen, h.order)
	// Each difference leaves its place to the new one, and becomes the next.
	for i := range known {
		di := d[i*w : (i+1)*w]
		kernel.Scale(di, di, -1)
		kernel.Add(di, di, fresh)
		kernel.Scale(di, di, 1/float32(gap))
		swap(di, fresh)
	}
	copy(d[known*w:(known+1)*w], fresh)
	h.at[block][row], h.seen[block][row] = int32(p), uint8(known+1)
}

// subtract sets before to after - before: an update.
func subtract(before, after []float32) {
	kernel.Scale(before, before, -1)
	kernel.Add(before, before, after)
}

// swap exchanges the contents of a and b.
func swap(a, b []float32) {
	for i, v := range a {
		a[i], b[i] = b[i], v
	}
}

// addForecast adds the forecast of a row at position p to dst.
func (h *history) addForecast(dst []float32, block, row, p int) {
	d, w := h.differences(block, row), h.width
	gap := float32(p - int(h.at[block][row]))
	factor := float32(1)
	for i := range int(h.seen[block][row]) {
		if i == 0 {
			kernel.Add(dst, dst, d[:w])
		} else {
			factor *= gap / float32(i)
			kernel.AXPY(dst, factor, d[i*w:(i+1)*w])
		}
	}
}
