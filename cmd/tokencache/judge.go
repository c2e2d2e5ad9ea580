package main

import (
	"errors"
	"slices"

	"github.com/tokencache/tokencache/checkpoint"
	"github.com/tokencache/tokencache/data"
	"github.com/tokencache/tokencache/eval"
	"github.com/tokencache/tokencache/internal/raster"
	"github.com/tokencache/tokencache/models"
	"github.com/tokencache/tokencache/tensor"
)

// judge is a network that sees features in pictures.
type judge interface {
	Identity() string
	// options are those that pictures are to be opened with.
	options() data.Options
	// judge shows the network the chosen pictures.
	judge(g *tensor.Graph, pictures *labelled, chosen []int, progress func(done int)) (*judgement, error)
}

// judgement is what a judge makes of a set of pictures.
type judgement struct {
	eval.Statistics
	Kept          []float32 // features of the pictures, or of some evenly spread
	KeptSpatial   []float32 // likewise, nil but with Inception
	Classes       []int32   // nil if the network does not know the pictures' classes
	Probabilities []float32 // nil but with Inception
	Preprocess    string    // likewise
}

// network opens the judge that was asked for.
func (c *evaluateCmd) network() (judge, error) {
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
		return nil, err
	}
	defer f.Close()
	if !eval.IsInception(f) {
		n, err := eval.OpenClassifier(f)
		return c.classifier(n, err)
	}
	way := eval.ADM
	if c.Preprocess != "" {
		if way, err = eval.ParsePreprocessing(c.Preprocess); err != nil {
			return nil, err
		}
	}
	n, err := eval.OpenInception(f, way)
	if err != nil {
		return nil, err
	}
	return &inceptionJudge{n, way, c.Size}, nil
}

func (c *evaluateCmd) classifier(n *eval.Classifier, err error) (judge, error) {
	if err == nil && (c.Preprocess != "" || c.Size != 0) {
		err = errors.New("--preprocess and --size are for Inception: a classifier takes pictures as it was trained with")
	}
	if err != nil {
		return nil, err
	}
	return &classifierJudge{n}, nil
}

type classifierJudge struct{ *eval.Classifier }

func (n *classifierJudge) options() data.Options {
	return data.Options{Size: n.Size, Channels: n.Channels}
}

func (n *classifierJudge) judge(g *tensor.Graph, pictures *labelled, chosen []int, progress func(done int)) (*judgement, error) {
	seen, err := n.Judge(g, len(chosen), func(i int, dst []float32) error { return pictures.Read(chosen[i], dst) }, progress)
	if err != nil {
		return nil, err
	}
	m := eval.NewMoments(seen.Features.Cols)
	if err := m.Add(seen.Features.Flat()); err != nil {
		return nil, err
	}
	return &judgement{Statistics: eval.Statistics{Network: n.Identity(), Pool: *m.Normal()}, Kept: seen.Features.Flat(), Classes: seen.Classes}, nil
}

type inceptionJudge struct {
	*eval.Inception
	way  eval.Preprocessing
	size int
}

func (n *inceptionJudge) options() data.Options { return data.Options{Size: n.size} }

// mostInManifold is how many pictures of a set precision and recall are taken of.
const mostInManifold = 10_000

func (n *inceptionJudge) judge(g *tensor.Graph, pictures *labelled, chosen []int, progress func(done int)) (*judgement, error) {
	kept := make([]bool, len(chosen))
	for _, i := range spread(len(chosen), mostInManifold) {
		kept[i] = true
	}
	read := func(i int) (*raster.Image, error) {
		m, err := pictures.Picture(chosen[i])
		if err == nil && n.size > 0 && (m.Height != n.size || m.Width != n.size) {
			m, err = raster.CenterCrop(m, n.size)
		}
		return m, err
	}
	seen, err := n.Judge(g, len(chosen), read, func(i int) bool { return kept[i] }, progress)
	if err != nil {
		return nil, err
	}
	return &judgement{
		Statistics:    eval.Statistics{Network: n.Identity(), Pool: *seen.Pool.Normal(), Spatial: seen.Spatial.Normal()},
		Kept:          seen.Kept,
		KeptSpatial:   seen.KeptSpatial,
		Probabilities: seen.Probabilities,
		Preprocess:    n.way.String(),
	}, nil
}
