package tokencache

import (
	"math"
	"sync/atomic"
)

// Client is one of those among whom an engine shares its work. While several have images in
// flight, each gets FLOPs in proportion to its weight, pass by pass: images of a client that has
// had less go first, so that one that comes late need not wait until what is in flight is
// finished. Requests without a Client share one, whose images are finished in the order in which
// they were admitted.
//
// The zero Client has weight 1. A Client serves the requests of one pipeline.
type Client struct {
	weight atomic.Uint64 // bits of a float64; 0 means 1

	// Guarded by engine.mu.
	used   float64 // FLOPs over weight, never less than the least of those in flight when it came
	flying int     // sequences
}

// SetWeight sets the client's weight from now on. Weights that are not positive numbers count as 1.
func (c *Client) SetWeight(w float64) {
	if !(w > 0 && w <= math.MaxFloat64) {
		w = 1
	}
	c.weight.Store(math.Float64bits(w))
}

// charge adds FLOPs to what a client had.
func (c *Client) charge(flops int64) {
	weight := 1.0
	if bits := c.weight.Load(); bits != 0 {
		weight = math.Float64frombits(bits)
	}
	c.used += float64(flops) / weight
}

// Load is what an engine has in hand.
type Load struct {
	Images int   // in flight: sequences
	Rows   int   // of tokens, theirs
	Bytes  int64 // reserved for their caches, activations and latents
}

// Tick is one pass of a team of workers over the sequences that it took.
type Tick struct {
	Seconds   float64
	Sequences int
	Rows      int // that it computes, as far as the policies know beforehand
}
