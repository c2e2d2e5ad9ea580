package eval

import (
	"context"

	"github.com/tokencache/tokencache/tensor"
)

// Network is a network whose features images are compared by: a *Classifier or an *Inception.
type Network interface {
	// Identity tells the network, and how images are prepared for it, from others: only features of
	// equal identities can be compared.
	Identity() string
	// Predict runs the network on all images. onImage, which may be nil, is told how many are done.
	// Where ctx ends, so does Predict, after the image that it is at.
	Predict(ctx context.Context, g *tensor.Graph, images Images, onImage func(done int)) (*Predictions, error)
}

// Predictions are the outputs of a Network for a set of images.
type Predictions struct {
	Statistics

	// Features [n, D] are those of the images, or of as many of them as Inception keeps, evenly
	// spread.
	Features []float32
	// SpatialFeatures are those of the same images; nil of a Classifier.
	SpatialFeatures []float32
	// Classes are the most likely class of each image; nil of Inception, whose classes are not the
	// images'.
	Classes []int32
	// Probabilities are [images, InceptionClasses]; nil of a Classifier, and of more images than
	// maxProbabilities.
	Probabilities []float32
	// Scores are the inception scores of every InceptionScoreSplit images; nil of a Classifier.
	Scores []float64
	// Preprocessing is how images were prepared for Inception; "" of a Classifier.
	Preprocessing string

	pool, spatial *Moments // of all images; spatial is nil of a Classifier
}

// sum sets the statistics to those of the moments.
func (p *Predictions) sum() {
	p.Pool = *p.pool.Gaussian()
	if p.spatial != nil {
		p.Spatial = p.spatial.Gaussian()
	}
}

// Agreement returns, of each image that has a label, 1 if the network predicts it and 0 if not; nil
// if the network predicts no classes of the images'.
func (p *Predictions) Agreement(labels []int32) []float64 {
	var right []float64
	for i, class := range p.Classes {
		if i >= len(labels) || labels[i] < 0 {
			continue
		}
		v := 0.0
		if labels[i] == class {
			v = 1
		}
		right = append(right, v)
	}
	return right
}
