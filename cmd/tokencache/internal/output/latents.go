package output

import (
	"fmt"

	"github.com/tokencache/tokencache/checkpoint"
)

// Latents gathers the latents of a run's images, which may come in any order, for a safetensors
// file.
type Latents struct {
	shape  []int // [images, channels, side, side]
	size   int   // of an image's
	values []float32
	have   []bool
}

// NewLatents returns a Latents for images of [channels, side, side] values each.
func NewLatents(images, channels, side int) *Latents {
	size := channels * side * side
	return &Latents{
		shape:  []int{images, channels, side, side},
		size:   size,
		values: make([]float32, images*size),
		have:   make([]bool, images),
	}
}

// Add takes the latents of image i.
func (l *Latents) Add(i int, latents []float32) error {
	if i < 0 || i >= len(l.have) || len(latents) != l.size {
		return fmt.Errorf("latents of image %d: got %d values, want %d for an image of 0 to %d",
			i, len(latents), l.size, len(l.have)-1)
	}
	copy(l.values[i*l.size:], latents)
	l.have[i] = true
	return nil
}

// Write writes the tensor latents to path, [images, channels, side, side]. It fails if those of an
// image are missing.
func (l *Latents) Write(path string) error {
	for i, have := range l.have {
		if !have {
			return fmt.Errorf("latents %s: image %d was never finished", path, i)
		}
	}
	return checkpoint.WriteSafetensors(path, checkpoint.Content{
		Tensors: []checkpoint.Info{{Name: "latents", DType: checkpoint.F32, Shape: l.shape}},
		Read:    func(_ string, dst []float32) error { copy(dst, l.values); return nil },
	})
}

// ReadNoise returns the tensor noise of a safetensors file, [images, channels, side, side].
func ReadNoise(path string) ([]float32, error) {
	f, err := checkpoint.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Float32("noise")
}
