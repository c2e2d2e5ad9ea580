package diffusion

import "fmt"

// TorchBatch draws a batch's noise from one TorchGenerator in the order of DiT's sampling loop:
// first the starting noise of all images, torch.randn(images, C, H, W), then at every step
// torch.randn_like of the whole batch. Under guidance that batch has a second half, for the null
// class, whose noise is drawn too.
//
// The loop of DiT's sample_ddp.py is reproduced by making, for each batch in turn, a TorchBatch,
// then the classes with RandInt, and then all steps. A generator seeded just before gives the noise
// of sample.py on a CPU only if nothing else was drawn there after seeding: that script builds the
// model, which draws its initial weights, in between.
type TorchBatch struct {
	generator  *TorchGenerator
	rows, size int
	draws      [][]float32 // draws that some image has yet to read, the oldest first
	oldest     int         // number of draws[0]
	read       []int       // for each image, how many draws it has read
	free       [][]float32
}

// NewTorchBatch draws the starting noise of a number of images of size values each. rows is how
// many rows of noise each step draws: twice the number of images under guidance, else their number.
func NewTorchBatch(g *TorchGenerator, images, rows, size int) *TorchBatch {
	if images < 1 || rows < images || size < 1 {
		panic(fmt.Sprintf("diffusion: noise for %d images of %d values, %d rows a step", images, size, rows))
	}
	b := &TorchBatch{generator: g, rows: rows, size: size, read: make([]int, images)}
	b.draw(images)
	return b
}

// Image is the noise of image i. Each call of its Normal, which must be for one image's size, gives
// the image's row of the next draw. Images may run ahead of one another; the draws between them are
// kept. Images of one batch are not safe for concurrent use.
func (b *TorchBatch) Image(i int) Noise { return torchImage{b, i} }

type torchImage struct {
	batch *TorchBatch
	image int
}

func (n torchImage) Normal(dst []float32) {
	b := n.batch
	checkLength("noise", len(dst), b.size)
	at := b.read[n.image] - b.oldest
	if at == len(b.draws) {
		b.draw(b.rows)
	}
	copy(dst, b.draws[at][n.image*b.size:])
	b.read[n.image]++
	b.release()
}

func (b *TorchBatch) draw(rows int) {
	var buf []float32
	if last := len(b.free) - 1; last >= 0 {
		buf, b.free = b.free[last], b.free[:last]
	} else {
		buf = make([]float32, b.rows*b.size)
	}
	b.generator.Randn(buf[:rows*b.size])
	b.draws = append(b.draws, buf)
}

// release keeps the memory of draws that all images have read for later ones.
func (b *TorchBatch) release() {
	for _, read := range b.read {
		if read == b.oldest {
			return
		}
	}
	b.free = append(b.free, b.draws[0])
	copy(b.draws, b.draws[1:])
	b.draws = b.draws[:len(b.draws)-1]
	b.oldest++
}
