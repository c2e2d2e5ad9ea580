package comparison

import (
	"context"
	"errors"
	"image"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/data"
	"github.com/tokencache/tokencache/eval"
	"github.com/tokencache/tokencache/report"
	"github.com/tokencache/tokencache/tensor"
)

// FashionMNIST is where Debian's package has the data that the bundled models were trained on.
const FashionMNIST = "/usr/share/datasets/fashion-mnist"

// Reference is a network that evaluates images, and real images that it compares them with.
type Reference struct {
	Network *eval.Classifier
	Name    string // of the network

	// The following are zero without real images.

	Path      string // of the real images
	Images    int
	Gaussian  *eval.Gaussian // of their features
	Agreement *eval.Estimate // share of them that the network assigns to their class
	// Frechet is the distance from them of as many other real images as a policy has; nil if the
	// data has no other part.
	Frechet *eval.Estimate
}

// NewReference returns a network's Reference without real images.
func NewReference(n *eval.Classifier, name string) *Reference {
	return &Reference{Network: n, Name: name}
}

// Open adds the real images at path: those of the test part, or all where there are no parts, and
// the first count of the training part to compare them with.
func (r *Reference) Open(ctx context.Context, path string, count, threads int, seed uint64) error {
	real, labels, err := r.predict(ctx, path, "test", 0, threads)
	whole := errors.Is(err, data.ErrNoSplits)
	if whole {
		real, labels, err = r.predict(ctx, path, "", 0, threads)
	}
	if err != nil {
		return err
	}
	r.Path, r.Images, r.Gaussian = path, len(labels), &real.Pool
	if r.Agreement, err = mean(real.Agreement(labels), seed); err != nil || whole {
		return err
	}
	other, _, err := r.predict(ctx, path, "train", count, threads)
	if err != nil {
		return ctx.Err() // the test part was read, so there is no other part
	}
	r.Frechet, _, err = frechet(other, r.Gaussian, seed)
	return err
}

// Compare returns the Fréchet distance of images from the real ones, and the factor by which it is
// larger than that of others of the same noise, with its paired interval.
func (r *Reference) Compare(
	ctx context.Context, images, others []tokencache.Image, threads int, seed uint64,
) (distance, ratio *eval.Estimate, err error) {
	var both [2]drawn
	for i, list := range [][]tokencache.Image{images, others} {
		p, err := predict(ctx, r.Network, imagesOf(list), threads)
		if err != nil {
			return nil, nil, err
		}
		e, draws, err := frechet(p, r.Gaussian, seed)
		if err != nil {
			return nil, nil, err
		}
		if i == 0 {
			distance = e
		}
		both[i] = drawn{e.Value, draws}
	}
	over := both[0].over(both[1])
	return distance, &over, nil
}

// imagesOf are generated images, for an evaluation.
func imagesOf(images []tokencache.Image) eval.Images {
	set := eval.Images{Count: len(images), Image: func(i int) (image.Image, error) { return standard(images[i]), nil }}
	for _, m := range images {
		set.Labels = append(set.Labels, int32(m.Class))
	}
	return set
}

// Check reports that there are no images at path that Open could read. It evaluates none.
func (r *Reference) Check(ctx context.Context, path string) error {
	options := data.Options{Size: r.Network.Size, Channels: r.Network.Channels, Split: "test"}
	set, err := data.Open(ctx, path, options)
	if errors.Is(err, data.ErrNoSplits) {
		options.Split = ""
		set, err = data.Open(ctx, path, options)
	}
	if err != nil {
		return err
	}
	return set.Close()
}

// predict returns the network's predictions for the first count images of a part of the data at
// path, or for all of them, and their labels.
func (r *Reference) predict(ctx context.Context, path, split string, count,
	threads int) (*eval.Predictions, []int32, error) {
	options := data.Options{Size: r.Network.Size, Channels: r.Network.Channels, Split: split}
	set, err := data.Open(ctx, path, options)
	if err != nil {
		return nil, nil, err
	}
	defer set.Close()
	images := ImagesOf(set)
	if count > 0 && count < images.Count {
		images.Count, images.Labels = count, images.Labels[:count]
	}
	p, err := predict(ctx, r.Network, images, threads)
	return p, images.Labels, err
}

// describe fills in what results say of the reference.
func (r *Reference) describe(results *report.Results) {
	results.Features, results.Reference, results.ReferenceN = r.Name, r.Path, r.Images
	results.RealFrechet, results.RealAgreement = r.Frechet, r.Agreement
}

// predict runs a network on images.
func predict(ctx context.Context, n eval.Network, images eval.Images, threads int) (*eval.Predictions, error) {
	pool := tensor.NewPool(threads)
	defer pool.Close()
	return n.Predict(ctx, tensor.NewGraph(pool), images, nil)
}
