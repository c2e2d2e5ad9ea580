package models

import (
	"errors"
	"slices"

	"github.com/tokencache/tokencache/checkpoint"
	"github.com/tokencache/tokencache/eval"
)

// Embedded is the name of the default model's classifier.
const Embedded = "embedded"

// ErrClassifier reports settings of Inception for a classifier.
var ErrClassifier = errors.New("a classifier takes images as it was trained with")

// NetworkOptions say how images are prepared for Inception. They are zero for a classifier.
type NetworkOptions struct {
	Preprocess string // a name of eval.Preprocessings; "" means ADM
	Size       int    // crop to this number of pixels a side first; 0: as they are
}

// Network is a network that evaluates images, and the images that it takes.
type Network struct {
	eval.Network
	Size     int // pixels a side; 0: any
	Channels int // 0: any
}

// ResolveNetwork opens the network that a user names: the classifier of a bundled model, Embedded,
// or a file of a classifier or of Inception. Options for a classifier are an error that is
// ErrClassifier.
func ResolveNetwork(name string, o NetworkOptions) (*Network, error) {
	if name == Embedded {
		name = Default
	}
	if slices.Contains(Names(), name) {
		c, err := Classifier(name)
		return ofClassifier(c, err, o)
	}
	f, err := checkpoint.Open(name)
	if err != nil {
		return nil, orUnknown("feature network", name, err)
	}
	defer f.Close()
	if !eval.IsInception(f) {
		c, err := eval.OpenClassifier(f)
		return ofClassifier(c, err, o)
	}
	way := eval.ADM
	if o.Preprocess != "" {
		if way, err = eval.ParsePreprocessing(o.Preprocess); err != nil {
			return nil, err
		}
	}
	n, err := eval.OpenInception(f, way)
	if err != nil {
		return nil, err
	}
	n.Crop = o.Size
	return &Network{Network: n, Size: o.Size}, nil
}

func ofClassifier(c *eval.Classifier, err error, o NetworkOptions) (*Network, error) {
	if err == nil && o != (NetworkOptions{}) {
		err = ErrClassifier
	}
	if err != nil {
		return nil, err
	}
	return &Network{Network: c, Size: c.Size, Channels: c.Channels}, nil
}
