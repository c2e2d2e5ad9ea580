package eval

import (
	"context"
	"fmt"

	"github.com/tokencache/tokencache/internal/raster"
	"github.com/tokencache/tokencache/tensor"
)

const (
	inceptionBatch = 8      // images of a forward pass of Predict
	inceptionKept  = 10_000 // images whose features Predict keeps
)

// Predict implements Network, for images of any sizes of 1 or 3 channels. Of more than 10,000
// images it keeps the features of 10,000.
func (n *Inception) Predict(ctx context.Context, g *tensor.Graph, images Images,
	onImage func(done int)) (*Predictions, error) {
	s := &inceptionOutputs{
		pool:    NewMoments(InceptionPool),
		spatial: NewMoments(InceptionSpatial),
		keep:    images.kept(inceptionKept, InceptionPool),
		out:     &Predictions{Preprocessing: n.preprocessing.String()},
		scores:  scoreKeep{all: images.part != nil}, // a part has those of all its images
	}
	g.SetContext(ctx)
	defer g.SetContext(context.Background())
	for done := 0; done < images.Count; {
		b := min(inceptionBatch, images.Count-done)
		g.Reset()
		x := tensor.Images{
			X:      g.New(b*InceptionSize*InceptionSize, 3),
			Height: InceptionSize,
			Width:  InceptionSize,
		}
		for i := range b {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			if err := n.read(x.X.Data[i*InceptionSize*InceptionSize*3:], images, done+i); err != nil {
				return nil, err
			}
		}
		pool, spatial, logits := n.Forward(g, x)
		if err := g.Err(); err != nil {
			return nil, err
		}
		if err := s.add(done, pool, spatial, logits); err != nil {
			return nil, err
		}
		done += b
		if onImage != nil {
			onImage(done)
		}
	}
	g.Reset()
	if err := s.flush(); err != nil {
		return nil, err
	}
	s.out.score(&s.scores)
	s.out.Network, s.out.pool, s.out.spatial = n.Identity(), s.pool, s.spatial
	s.out.sum()
	return s.out, nil
}

// read sets dst to an image as the network takes it.
func (n *Inception) read(dst []float32, images Images, index int) error {
	m, err := images.read(index)
	if err == nil && n.Crop > 0 && (m.Height != n.Crop || m.Width != n.Crop) {
		m, err = raster.CenterCrop(m, n.Crop)
	}
	if err != nil {
		return err
	}
	if err := n.preprocessing.prepare(dst, m); err != nil {
		return fmt.Errorf("image %d: %w", index, err)
	}
	return nil
}

// inceptionOutputs collects the outputs of batches.
type inceptionOutputs struct {
	pool, spatial   *Moments
	pools, spatials []float32 // not yet added to the moments
	keep            []bool    // of each image
	scores          scoreKeep // of the probabilities
	out             *Predictions
}

// add adds the outputs of the images from the first-th on.
func (s *inceptionOutputs) add(first int, pool, spatial, logits *tensor.Tensor) error {
	Softmax(logits.Flat(), logits.Flat(), InceptionClasses)
	if err := s.scores.add(logits.Flat(), pool.Rows); err != nil {
		return err
	}
	for i := range pool.Rows {
		if s.keep[first+i] {
			s.out.Features = append(s.out.Features, pool.Row(i)...)
			s.out.SpatialFeatures = append(s.out.SpatialFeatures, spatial.Row(i)...)
		}
	}
	s.pools = append(s.pools, pool.Flat()...)
	s.spatials = append(s.spatials, spatial.Flat()...)
	if len(s.pools) >= momentsBlock*InceptionPool {
		return s.flush()
	}
	return nil
}

// flush adds what was collected to the moments.
func (s *inceptionOutputs) flush() error {
	if err := s.pool.Add(s.pools); err != nil {
		return err
	}
	if err := s.spatial.Add(s.spatials); err != nil {
		return err
	}
	s.pools, s.spatials = s.pools[:0], s.spatials[:0]
	return nil
}
