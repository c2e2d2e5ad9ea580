package eval

import (
	"context"
	"fmt"

	"github.com/tokencache/tokencache/tensor"
)

const (
	// resampleCost bounds the work of resampling a Classifier's Fréchet distance, images times
	// features². Above it, and with Inception, the distance's influence function is resampled.
	resampleCost = 2e9
	// estimateSeed makes equal evaluations give equal intervals.
	estimateSeed = 1
)

// Reference is what samples are compared with: images, or the statistics of images. With both, as
// in the ADM evaluator's files, distances are from the statistics, and precision and recall are of
// the images.
type Reference struct {
	Images     Images
	Statistics *Statistics // nil: of Images
}

// Options are the settings of an evaluation that do not change its results.
type Options struct {
	Threads    int                   // worker threads; 0: all processors
	OnProgress func(done, total int) // in images; may be nil
}

// Evaluate compares samples with a reference by the features of a network. It stops with ctx,
// between two images at the latest.
func Evaluate(ctx context.Context, samples Images, reference Reference, n Network, o Options) (*Evaluation, error) {
	known := reference.Statistics
	if known != nil {
		if err := known.Comparable(&Statistics{Network: n.Identity(), Pool: known.Pool}); err != nil {
			return nil, fmt.Errorf("reference: %w", err) // before anything is computed
		}
		if _, manifolds := n.(*Inception); !manifolds {
			reference.Images.Count = 0
		}
	}
	if c, ok := n.(*Classifier); ok {
		if err := c.checkLabels(samples.Labels); err != nil {
			return nil, fmt.Errorf("samples: %w", err)
		}
	}
	pool := tensor.NewPool(o.Threads)
	defer pool.Close()
	g := tensor.NewGraph(pool)
	total := samples.Count + reference.Images.Count
	from := func(before int) func(done int) {
		return func(done int) {
			if o.OnProgress != nil {
				o.OnProgress(before+done, total)
			}
		}
	}
	var real *Predictions
	var err error
	if known == nil || reference.Images.Count > 0 {
		if real, err = reference.Images.predictions(ctx, g, n, from(0)); err != nil {
			return nil, fmt.Errorf("reference: %w", err)
		}
	}
	if known == nil {
		known = &real.Statistics
	}
	p, err := samples.predictions(ctx, g, n, from(reference.Images.Count))
	if err != nil {
		return nil, fmt.Errorf("samples: %w", err)
	}
	e := &Evaluation{
		N:             samples.Count,
		ReferenceN:    known.Pool.N,
		Network:       n.Identity(),
		Width:         len(p.Pool.Mean),
		Preprocessing: p.Preprocessing,
		Reference:     known,
	}
	for _, note := range []string{p.Pool.Note("samples"), known.Pool.Note("reference images")} {
		if note != "" {
			e.Notes = append(e.Notes, note)
		}
	}
	if err := e.measure(p, real, known); err != nil {
		return nil, err
	}
	if right := p.Agreement(samples.Labels); len(right) > 0 {
		e.Agreement = new(Estimate)
		*e.Agreement, err = BootstrapMean(right, MeanResamples, estimateSeed)
		if err != nil {
			return nil, err
		}
	}
	if c, ok := n.(*Classifier); ok && c.byCaption != nil && samples.Prompts != nil {
		err = e.retrieve(c, p, samples.Prompts)
	}
	return e, err
}

// retrieve fills in the retrieval of prompts.
func (e *Evaluation) retrieve(c *Classifier, p *Predictions, prompts []string) error {
	r, err := c.RetrievalOf(p, prompts)
	if err != nil {
		return err
	}
	if r.N > 0 {
		e.Retrieval = r
	}
	if note := r.note(); note != "" {
		e.Notes = append(e.Notes, note)
	}
	return nil
}

// predictions returns what a network says of the images: what is known, or else it is run.
func (s Images) predictions(ctx context.Context, g *tensor.Graph, n Network, onImage func(int)) (*Predictions, error) {
	if s.Known != nil && s.Known.Network == n.Identity() {
		return s.Known, nil
	}
	return n.Predict(ctx, g, s, onImage)
}

// measure fills in the distances of samples from a reference of which real are the predictions, nil
// if only its statistics are known.
func (e *Evaluation) measure(p, real *Predictions, known *Statistics) error {
	if err := p.Comparable(known); err != nil {
		return err
	}
	var err error
	if p.spatial == nil && float64(p.Pool.N)*float64(e.Width*e.Width) <= resampleCost {
		e.Frechet, err = BootstrapFrechet(p.Features, &known.Pool, FrechetResamples, estimateSeed)
		return err
	}
	if e.Frechet, err = InfluenceFrechet(&p.Pool, &known.Pool, p.Features, estimateSeed); err != nil {
		return err
	}
	if p.Scores == nil { // of a Classifier
		return nil
	}
	if p.Spatial != nil && known.Spatial != nil {
		spatial, err := InfluenceFrechet(p.Spatial, known.Spatial, p.SpatialFeatures, estimateSeed)
		if err != nil {
			return fmt.Errorf("spatial features: %w", err)
		}
		e.SpatialFrechet = &spatial
	}
	score, err := p.inceptionScore()
	if err != nil {
		return err
	}
	e.InceptionScore = &score
	if real == nil {
		return nil
	}
	return e.manifolds(p, real)
}

// manifolds fills in precision and recall, if there are enough images.
func (e *Evaluation) manifolds(p, real *Predictions) error {
	const k = ManifoldNeighbours
	if len(real.Features) <= k*e.Width || len(p.Features) <= k*e.Width {
		return nil
	}
	good, found, err := PrecisionRecall(real.Features, p.Features, e.Width, k)
	if err != nil {
		return err
	}
	precision, err := BootstrapShare(good, estimateSeed)
	if err != nil {
		return err
	}
	recall, err := BootstrapShare(found, estimateSeed)
	e.Precision, e.Recall = &precision, &recall
	return err
}
