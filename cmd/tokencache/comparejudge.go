package main

import (
	"context"
	"errors"
	"os"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/comparison"
	"github.com/tokencache/tokencache/data"
	"github.com/tokencache/tokencache/eval"
	"github.com/tokencache/tokencache/models"
	"github.com/tokencache/tokencache/report"
)

// fashionMNIST is where Debian's package has the data that the embedded models were trained on.
const fashionMNIST = "/usr/share/datasets/fashion-mnist"

// judges are a network and real pictures that the images of a comparison are judged by.
type judges struct {
	reference string // real pictures, or empty: Fashion-MNIST, if it is there
	threads   int
}

// look sets who judges the pictures, if anybody can.
func (j judges) look(a *app, p *tokencache.Pipeline, o *comparison.Options, result *report.Results) error {
	net, err := models.Classifier(models.Default)
	if err != nil {
		return err
	}
	height, width, channels := p.ImageSize()
	if height != net.Size || width != net.Size || channels != net.Channels {
		return nil
	}
	o.Net, result.Features = net, models.Default
	path := j.reference
	if path == "" {
		if _, err := os.Stat(fashionMNIST); err != nil {
			a.note("no Frechet distances: give real pictures with --reference")
			return nil
		}
		path = fashionMNIST
	}
	options := data.Options{Size: net.Size, Channels: net.Channels, Split: "test"}
	set, err := data.Open(a.ctx, path, options)
	if errors.Is(err, data.ErrNoSplits) {
		options.Split = ""
		set, err = data.Open(a.ctx, path, options)
	}
	if err != nil {
		return err
	}
	defer set.Close()
	real, err := comparison.See(net, j.threads, set.Labels, o.Seed, set.Read)
	if err != nil {
		return err
	}
	moments := eval.NewMoments(real.Width)
	if err := moments.Add(real.Features); err != nil {
		return err
	}
	o.Reference = moments.Normal()
	result.Reference, result.ReferenceN, result.RealAgreement = path, set.Len(), real.Agreement
	result.RealFrechet, err = j.realFrechet(a.ctx, net, path, o)
	return err
}

// realFrechet is the distance of as many pictures of the data's other part as a cell has from its reference, nil where it has no other part.
func (j judges) realFrechet(ctx context.Context, net *eval.Classifier, path string, o *comparison.Options) (*report.Interval, error) {
	set, err := data.Open(ctx, path, data.Options{Size: net.Size, Channels: net.Channels, Split: "train"})
	if err != nil {
		return nil, nil // the reference was opened, so this is no broken file
	}
	defer set.Close()
	other, err := comparison.See(net, j.threads, set.Labels[:min(o.Count, set.Len())], o.Seed, set.Read)
	if err != nil {
		return nil, err
	}
	distance, _, err := other.Frechet(o.Reference, o.Seed)
	return distance, err
}
