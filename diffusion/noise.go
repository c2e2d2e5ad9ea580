package diffusion

import (
	"crypto/sha256"
	"encoding/binary"
	"math"
	"math/rand/v2"
)

// Noise is a source of standard normal numbers for one image: its starting noise first, then one
// draw for each step.
type Noise interface {
	Normal(dst []float32)
}

// Stream is the program's own noise: an endless sequence for each pair of seed and image number, so
// that an image is the same in whatever batch it is made. The sequence is part of the program's
// interface and does not depend on the machine or on how it is cut into draws:
//
//   - key = SHA-256 of the text "tokencache noise 1", then the seed and the image number, each as 8 bytes little-endian;
//   - ChaCha8 (as in math/rand/v2) under that key gives 64-bit words; a word's upper 53 bits, times 2^-53, are a uniform u in [0, 1);
//   - each pair u1, u2 gives r*cos(2 pi u2), then r*sin(2 pi u2), with r = sqrt(-2 ln(1-u1)), in float64, rounded to float32.
//
// Logarithm, sine and cosine are those of this package, which use only operations that IEEE 754
// defines exactly.
type Stream struct {
	source *rand.ChaCha8
	spare  float32
	full   bool // spare holds the second number of a pair
}

// NewStream starts the sequence of one image.
func NewStream(seed, image uint64) *Stream {
	key := []byte("tokencache noise 1")
	key = binary.LittleEndian.AppendUint64(key, seed)
	key = binary.LittleEndian.AppendUint64(key, image)
	return &Stream{source: rand.NewChaCha8(sha256.Sum256(key))}
}

// Normal fills dst with the next numbers.
func (s *Stream) Normal(dst []float32) {
	for k := range dst {
		if s.full {
			dst[k], s.full = s.spare, false
			continue
		}
		u1, u2 := s.uniform(), s.uniform()
		r := math.Sqrt(-2 * ln(1-u1))
		sin, cos := sincosTurns(u2)
		dst[k], s.spare, s.full = float32(r*cos), float32(r*sin), true
	}
}

func (s *Stream) uniform() float64 { return float64(s.source.Uint64()>>11) * 0x1p-53 }
