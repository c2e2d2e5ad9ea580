package main

import (
	"errors"
	"fmt"
	"os"

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
	if embedded(name) {
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
func (c *evaluateCmd) openReference(o data.Options) (eval.Reference, *data.Set, error) {
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
	set, err := data.Open(c.Reference, o)
	if err != nil && c.ReferenceSplit == "" {
		o.Split = ""
		set, err = data.Open(c.Reference, o)
	}
	if err != nil {
		return eval.Reference{}, nil, err
	}
	return eval.Reference{Images: imagesOf(set)}, set, nil
}

// openSamples opens a folder that generate wrote, or any data set, and returns what closes it.
func openSamples(path string, o data.Options) (eval.Images, func() error, error) {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		s, err := output.ReadFolder(path)
		if err != nil {
			return eval.Images{}, nil, err
		}
		if s != nil {
			images := eval.Images{Count: len(s.Classes), Labels: s.Classes, Image: s.Image}
			return images, func() error { return nil }, nil
		}
	}
	set, err := data.Open(path, o)
	if err != nil {
		return eval.Images{}, nil, err
	}
	return imagesOf(set), set.Close, nil
}

// imagesOf are the images of a data set.
func imagesOf(set *data.Set) eval.Images {
	return eval.Images{Count: set.Len(), Labels: set.Labels, Image: set.StdImage}
}
