// Package formula fills the weights of a model from a formula over the tensors' names, so that
// full-size networks can be compared with other implementations, and timed, without their files.
//
// It knows names, shapes and numbers. It knows no model and no file.
package formula

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// Unit fills dst with the pseudorandom float32 numbers in [-1,1) of a name. Element i is a 32-bit
// hash of the name's FNV-1a hash and of i. All other functions derive from it.
func Unit(name string, dst []float32) { fill(hash(name), 0, 1, dst) }

// Uniform fills dst with the pseudorandom numbers in offset±scale of a name.
func Uniform(name string, offset, scale float64, dst []float32) { fill(hash(name), offset, scale, dst) }

// Fill fills dst with the tensor of the given name and shape, by rows:
//
//   - an embedding table: uniform in ±0.5; a table of relative position biases: in ±1;
//   - any other tensor of two or more dimensions: uniform, with variance 1/fan-in, where fan-in is
//     the number of elements per first index; divided by 8 for T5's queries, as T5 does not scale
//     its scores;
//   - the weight of a norm: uniform in 1±0.1; anything else of one dimension: in ±0.1.
//
// Fixed position embeddings have another formula: see Source.Positions.
func Fill(name string, shape []int, dst []float32) {
	offset, scale := 0.0, 0.1
	switch {
	case strings.Contains(name, "relative_position_bias_table"), strings.HasSuffix(name, "relative_attention_bias.weight"):
		scale = 1
	case strings.Contains(name, "embedding_table"), strings.HasSuffix(name, "shared.weight"):
		scale = 0.5
	case len(shape) >= 2:
		scale = math.Sqrt(3 / float64(len(dst)/shape[0]))
		if strings.HasSuffix(name, "SelfAttention.q.weight") {
			scale /= 8
		}
	case strings.Contains(name, "norm") && strings.HasSuffix(name, "weight"):
		offset = 1
	}
	fill(hash(name), offset, scale, dst)
}

// hash is FNV-1a of 32 bits.
func hash(s string) uint32 {
	h := uint32(2166136261)
	for i := range len(s) {
		h = (h ^ uint32(s[i])) * 16777619
	}
	return h
}

func fill(seed uint32, offset, scale float64, dst []float32) {
	for i := range dst {
		v := seed + uint32(i)*0x9E3779B1
		v ^= v >> 16
		v *= 0x85EBCA6B
		v ^= v >> 13
		v *= 0xC2B2AE35
		v ^= v >> 16
		u := float64(v)/(1<<31) - 1 // exact
		dst[i] = float32(offset + float64(scale*u))
	}
}

// Source provides the tensors of a model by name; it is an nn.Source.
type Source struct {
	// Positions, if not nil, fills the fixed position embeddings: the tensors named pos_embed and
	// decoder_pos_embed.
	Positions func(name string, shape []int, dst []float32)

	shapes map[string][]int
}

// Add adds a tensor.
func (s *Source) Add(name string, shape ...int) {
	if s.shapes == nil {
		s.shapes = make(map[string][]int)
	}
	s.shapes[name] = slices.Clone(shape)
}

// Read fills dst with the named tensor, by rows. It fails if the source has no such tensor or dst
// is not of its size.
func (s *Source) Read(name string, dst []float32) error {
	shape, ok := s.shapes[name]
	if !ok {
		return fmt.Errorf("tensor %s is missing", name)
	}
	n := 1
	for _, d := range shape {
		n *= d
	}
	if n != len(dst) {
		return fmt.Errorf("tensor %s: shape %v has %d elements, want %d", name, shape, n, len(dst))
	}
	if name == "pos_embed" || name == "decoder_pos_embed" {
		if s.Positions == nil {
			return fmt.Errorf("tensor %s: nothing gives position embeddings", name)
		}
		s.Positions(name, shape, dst)
		return nil
	}
	Fill(name, shape, dst)
	return nil
}
