package comparison

import (
	"context"
	"errors"

	"github.com/tokencache/tokencache/data"
	"github.com/tokencache/tokencache/eval"
)

// ImagesOf are the images of a data set, for an evaluation. Labels of images with prompts are left
// out: they number the prompts.
func ImagesOf(set *data.Set) eval.Images {
	images := eval.Images{Count: set.Len(), Labels: set.Labels, Prompts: set.Prompts, Image: set.StdImage}
	if images.Prompts != nil {
		images.Labels = nil
	}
	return images
}

// OpenImages opens a data set for an evaluation. With o.Skip its broken images are left out.
func OpenImages(ctx context.Context, path string, o data.Options) (*data.Set, error) {
	set, err := data.Open(ctx, path, o)
	if err != nil || !o.Skip {
		return set, err
	}
	if err := set.DropBroken(); err != nil {
		return nil, errors.Join(err, set.Close())
	}
	return set, nil
}

// OpenReference opens the real images of an evaluation: without a split, the test part, or all
// images where there are no parts.
func OpenReference(ctx context.Context, path string, o data.Options) (*data.Set, error) {
	if o.Split != "" {
		return OpenImages(ctx, path, o)
	}
	o.Split = "test"
	set, err := OpenImages(ctx, path, o)
	if errors.Is(err, data.ErrNoSplits) {
		o.Split = ""
		return OpenImages(ctx, path, o)
	}
	return set, err
}
