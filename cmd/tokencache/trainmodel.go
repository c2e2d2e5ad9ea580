package main

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/tokencache/tokencache/data"
	"github.com/tokencache/tokencache/dit"
	"github.com/tokencache/tokencache/models"
	"github.com/tokencache/tokencache/tensor"
	"github.com/tokencache/tokencache/train"
)

// trainArchs are the architectures that can be trained, by the names that --arch takes.
var trainArchs = map[string]dit.Arch{
	"":      dit.ArchDiT,
	"dit":   dit.ArchDiT,
	"mdtv1": dit.ArchMDTv1,
	"mdtv2": dit.ArchMDTv2,
}

// checkArch refuses flags that do not go with the architecture of a new model, or with a given one.
func (c *trainDiTCmd) checkArch() error {
	arch, ok := trainArchs[strings.ToLower(c.Arch)]
	switch {
	case !ok:
		return fmt.Errorf("--arch %s: want dit, mdtv1 or mdtv2", c.Arch)
	case c.Model != "" && c.Arch != "" && arch == dit.ArchDiT:
		return fmt.Errorf("--arch %s: a model that is given with --model keeps its own; "+
			"a DiT may become an mdtv1 or mdtv2", c.Arch)
	case c.Model == "" && arch == dit.ArchDiT && (c.Decode != nil || c.Mask != nil):
		return fmt.Errorf("--decode-layers and --mask-ratio are for MDTs: give --arch mdtv1 or mdtv2")
	}
	c.Arch = strings.ToLower(c.Arch)
	return nil
}

// open returns the model that training starts from, or nil for a new one.
func (c *trainDiTCmd) open(a *app) (w *dit.Weights, err error) {
	switch {
	case c.Resume:
		w, err = dit.Open(filepath.Join(c.Out, train.ModelFile), dit.Options{})
	case c.Model != "":
		o := dit.Options{Key: c.Key, Heads: or(c.Heads, 0)}
		if c.Arch == "" {
			o.DecodeLayer = or(c.Decode, 0)
		}
		w, err = models.ResolveWeights(a.ctx, c.Model, o)
	}
	if w == nil || err != nil {
		return nil, err
	}
	if trainArchs[c.Arch] != dit.ArchDiT && w.Arch != dit.ArchDiT {
		err := fmt.Errorf("--arch %s: %s is an %s already, and keeps its own architecture: leave --arch out",
			c.Arch, c.Model, w.Arch)
		return nil, errors.Join(err, w.Close())
	}
	if w.Assumed != "" {
		a.note("%s", w.Assumed)
	}
	c.Size, c.Colours = cmp.Or(c.Size, w.InputSize), cmp.Or(c.Colours, w.InChannels)
	return w, nil
}

// model returns the model to be trained, its parameters and its classes' names.
func (c *trainDiTCmd) model(w *dit.Weights, set *data.Set,
	seed uint64) (m *dit.Model, params []*tensor.Param, names []string, err error) {
	o := train.ModelOptions{
		Arch:          trainArchs[c.Arch],
		Width:         or(c.Width, 0),
		Depth:         or(c.Depth, 0),
		Heads:         or(c.Heads, 0),
		Patch:         or(c.Patch, 0),
		Decoder:       or(c.Decode, 0),
		FixedVariance: c.Fixed,
		Seed:          seed,
	}
	if w == nil {
		kind := train.ImageKind{Size: set.Size, Channels: set.Channels, Classes: len(set.Classes)}
		if m, params, err = train.NewModel(o, kind); err != nil {
			err = fmt.Errorf("%s: %w", set.Path, err)
		}
		return m, params, set.Classes, err
	}
	if names = w.ClassNames; names == nil && len(set.Classes) == w.NumClasses {
		names = set.Classes
	}
	if o.Arch != dit.ArchDiT {
		m, params, err = train.WarmStart(w, o)
	} else {
		m, params, err = w.Trainable()
	}
	return m, params, names, err
}

// mask returns the masks of the masked passes of a model of configuration m, nil for a DiT.
func (c *trainDiTCmd) mask(m dit.Config, batch int) (*train.MaskOptions, error) {
	if m.Arch == dit.ArchDiT {
		if c.Mask != nil {
			return nil, fmt.Errorf("--mask-ratio: %s is a DiT, and not trained with masked passes", c.Model)
		}
		return nil, nil
	}
	o := train.DefaultMask(m.Arch)
	if c.Mask != nil {
		o.Min, o.Max = c.Mask.Min, c.Mask.Max
	}
	o.GroupBy(batch)
	return &o, nil
}
