package redundancy

import (
	"math"

	"github.com/tokencache/tokencache/internal/kernel"
	"github.com/tokencache/tokencache/reuse"
	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
)

// The bounds of the matrices of similarity. Of more steps or tokens, some are taken at even
// distances.
const (
	maxAlikeSteps  = 100
	maxAlikeTokens = 32 // of a sample
)

// Watch describes uncached trajectories. F[p,l,n] is the update of token n in block l at the step
// p, counted from 0 in the order in which steps are taken.
type Watch struct {
	Steps, Blocks int
	Tokens        int // of an image; those of a text, which policies do not choose from, are not watched
	Images        int

	// Change of each token's update from the step before, |F[p] - F[p-1]| / |F[p]|: the error of
	// reusing it once. At step 0 it is NaN.
	First []float32   // of the first image, [Steps, Blocks, Tokens]
	Mean  [][]float64 // over tokens and images, [Blocks][Steps]
	// Size is |F[p]| of the first image's tokens, [Steps, Blocks, Tokens].
	Size []float32
	// Norm is |F[p] - F[p-1]|², the importance update-norm of a cache that is one step old, as a
	// mean over images, [Steps, Blocks, Tokens]; 0 at step 0.
	Norm []float32

	// Alike is how alike tokens are at different steps: the mean cosine of a token at one and at
	// another, for the first, the middle and the last block.
	Alike []Similarity
}

// Similarity holds cosines between steps, as means over tokens and images: symmetric matrices.
type Similarity struct {
	Block           int
	Steps           []int       // those of the rows and columns
	Updates, Output [][]float64 // of what the block adds to a token, and of the token after it
}

// watcher watches the uncached model.
type watcher struct {
	watch  Watch
	guided bool // the second half of a batch is unconditional, and is not watched
	images int  // in all

	g        *tensor.Graph
	width    int
	text     int         // tokens of a sample before those of the image
	last     [][]float32 // of each block: the updates of the step before, [rows, D]
	change   []float32   // of each row in the block that runs
	square   []float32   // likewise
	size     []float32   // likewise
	position int
	samples  int // of the batch, watched
	done     int // images of batches that are over
	alike    []*alikeness
}

// alikeness gathers what a Similarity is made of, for a batch.
type alikeness struct {
	of     *Similarity
	slot   []int // of each step: its place in of.Steps, or -1
	tokens []int // those that are kept
	// values are, of each place, updates, then outputs, of the kept tokens of all samples, each of
	// unit length or zero.
	values [][]float32
}

func newWatcher(images int, guided bool) *watcher { return &watcher{guided: guided, images: images} }

// policy returns the policy that computes everything and is watched.
func (w *watcher) policy() reuse.Policy {
	return reuse.Observe(reuse.None{}, reuse.Observer{
		Sites: seam.SitesOf(seam.Block),
		Start: w.start,
		Begin: w.begin,
		Site:  w.site,
		Reset: w.reset,
	})
}

// watchBytes is the memory that watching takes for each sample of a batch.
func watchBytes(m *seam.Shape, steps int) int64 {
	last := int64(m.Blocks) * int64(m.Image()) * int64(m.Width)
	alike := 3 * 2 * int64(min(steps, maxAlikeSteps)) * int64(min(m.Image(), maxAlikeTokens)) * int64(m.Width)
	return 4 * (last + alike)
}

func (w *watcher) start(model seam.Model, plan reuse.Plan, samples int, _ reuse.Run) error {
	if w.guided {
		samples /= 2
	}
	m, s := model.Shape(), &w.watch
	*s = Watch{Steps: plan.Steps(), Blocks: m.Blocks, Tokens: m.Image(), Images: w.images}
	w.text = m.Text
	w.width, w.last, w.alike, w.samples, w.done = m.Width, nil, nil, 0, 0
	for range s.Blocks {
		w.last = append(w.last, make([]float32, samples*s.Tokens*w.width))
		s.Mean = append(s.Mean, make([]float64, s.Steps))
	}
	for _, all := range []*[]float32{&s.First, &s.Norm, &s.Size} {
		*all = make([]float32, s.Steps*s.Blocks*s.Tokens)
	}
	for _, rows := range []*[]float32{&w.change, &w.square, &w.size} {
		*rows = make([]float32, samples*s.Tokens)
	}
	blocks := firstMiddleLast(s.Blocks)
	s.Alike = make([]Similarity, len(blocks))
	for i, block := range blocks {
		w.alike = append(w.alike, newAlikeness(&s.Alike[i], block, s.Steps, s.Tokens, samples, w.width))
	}
	return nil
}

// firstMiddleLast returns up to three different blocks.
func firstMiddleLast(blocks int) []int {
	var list []int
	for _, b := range []int{0, blocks / 2, blocks - 1} {
		if len(list) == 0 || b > list[len(list)-1] {
			list = append(list, b)
		}
	}
	return list
}

// spread returns up to limit of 0..n-1, evenly, the first and the last among them.
func spread(n, limit int) []int {
	count := min(n, limit)
	list := make([]int, count)
	for i := range list {
		if count > 1 {
			list[i] = (i*(n-1) + (count-1)/2) / (count - 1)
		}
	}
	return list
}

func newAlikeness(of *Similarity, block, steps, tokens, samples, width int) *alikeness {
	a := &alikeness{of: of, slot: make([]int, steps), tokens: spread(tokens, maxAlikeTokens)}
	of.Block, of.Steps = block, spread(steps, maxAlikeSteps)
	for p := range a.slot {
		a.slot[p] = -1
	}
	for i, p := range of.Steps {
		a.slot[p] = i
		a.values = append(a.values, make([]float32, 2*samples*len(a.tokens)*width))
		of.Updates = append(of.Updates, make([]float64, len(of.Steps)))
		of.Output = append(of.Output, make([]float64, len(of.Steps)))
	}
	return a
}

func (w *watcher) begin(g *tensor.Graph, _ *seam.Batch, positions []int) {
	w.g, w.position, w.samples = g, positions[0], len(positions)
	if w.guided {
		w.samples /= 2
	}
}

// site takes in the updates of a block.
func (w *watcher) site(at seam.Site, in, out *seam.Tokens) {
	rows := w.samples * w.watch.Tokens
	mark := w.g.Mark()
	defer w.g.Release(mark)
	update := w.g.New(rows, w.width)
	w.g.EachRow(rows, w.width, func(i int) {
		row := w.rowOf(i)
		kernel.Sub(update.Row(i), out.X.Row(row), in.X.Row(row))
		w.row(at.Block, i, update.Row(i))
	})
	w.takeChanges(at.Block)
	for _, a := range w.alike {
		if a.of.Block == at.Block && a.slot[w.position] >= 0 {
			a.keep(w, a.slot[w.position], at.Block, out.X)
		}
	}
}

// rowOf returns the row of a batch of an image's token i, counted over samples.
func (w *watcher) rowOf(i int) int {
	n := w.watch.Tokens
	return i/n*(n+w.text) + w.text + i%n
}

// row takes in the update of image token i, counted over samples, in a block.
func (w *watcher) row(block, i int, update []float32) {
	last := w.last[block][i*w.width : (i+1)*w.width]
	kernel.AXPY(last, -1, update) // the change, with the other sign
	w.square[i], w.change[i] = kernel.SumSquares(last), 0
	all := kernel.SumSquares(update)
	if w.size[i] = float32(math.Sqrt(float64(all))); all > 0 {
		w.change[i] = float32(math.Sqrt(float64(w.square[i]) / float64(all)))
	}
	copy(last, update)
}

// takeChanges takes in the changes of a block's rows.
func (w *watcher) takeChanges(block int) {
	s := &w.watch
	from := (w.position*s.Blocks + block) * s.Tokens
	first, norm := s.First[from:from+s.Tokens], s.Norm[from:from+s.Tokens]
	if w.done == 0 {
		copy(s.Size[from:], w.size[:s.Tokens])
	}
	if w.position == 0 { // there is no step before
		s.Mean[block][0] = math.NaN()
		for i := range first {
			first[i] = float32(math.NaN())
		}
		return
	}
	sum := 0.0
	for i := range w.samples * s.Tokens {
		sum += float64(w.change[i])
		norm[i%s.Tokens] += w.square[i] / float32(w.images)
	}
	s.Mean[block][w.position] += sum / float64(w.images*s.Tokens)
	if w.done == 0 {
		copy(first, w.change[:s.Tokens])
	}
}

// keep keeps some tokens of a block.
func (a *alikeness) keep(w *watcher, slot, block int, after *tensor.Tensor) {
	d, tokens := w.width, len(a.tokens)
	half := len(a.values[slot]) / 2
	w.g.EachRow(w.samples*tokens, d, func(i int) {
		row := i/tokens*w.watch.Tokens + a.tokens[i%tokens]
		unit(a.values[slot][i*d:][:d], w.last[block][row*d:][:d])
		unit(a.values[slot][half+i*d:][:d], after.Row(w.rowOf(row)))
	})
}

// unit sets dst to x at length 1.
func unit(dst, x []float32) {
	scale := float32(0)
	if n := kernel.SumSquares(x); n > 0 {
		scale = float32(1 / math.Sqrt(float64(n)))
	}
	kernel.Scale(dst, x, scale)
}

// take adds the cosines of a batch that is over.
func (a *alikeness) take(w *watcher) {
	d, rows, half := w.width, w.samples*len(a.tokens), len(a.values[0])/2
	share := 1 / float64(w.images*len(a.tokens))
	w.g.EachRow(len(a.values), len(a.values)*rows*d, func(p int) {
		for q := range p + 1 {
			for i := range rows {
				updates := kernel.Dot(a.values[p][i*d:][:d], a.values[q][i*d:][:d])
				output := kernel.Dot(a.values[p][half+i*d:][:d], a.values[q][half+i*d:][:d])
				a.of.Updates[p][q] += share * float64(updates)
				a.of.Output[p][q] += share * float64(output)
			}
		}
	})
}

// reset takes in a batch that is over, and another begins.
func (w *watcher) reset() {
	if w.samples == 0 {
		return
	}
	for _, a := range w.alike {
		a.take(w)
	}
	w.done += w.samples
	w.samples = 0
}

// finish takes in the last batch and returns what was watched.
func (w *watcher) finish() *Watch {
	w.reset()
	for _, s := range w.watch.Alike {
		for _, m := range [][][]float64{s.Updates, s.Output} {
			for p := range m {
				for q := range p {
					m[q][p] = m[p][q]
				}
			}
		}
	}
	return &w.watch
}

// BlockChange returns the mean change of a block's updates over steps; 0 if there is only one step.
func (w *Watch) BlockChange(block int) float64 {
	sum := 0.0
	for _, v := range w.Mean[block][1:] {
		sum += v / float64(w.Steps-1)
	}
	return sum
}

// MeanChange returns the mean change over steps and blocks.
func (w *Watch) MeanChange() float64 {
	sum := 0.0
	for l := range w.Blocks {
		sum += w.BlockChange(l) / float64(w.Blocks)
	}
	return sum
}

// Neighbours returns the mean of a similarity matrix next to its diagonal: that of a step and the
// next; 1 if there is only one step.
func Neighbours(m [][]float64) float64 {
	if len(m) < 2 {
		return 1
	}
	sum := 0.0
	for p := range len(m) - 1 {
		sum += m[p][p+1] / float64(len(m)-1)
	}
	return sum
}
