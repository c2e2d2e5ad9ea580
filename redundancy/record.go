package redundancy

import (
	"math"

	"github.com/tokencache/tokencache/reuse"
	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
)

// Record is what a policy computed.
type Record struct {
	Policy        string
	Steps, Blocks int
	Tokens        int // of an image; those of a text, which are computed whenever any are, are not recorded
	Images        int

	// First is the share of each token's branches that was computed, over all blocks, for the first
	// images, each [Steps, Tokens].
	First [][]float32
	// Share is the share of a block's tokens that was computed, over images, guidance's halves and
	// branches, [Blocks][Steps].
	Share  [][]float64
	ISteps []int // the steps at which every token was computed in every block, of every image

	// Importance is alpha over images and its mean, or nil if the policy ranks no tokens.
	Importance *Importance
}

// Importance is how important a policy takes tokens to be, as means over images.
type Importance struct {
	Kind      string      // static, dynamic, update-norm, ...
	Learned   bool        // it is a predictor's, in [0,1]
	TokenMean [][]float64 // over steps, [Blocks][Tokens]
	StepMean  [][]float64 // over tokens, [Blocks][Steps]; NaN at steps where nothing is ranked
	Mean      []float64   // over blocks and tokens, [Steps]; likewise
}

// recorder records which tokens a policy computes: those whose rows reach the branches.
type recorder struct {
	observed reuse.Policy
	guided   bool // the second half of a batch is unconditional: of it only the share is recorded
	images   int  // in all
	keep     int  // images whose tokens are kept

	inner     reuse.Run
	g         *tensor.Graph
	model     seam.Model
	predictor *reuse.Predictor
	record    Record
	position  int
	samples   int       // of the batch, recorded
	done      int       // images of batches that are over
	alpha     []float64 // sums over images, [Steps, Blocks, Tokens]
	ranked    []int     // of each step: the samples that alpha sums over
}

func newRecorder(policy reuse.Policy, images, keep int, guided bool) *recorder {
	return &recorder{observed: policy, images: images, keep: min(keep, images), guided: guided}
}

// policy returns the recorded policy.
func (r *recorder) policy() reuse.Policy {
	return reuse.Observe(r.observed, reuse.Observer{
		Sites:    seam.SitesOf(seam.Attention, seam.MLP),
		Start:    r.start,
		Begin:    r.begin,
		Computed: r.computed,
		Reset:    r.reset,
	})
}

func (r *recorder) start(model seam.Model, plan reuse.Plan, _ int, run reuse.Run) error {
	m := model.Shape()
	r.model, r.inner, r.done, r.samples = model, run, 0, 0
	s := &r.record
	*s = Record{
		Policy: r.observed.String(),
		Steps:  plan.Steps(),
		Blocks: m.Blocks,
		Tokens: m.Image(),
		Images: r.images,
	}
	for range r.keep {
		s.First = append(s.First, make([]float32, s.Steps*s.Tokens))
	}
	for range s.Blocks {
		s.Share = append(s.Share, make([]float64, s.Steps))
	}
	r.alpha, r.ranked = make([]float64, s.Steps*s.Blocks*s.Tokens), make([]int, s.Steps)
	if t := tokenCacheOf(r.observed); t != nil && t.Ratio > 0 && t.Ratio < 1 {
		s.Importance = &Importance{Kind: string(t.Importance), Learned: t.Predictor != nil}
		r.predictor = t.Predictor
	}
	return nil
}

// tokenCacheOf returns the TokenCache that a policy is, or nil.
func tokenCacheOf(p reuse.Policy) *reuse.TokenCache {
	switch p := p.(type) {
	case *reuse.TokenCache:
		return p
	case *reuse.Trained:
		return p.Policy
	}
	return nil
}

func (r *recorder) begin(g *tensor.Graph, b *seam.Batch, positions []int) {
	r.g, r.position, r.samples = g, positions[0], len(positions)
	if r.guided {
		r.samples /= 2
	}
	if r.record.Importance != nil {
		r.rank(b)
	}
}

// rank takes in the importances of the pass that begins. A predictor is run on I-steps too, where
// the policy does not need it.
func (r *recorder) rank(b *seam.Batch) {
	s, text := &r.record, r.model.Shape().Text
	all := s.Tokens + text
	sums := r.alpha[r.position*s.Blocks*s.Tokens:][:s.Blocks*s.Tokens]
	if r.predictor != nil {
		alpha := r.predictor.Forward(r.g, r.model, b)
		for l := range s.Blocks {
			of := alpha.Block(r.g, l)
			for i := range r.samples * s.Tokens {
				row := i/s.Tokens*all + text + i%s.Tokens
				sums[l*s.Tokens+i%s.Tokens] += float64(of.Row(row)[0])
			}
		}
		r.ranked[r.position] += r.samples
		return
	}
	ranker, ok := r.inner.(reuse.Ranker)
	for i := 0; ok && i < r.samples; i++ {
		alpha := ranker.Importance(i)
		for j, a := range alpha {
			if l, token := j/all, j%all-text; token >= 0 {
				sums[l*s.Tokens+token] += float64(a)
			}
		}
		if alpha != nil {
			r.ranked[r.position]++
		}
	}
}

// computed takes in the rows that one of a block's two branches computes.
func (r *recorder) computed(at seam.Site, x, _ *seam.Tokens) {
	if at.Part != seam.Attention && at.Part != seam.MLP {
		return
	}
	s := &r.record
	halves := 1
	if r.guided {
		halves = 2
	}
	computed := 0
	for i, position := range x.Pos {
		token := int(position) - r.model.Shape().Text
		if token < 0 {
			continue
		}
		computed++
		sample := int(x.Rows.Sample[i]) // rows stand in the order of samples
		if image := r.done + sample; sample < r.samples && image < r.keep {
			s.First[image][r.position*s.Tokens+token] += 1 / float32(2*s.Blocks)
		}
	}
	s.Share[at.Block][r.position] += float64(computed) / float64(2*halves*s.Tokens*r.images)
}

// reset notes that a batch is over, and another begins.
func (r *recorder) reset() {
	r.done += r.samples
	r.samples = 0
}

// finish returns what was recorded.
func (r *recorder) finish() *Record {
	s := &r.record
	for p := range s.Steps {
		full := true
		for l := range s.Blocks {
			full = full && s.Share[l][p] > 1-1e-9
		}
		if full {
			s.ISteps = append(s.ISteps, p)
		}
	}
	if s.Importance != nil {
		for i := range r.alpha {
			r.alpha[i] /= float64(max(r.ranked[i/(s.Blocks*s.Tokens)], 1))
		}
		s.Importance.average(r.alpha, s.Blocks, s.Tokens, func(p int) bool { return r.ranked[p] > 0 })
	}
	return s
}

// average sets the means of alpha, [steps, blocks, tokens], over the steps that are ranked.
func (m *Importance) average(alpha []float64, blocks, tokens int, ranked func(p int) bool) {
	steps, count := len(alpha)/(blocks*tokens), 0
	m.Mean = make([]float64, steps)
	for range blocks {
		m.TokenMean = append(m.TokenMean, make([]float64, tokens))
		m.StepMean = append(m.StepMean, make([]float64, steps))
	}
	for p := range steps {
		if !ranked(p) {
			m.Mean[p] = math.NaN()
			for l := range blocks {
				m.StepMean[l][p] = math.NaN()
			}
			continue
		}
		count++
		for l := range blocks {
			for i, a := range alpha[(p*blocks+l)*tokens:][:tokens] {
				m.TokenMean[l][i] += a
				m.StepMean[l][p] += a / float64(tokens)
			}
			m.Mean[p] += m.StepMean[l][p] / float64(blocks)
		}
	}
	for l := range blocks {
		for i := range m.TokenMean[l] {
			m.TokenMean[l][i] /= float64(max(count, 1))
		}
	}
}
