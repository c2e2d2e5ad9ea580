package diffusion

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestTorchBatch holds the order of draws of DiT's loop, with images reading in lockstep and out of
// it.
func TestTorchBatch(t *testing.T) {
	const images, size, steps = 2, 64, 3
	const rows = 2 * images
	reference := NewTorchGenerator(5, TorchAVX2)
	want := make([][]float32, 1+steps)
	for k := range want {
		n := rows
		if k == 0 {
			n = images
		}
		want[k] = make([]float32, n*size)
		reference.Randn(want[k])
	}
	for name, order := range map[string][]int{
		"lockstep": {0, 1, 0, 1, 0, 1, 0, 1},
		"apart":    {1, 1, 1, 0, 0, 0, 0, 1},
	} {
		g := NewTorchGenerator(5, TorchAVX2)
		batch := NewTorchBatch(g, images, rows, size)
		read := make([]int, images)
		for _, image := range order {
			got := make([]float32, size)
			batch.Image(image).Normal(got)
			if diff := cmp.Diff(want[read[image]][image*size:(image+1)*size], got); diff != "" {
				t.Errorf("%s: image %d, draw %d:\n%s", name, image, read[image], diff)
			}
			read[image]++
		}
		next, wantNext := make([]float32, 1), make([]float32, 1)
		g.Rand(next)
		saved := *reference
		saved.Rand(wantNext)
		if next[0] != wantNext[0] {
			t.Errorf("%s: the generator is not where the reference is after the last draw", name)
		}
	}
}

// TestTorchBatchKeepsNoMemory: in lockstep one buffer serves all draws.
func TestTorchBatchKeepsNoMemory(t *testing.T) {
	batch := NewTorchBatch(NewTorchGenerator(0, TorchAVX2), 2, 4, 64)
	dst := make([]float32, 64)
	draw := func() {
		batch.Image(0).Normal(dst)
		batch.Image(1).Normal(dst)
	}
	draw()
	if n := testing.AllocsPerRun(20, draw); n > 2 { // the two interface values
		t.Errorf("%v allocations a step", n)
	}
	if held := len(batch.draws) + len(batch.free); held != 1 {
		t.Errorf("%d buffers held", held)
	}
}

func BenchmarkTorchGenerator(b *testing.B) {
	dst := make([]float32, 4*32*32)
	g := NewTorchGenerator(0, TorchAVX2)
	b.SetBytes(int64(4 * len(dst)))
	for b.Loop() {
		g.Randn(dst)
	}
}
