package tokencache

import (
	"math"
	"sync/atomic"
)

// Client is one of those among whom an engine shares its work: by weighted fair queueing, pass by
// pass, in FLOPs. Each image gets a finish tag when it comes into flight: when it would be finished
// if all clients with images in flight were served at the same time, each in proportion to its
// weight. The earliest tags go first, so that a client that comes late need not wait until what is
// in flight is finished, and equal requests are finished in the order in which they came. Requests
// without a Client share one.
//
// The zero Client has weight 1. A Client serves the requests of one pipeline.
type Client struct {
	bits atomic.Uint64 // of the weight; 0 means 1

	// Guarded by engine.mu.
	last   float64 // finish tag of its newest image
	flying int     // sequences
}

// SetWeight sets the client's weight for images that come into flight from now on. Weights that are
// not positive numbers count as 1.
func (c *Client) SetWeight(w float64) {
	if !(w > 0 && w <= math.MaxFloat64) {
		w = 1
	}
	c.bits.Store(math.Float64bits(w))
}

func (c *Client) weight() float64 {
	if bits := c.bits.Load(); bits != 0 {
		return math.Float64frombits(bits)
	}
	return 1
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
