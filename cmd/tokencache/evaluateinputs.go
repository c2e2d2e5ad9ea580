package main

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/tokencache/tokencache/checkpoint"
	"github.com/tokencache/tokencache/cmd/tokencache/internal/output"
	"github.com/tokencache/tokencache/data"
	"github.com/tokencache/tokencache/eval"
	"github.com/tokencache/tokencache/models"
)

// network opens the network that was asked for, and says how images are to be opened for it.
func (c *evaluateCmd) network() (eval.Network, data.Options, error) {
	name := c.Features
	if name == "embedded" {
		name = models.Default
	}
	if slices.Contains(models.Names(), name) {
		n, err := models.Classifier(name)
		return c.classifier(n, err)
	}
	f, err := checkpoint.Open(name)
	if err != nil {
		return nil, data.Options{}, err
	}
	defer f.Close()
	if !eval.IsInception(f) {
		n, err := eval.OpenClassifier(f)
		return c.classifier(n, err)
	}
	way := eval.ADM
	if c.Preprocess != "" {
		if way, err = eval.ParsePreprocessing(c.Preprocess); err != nil {
			return nil, data.Options{}, err
		}
	}
	n, err := eval.OpenInception(f, way)
	if err != nil {
		return nil, data.Options{}, err
	}
	n.Crop = c.Size
	return n, data.Options{Size: c.Size}, nil
}

func (c *evaluateCmd) classifier(n *eval.Classifier, err error) (eval.Network, data.Options, error) {
	if err == nil && (c.Preprocess != "" || c.Size != 0) {
		err = errors.New("--preprocess and --size are for Inception: a classifier takes images as it was trained with")
	}
	if err != nil {
		return nil, data.Options{}, err
	}
	return n, data.Options{Size: n.Size, Channels: n.Channels}, nil
}

// openReference opens the reference: images, or the statistics of images.
func (c *evaluateCmd) openReference(a *app, o data.Options) (eval.Reference, *data.Set, error) {
	if eval.IsStatistics(c.Reference) {
		if c.Neighbours != "" {
			return eval.Reference{}, nil, fmt.Errorf("--neighbours: %s has statistics and no images", c.Reference)
		}
		s, err := eval.ReadStatistics(c.Reference)
		return eval.Reference{Statistics: s}, nil, err
	}
	if o.Split == "" {
		o.Split = "test"
	}
	set, err := c.openData(a, c.Reference, o)
	if errors.Is(err, data.ErrNoSplits) && c.ReferenceSplit == "" {
		o.Split = ""
		set, err = c.openData(a, c.Reference, o)
	}
	if err != nil {
		return eval.Reference{}, nil, err
	}
	return eval.Reference{Images: imagesOf(set)}, set, nil
}

// openSamples opens a folder that generate wrote, or any data set, and returns what closes it.
func (c *evaluateCmd) openSamples(a *app, o data.Options) (eval.Images, func() error, error) {
	if info, err := os.Stat(c.Samples); err == nil && info.IsDir() {
		s, err := output.ReadFolder(c.Samples)
		if err != nil {
			return eval.Images{}, nil, err
		}
		if s != nil {
			images := eval.Images{Count: len(s.Classes), Labels: s.Classes, Image: s.Image}
			return images, func() error { return nil }, nil
		}
	}
	set, err := c.openData(a, c.Samples, o)
	if err != nil {
		return eval.Images{}, nil, err
	}
	return imagesOf(set), set.Close, nil
}

// openData opens a data set, without its broken files if they are to be skipped.
func (c *evaluateCmd) openData(a *app, path string, o data.Options) (*data.Set, error) {
	set, err := a.openData(path, o, c.SkipBad)
	if err == nil && c.SkipBad {
		if err := set.DropBroken(); err != nil {
			return nil, errors.Join(err, set.Close())
		}
	}
	return set, err
}

// imagesOf are the images of a data set.
func imagesOf(set *data.Set) eval.Images {
	return eval.Images{Count: set.Len(), Labels: set.Labels, Image: set.StdImage}
}
