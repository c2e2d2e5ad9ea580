package reuse

import "github.com/tokencache/tokencache/seam"

// How guidance's two halves of an image decide.
const (
	SeparateHalves = "separate" // each by itself
	JointHalves    = "joint"    // alike, by the mean over both
)

// twins holds for each sample of a pass the one that is the other half of its image under guidance,
// or -1 if there is none.
type twins []int

// pair takes in the halves of a batch.
func (t twins) pair(b *seam.Batch, samples int) {
	t.part(samples)
	for s, other := range b.Unconditional {
		if other >= 0 {
			t[s], t[other] = other, s
		}
	}
}

// part makes every sample one without another half.
func (t twins) part(samples int) {
	for s := range samples {
		t[s] = -1
	}
}
