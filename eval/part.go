package eval

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"gonum.org/v1/gonum/mat"

	"github.com/tokencache/tokencache/internal/npz"
	"github.com/tokencache/tokencache/tensor"
)

// Part is what a network says of images First to First+N-1 of a set of Of images, so that the set
// can be evaluated from parts without its pixels. The features have their mean and scatter; the
// images whose features precision and recall need, and intervals, keep them, too.
type Part struct {
	First, N, Of           int
	Network, Preprocessing string

	pool, spatial   *Moments  // nil if the features of all images are there; spatial also of a Classifier
	features        []float32 // of all images, or of those that the whole set keeps
	spatialFeatures []float32 // likewise; nil of a Classifier
	probabilities   []float32
	classes         []int32
}

// PredictPart runs a network on images, which are those from number first on of a set of so many.
func PredictPart(ctx context.Context, n Network, images Images, first, of, threads int) (*Part, error) {
	pool := tensor.NewPool(threads)
	defer pool.Close()
	images.part = &setPart{first, of}
	p, err := n.Predict(ctx, tensor.NewGraph(pool), images, nil)
	if err != nil {
		return nil, err
	}
	part := &Part{
		First:           first,
		N:               images.Count,
		Of:              of,
		Network:         p.Network,
		Preprocessing:   p.Preprocessing,
		features:        p.Features,
		spatialFeatures: p.SpatialFeatures,
		probabilities:   p.Probabilities,
		classes:         p.Classes,
	}
	if !keepsAll(images.Count, len(p.pool.Mean)) {
		part.pool, part.spatial = p.pool, p.spatial
	}
	return part, nil
}

// keepsAll reports whether a part of n images keeps the features of all of them, of width d: they
// are then less than their scatter.
func keepsAll(n, d int) bool { return n <= d }

// setPart says which part of a set some images are.
type setPart struct{ first, of int }

// kept returns of each image whether a network that keeps the features of limit images at most, of
// the whole set, keeps this image's.
func (s Images) kept(limit, width int) []bool {
	keep := make([]bool, s.Count)
	first, of := 0, s.Count
	if s.part != nil {
		first, of = s.part.first, s.part.of
	}
	for _, i := range spread(of, limit) {
		if i >= first && i < first+s.Count {
			keep[i-first] = true
		}
	}
	if s.part != nil && keepsAll(s.Count, width) {
		for i := range keep {
			keep[i] = true
		}
	}
	return keep
}

// The arrays of a Part in an archive.
const (
	partNetwork         = "tokencache_network" // bytes of the text, as in a file of statistics
	partPreprocessing   = "tokencache_preprocessing"
	partMean            = "tokencache_mean"    // [D]
	partScatter         = "tokencache_scatter" // [D(D+1)/2], the rows of the upper triangle
	partSpatialMean     = "tokencache_mean_s"
	partSpatialScatter  = "tokencache_scatter_s"
	partFeatures        = "tokencache_features" // [n, D]
	partSpatialFeatures = "tokencache_features_s"
	partProbabilities   = "tokencache_probabilities"
	partClasses         = "tokencache_classes"
)

// Put adds the part to an archive.
func (p *Part) Put(w *npz.Writer) error {
	text := func(name, s string) error { return npz.Put(w, name, []uint8(s), len(s)) }
	floats := func(name string, x []float32, rows int) error {
		if x == nil {
			return nil
		}
		return npz.Put(w, name, x, rows, len(x)/max(rows, 1))
	}
	moments := func(mean, scatter string, m *Moments) error {
		if m == nil {
			return nil
		}
		upper := packed(m.M2)
		return errors.Join(npz.Put(w, mean, m.Mean, len(m.Mean)), npz.Put(w, scatter, upper, len(upper)))
	}
	classes := make([]int64, len(p.classes))
	for i, c := range p.classes {
		classes[i] = int64(c)
	}
	kept := p.keptRows()
	return errors.Join(
		text(partNetwork, p.Network),
		text(partPreprocessing, p.Preprocessing),
		moments(partMean, partScatter, p.pool),
		moments(partSpatialMean, partSpatialScatter, p.spatial),
		floats(partFeatures, p.features, kept),
		floats(partSpatialFeatures, p.spatialFeatures, kept),
		floats(partProbabilities, p.probabilities, p.N),
		npz.Put(w, partClasses, classes, len(classes)),
	)
}

// keptRows is the number of images whose features the part has.
func (p *Part) keptRows() int {
	if p.pool == nil || p.probabilities == nil { // a Classifier keeps all
		return p.N
	}
	kept := 0
	for _, k := range p.images().kept(inceptionKept, len(p.pool.Mean)) {
		if k {
			kept++
		}
	}
	return kept
}

// images are those of the part, without their pixels.
func (p *Part) images() Images { return Images{Count: p.N, part: &setPart{p.First, p.Of}} }

// packed returns the rows of the upper triangle.
func packed(m *mat.SymDense) []float64 {
	d := m.SymmetricDim()
	upper := make([]float64, 0, d*(d+1)/2)
	for i := range d {
		for j := i; j < d; j++ {
			upper = append(upper, m.At(i, j))
		}
	}
	return upper
}

// PartNetwork returns the identity of the network whose Part is in an archive; "" if there is none.
func PartNetwork(a *npz.Archive) string {
	if !slices.Contains(a.Names(), partNetwork) {
		return ""
	}
	name, err := readSmall[uint8](a, partNetwork, maxNetworkName)
	if err != nil {
		return ""
	}
	return string(name)
}

// ReadPart reads the Part of n images from number first on, of a set of so many, in an archive; nil
// if there is none.
func ReadPart(a *npz.Archive, first, n, of int) (*Part, error) {
	p := &Part{First: first, N: n, Of: of, Network: PartNetwork(a)}
	if p.Network == "" {
		return nil, nil
	}
	r := partReader{archive: a}
	way := r.bytes(partPreprocessing)
	p.Preprocessing = string(way)
	p.pool = r.moments(partMean, partScatter, n)
	p.spatial = r.moments(partSpatialMean, partSpatialScatter, n)
	p.features, p.spatialFeatures = r.floats(partFeatures), r.floats(partSpatialFeatures)
	p.probabilities = r.floats(partProbabilities)
	for _, c := range r.classes() {
		p.classes = append(p.classes, int32(c))
	}
	if r.err == nil {
		r.err = p.check()
	}
	return p, r.err
}

// check reports arrays whose sizes do not fit together.
func (p *Part) check() error {
	rows := p.keptRows()
	width := 0
	if rows > 0 {
		width = len(p.features) / rows
	}
	if p.pool != nil {
		width = len(p.pool.Mean)
	}
	switch {
	case width < 1 || len(p.features) != rows*width:
		return fmt.Errorf("array %s: %d features, want those of %d images", partFeatures, len(p.features), rows)
	case p.spatialFeatures != nil && len(p.spatialFeatures) != rows*(len(p.spatialFeatures)/max(rows, 1)):
		return fmt.Errorf("array %s: %d features, want those of %d images", partSpatialFeatures, len(p.spatialFeatures), rows)
	case p.probabilities != nil && len(p.probabilities) != p.N*InceptionClasses:
		return fmt.Errorf("array %s: %d probabilities, want those of %d images", partProbabilities, len(p.probabilities), p.N)
	case p.probabilities == nil && len(p.classes) != p.N:
		return fmt.Errorf("array %s: %d classes, want those of %d images", partClasses, len(p.classes), p.N)
	}
	return nil
}

// partReader reads the arrays of a Part; after the first error it reads no more.
type partReader struct {
	archive *npz.Archive
	err     error
}

func (r *partReader) array(name string) *npz.Array {
	if r.err != nil || !slices.Contains(r.archive.Names(), name) {
		return nil
	}
	array, err := r.archive.Array(name)
	r.err = err
	return array
}

func (r *partReader) bytes(name string) []uint8 {
	if r.array(name) == nil {
		return nil
	}
	b, err := readSmall[uint8](r.archive, name, maxNetworkName)
	r.err = err
	return b
}

func (r *partReader) floats(name string) []float32 {
	array := r.array(name)
	if array == nil {
		return nil
	}
	x, err := npz.Read[float32](array)
	r.err = err
	return x
}

func (r *partReader) classes() []int64 {
	array := r.array(partClasses)
	if array == nil {
		return nil
	}
	x, err := npz.Read[int64](array)
	r.err = err
	return x
}

// moments reads those of n images.
func (r *partReader) moments(mean, scatter string, n int) *Moments {
	array, upper := r.array(mean), r.array(scatter)
	if array == nil || upper == nil {
		return nil
	}
	d := array.Len()
	if d < 1 || d > maxStatWidth || upper.Len() != d*(d+1)/2 {
		r.err = fmt.Errorf("arrays %s and %s: sizes %d and %d do not fit together", mean, scatter, d, upper.Len())
		return nil
	}
	m := NewMoments(d)
	m.N = n
	var values []float64
	if m.Mean, r.err = npz.Read[float64](array); r.err == nil {
		values, r.err = npz.Read[float64](upper)
	}
	if r.err != nil {
		return nil
	}
	for i := range d {
		for j := i; j < d; j++ {
			m.M2.SetSym(i, j, values[0])
			values = values[1:]
		}
	}
	return m
}

// Merger joins the parts of a set, in their order. Parts that have the features of all their images
// give the sums that one process computes, bit for bit.
type Merger struct {
	out           *Predictions
	n             int       // images
	pool, spatial pending   // features that are not yet in the sums
	scores        scoreKeep // of the probabilities
}

// pending are features that wait until a block of the sums is full.
type pending struct{ rows []float32 }

// add adds rows to moments, in blocks as one process does.
func (p *pending) add(m *Moments, rows []float32) error {
	p.rows = append(p.rows, rows...)
	whole := len(p.rows) / (len(m.Mean) * momentsBlock) * len(m.Mean) * momentsBlock
	if err := m.Add(p.rows[:whole]); err != nil {
		return err
	}
	p.rows = append(p.rows[:0], p.rows[whole:]...)
	return nil
}

// flush adds what waits.
func (p *pending) flush(m *Moments) error {
	rows := p.rows
	p.rows = nil
	return m.Add(rows)
}

// Add adds the next part.
func (m *Merger) Add(p *Part) error {
	if p.First != m.n {
		return fmt.Errorf("outputs of images from %d on: want those from %d on", p.First, m.n)
	}
	rows := p.keptRows()
	width, wide := p.widths(rows)
	if m.out == nil {
		m.out = &Predictions{Preprocessing: p.Preprocessing, pool: NewMoments(width)}
		m.out.Network = p.Network
		if wide > 0 {
			m.out.spatial = NewMoments(wide)
		}
	}
	o := m.out
	if o.Network != p.Network || o.Preprocessing != p.Preprocessing || len(o.pool.Mean) != width ||
		(o.spatial == nil) != (wide == 0) || wide > 0 && len(o.spatial.Mean) != wide {
		return fmt.Errorf("outputs of different networks cannot be joined: %s and %s", o.Network, p.Network)
	}
	if err := m.sum(p); err != nil {
		return err
	}
	m.keep(p, rows)
	if err := m.scores.add(p.probabilities, p.N); err != nil {
		return err
	}
	o.Classes = append(o.Classes, p.classes...)
	m.n += p.N
	return nil
}

// widths are those of features and spatial features, of a part that has those of rows images; 0
// where there are none.
func (p *Part) widths(rows int) (pool, spatial int) {
	if p.pool != nil {
		pool = len(p.pool.Mean)
	} else if rows > 0 {
		pool = len(p.features) / rows
	}
	if p.spatial != nil {
		spatial = len(p.spatial.Mean)
	} else if rows > 0 {
		spatial = len(p.spatialFeatures) / rows
	}
	return pool, spatial
}

// sum adds a part to the sums.
func (m *Merger) sum(p *Part) error {
	for _, f := range []struct {
		to, own *Moments
		rows    []float32
		wait    *pending
	}{
		{m.out.pool, p.pool, p.features, &m.pool},
		{m.out.spatial, p.spatial, p.spatialFeatures, &m.spatial},
	} {
		if f.to == nil {
			continue
		}
		if f.own == nil || len(f.rows) == p.N*len(f.to.Mean) { // the features of all images are there
			if err := f.wait.add(f.to, f.rows); err != nil {
				return err
			}
			continue
		}
		if err := f.wait.flush(f.to); err != nil {
			return err
		}
		f.to.Merge(f.own)
	}
	return nil
}

// keep takes over the features that the whole set keeps, of a part that has those of rows images.
func (m *Merger) keep(p *Part, rows int) {
	o := m.out
	if p.probabilities == nil || p.pool != nil || rows == 0 {
		o.Features = append(o.Features, p.features...)
		o.SpatialFeatures = append(o.SpatialFeatures, p.spatialFeatures...)
		return
	}
	// The part has all of its own: those are left out that the set does not keep.
	width, wide := len(p.features)/rows, len(p.spatialFeatures)/rows
	for i, kept := range p.images().kept(inceptionKept, 0) {
		if kept {
			o.Features = append(o.Features, p.features[i*width:][:width]...)
			o.SpatialFeatures = append(o.SpatialFeatures, p.spatialFeatures[i*wide:][:wide]...)
		}
	}
}

// Predictions returns what was joined, as if one process had run the network on the set; nil if
// that is nothing.
func (m *Merger) Predictions() (*Predictions, error) {
	if m.out == nil {
		return nil, nil
	}
	err := m.pool.flush(m.out.pool)
	if m.out.spatial != nil && err == nil {
		err = m.spatial.flush(m.out.spatial)
	}
	m.out.score(&m.scores)
	m.out.sum()
	return m.out, err
}
