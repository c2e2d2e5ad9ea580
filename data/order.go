package data

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/bits"
	"math/rand/v2"
	"sync"
)

// orderKey sets the random numbers of an Order apart from all others of a seed.
const orderKey = "tokencache data order 1\n"

// Order gives the images of an endless shuffled sequence: element k of a seed's sequence over n
// images is the same whenever and wherever it is asked for, and every n elements, an epoch, are a
// permutation of their own. To go on in the middle of an epoch therefore takes nothing but k. It
// may be used by several goroutines at once.
type Order struct {
	n    int
	seed uint64

	mu    sync.Mutex
	epoch int64 // whose permutation is kept; -1: none
	perm  []int32
}

// NewOrder returns the sequence of a seed over n images, 1 to 2^31-1; other n are a mistake of the
// program.
func NewOrder(n int, seed uint64) *Order {
	if n < 1 || int64(n) > 1<<31-1 {
		panic(fmt.Sprintf("data: order of %d images", n))
	}
	return &Order{n: n, seed: seed, epoch: -1}
}

// At returns element k, counted from 0. The permutation of one epoch is kept, so that neighbours
// are found at once.
func (o *Order) At(k int64) int {
	if k < 0 {
		panic(fmt.Sprintf("data: element %d of an order", k))
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if epoch := k / int64(o.n); epoch != o.epoch {
		o.shuffle(epoch)
	}
	return int(o.perm[k%int64(o.n)])
}

// Reader gives images by number, as a Set does.
type Reader interface {
	Read(i int, dst []float32) error
}

// Read reads the image of element k into dst and returns its number. In place of an image that is
// broken and left out (Options.Skip) comes the next whole one of the same epoch, or after its last
// element the first ones. So what element k is depends on the seed and the files alone, not on what
// was read before.
func (o *Order) Read(k int64, from Reader, dst []float32) (int, error) {
	n := int64(o.n)
	for step := range n {
		i := o.At(k - k%n + (k+step)%n)
		if err := from.Read(i, dst); !skipped(err) {
			return i, err
		}
	}
	return 0, fmt.Errorf("data: all of the %d images are broken", n)
}

// shuffle makes the permutation of an epoch: Fisher and Yates' shuffle with ChaCha8, whose key is
// the SHA-256 of orderKey, seed and epoch, both in 8 bytes, the lowest first. Nothing here may
// change: runs that are resumed depend on it.
func (o *Order) shuffle(epoch int64) {
	key := binary.LittleEndian.AppendUint64([]byte(orderKey), o.seed)
	key = binary.LittleEndian.AppendUint64(key, uint64(epoch))
	random := rand.NewChaCha8(sha256.Sum256(key))
	if o.perm == nil {
		o.perm = make([]int32, o.n)
	}
	for i := range o.perm {
		o.perm[i] = int32(i)
	}
	for i := uint64(o.n - 1); i > 0; i-- {
		j := below(random, i+1)
		o.perm[i], o.perm[j] = o.perm[j], o.perm[i]
	}
	o.epoch = epoch
}

// below draws a number less than n, all equally likely: the upper half of the product of n and 64
// random bits, drawn anew in the few cases whose lower half would favour some numbers.
func below(random *rand.ChaCha8, n uint64) uint64 {
	for {
		high, low := bits.Mul64(random.Uint64(), n)
		if low >= -n%n {
			return high
		}
	}
}
