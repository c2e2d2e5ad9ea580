package reuse

import (
	"math"
	"math/rand/v2"

	"github.com/tokencache/tokencache/internal/kernel"
	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
)

// clusters are those of the tokens of the images of a batch, by k-means with L1 distances.
//
// The first centres of an image are random tokens of its own, all different; later ones start from
// the last. Tokens go to the nearest centre, the first of several, and centres to the mean of their
// tokens, until no number of a centre changes by more than 1e-4 of itself, 100 times at most. These
// are the rules of ClusCa's public code, which draws tokens more than once and sets the centre of
// an empty cluster to 0; here it stays where it was.
type clusters struct {
	k, text, image, tokens int
	seed                   uint64
	centres                *tensor.Tensor // of each sample, [samples*k, D]
	labels                 []int32        // of each sample's image tokens: the cluster
	at                     []int          // of each sample: the position of its centres, or -1

	source     rand.PCG
	random     *rand.Rand
	swap       func(i, j int)
	order      []int32 // of an image's tokens
	counts     []int   // of each cluster: its tokens
	x          *tensor.Tensor
	sample     int
	nearestRow func(i int)
}

const (
	maxClusterings   = 100
	clusterTolerance = 1e-4
)

// clustersBytes returns the memory of newClusters.
func clustersBytes(samples, k int, m *seam.Shape) int64 {
	return 4 * int64(samples) * (int64(k)*int64(m.Width) + int64(m.Image()))
}

// newClusters returns k clusters for the image tokens of each sample.
func newClusters(m *seam.Shape, samples, k int, seed uint64) *clusters {
	c := &clusters{
		k:       k,
		text:    m.Text,
		image:   m.Image(),
		tokens:  m.Tokens,
		seed:    seed,
		centres: newRows(samples*k, m.Width),
		labels:  make([]int32, samples*m.Image()),
		at:      make([]int, samples),
		order:   make([]int32, m.Image()),
		counts:  make([]int, k),
	}
	c.random = rand.New(&c.source)
	c.swap = func(i, j int) { c.order[i], c.order[j] = c.order[j], c.order[i] }
	c.nearestRow = c.nearest
	c.reset()
	return c
}

func (c *clusters) reset() {
	for s := range c.at {
		c.at[s] = -1
	}
}

// labelsOf returns the cluster of each image token of a sample.
func (c *clusters) labelsOf(s int) []int32 { return c.labels[s*c.image : (s+1)*c.image] }

// centre returns a centre of the sample.
func (c *clusters) centre(i int) []float32 { return c.centres.Row(c.sample*c.k + i) }

// token returns an image token of the sample.
func (c *clusters) token(i int) []float32 { return c.x.Row(c.sample*c.tokens + c.text + i) }

// update clusters the tokens of a sample at a position: x has those of all samples.
func (c *clusters) update(g *tensor.Graph, s, position int, x *tensor.Tensor) {
	c.x, c.sample = x, s
	if position <= c.at[s] || c.at[s] < 0 {
		c.start()
	}
	c.at[s] = position
	means := g.New(c.k, x.Cols)
	for range maxClusterings {
		g.EachRow(c.image, x.Cols*c.k, c.nearestRow)
		if c.average(means) {
			return
		}
		for i := range c.k {
			copy(c.centre(i), means.Row(i))
		}
	}
}

// start sets the sample's centres to tokens of its own.
func (c *clusters) start() {
	c.source.Seed(c.seed, 0)
	for i := range c.order {
		c.order[i] = int32(i)
	}
	c.random.Shuffle(len(c.order), c.swap)
	for i := range c.k {
		copy(c.centre(i), c.token(int(c.order[i])))
	}
}

// nearest assigns an image token of the sample to a centre.
func (c *clusters) nearest(i int) {
	x, best, least := c.token(i), 0, float32(math.Inf(1))
	for j := range c.k {
		if d := kernel.L1Diff(x, c.centre(j)); d < least {
			best, least = j, d
		}
	}
	c.labels[c.sample*c.image+i] = int32(best)
}

// average sets means to those of the clusters, and reports whether the centres are there already.
func (c *clusters) average(means *tensor.Tensor) bool {
	clear(c.counts)
	for i := range c.k {
		clear(means.Row(i))
	}
	for i, label := range c.labelsOf(c.sample) {
		kernel.Add(means.Row(int(label)), means.Row(int(label)), c.token(i))
		c.counts[label]++
	}
	settled := true
	for i, n := range c.counts {
		mean, centre := means.Row(i), c.centre(i)
		if n == 0 {
			copy(mean, centre)
			continue
		}
		kernel.Scale(mean, mean, 1/float32(n))
		for j, v := range mean {
			if math.Abs(float64(v-centre[j])) > clusterTolerance*math.Abs(float64(v)) {
				settled = false
				break
			}
		}
	}
	return settled
}
