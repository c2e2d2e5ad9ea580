package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/tokencache/tokencache/dit"
	"github.com/tokencache/tokencache/tensor"
	"github.com/tokencache/tokencache/train"
)

// trainArchs are the architectures that can be trained, by the names that --arch takes.
var trainArchs = map[string]dit.Arch{"": dit.ArchDiT, "dit": dit.ArchDiT, "mdtv1": dit.ArchMDTv1, "mdtv2": dit.ArchMDTv2}

// maskRatio is a share, or a range of shares as 0.3-0.5.
type maskRatio struct{ least, most float64 }

// UnmarshalText implements encoding.TextUnmarshaler.
func (r *maskRatio) UnmarshalText(text []byte) error {
	low, high, isRange := strings.Cut(string(text), "-")
	if !isRange {
		high = low
	}
	var err, errHigh error
	r.least, err = strconv.ParseFloat(low, 64)
	r.most, errHigh = strconv.ParseFloat(high, 64)
	if err != nil || errHigh != nil {
		return fmt.Errorf("%q: want a share of the tokens, such as 0.3, or a range of them, such as 0.3-0.5", text)
	}
	return nil
}

// checkArch refuses flags that do not go with the architecture of a new model, or with a given one.
func (c *trainDiTCmd) checkArch() error {
	arch, ok := trainArchs[strings.ToLower(c.Arch)]
	switch {
	case !ok:
		return fmt.Errorf("--arch %s: want dit, mdtv1 or mdtv2", c.Arch)
	case c.Model != "" && c.Arch != "" && arch == dit.ArchDiT:
		return fmt.Errorf("--arch %s: a model that is given with --model keeps its own; a DiT may become an mdtv1 or mdtv2", c.Arch)
	case c.Model == "" && arch == dit.ArchDiT && (c.Decode != nil || c.Mask != nil):
		return fmt.Errorf("--decode-layers and --mask-ratio are for MDTs: give --arch mdtv1 or mdtv2")
	}
	c.Arch = strings.ToLower(c.Arch)
	return nil
}

// decoder returns the number of blocks of a new model's decoder: the published models', but in a second version of few blocks 2, and one more or
// less where as many in-blocks as out-blocks would not be left.
func (c *trainDiTCmd) decoder(depth int) int {
	switch {
	case c.Decode != nil:
		return *c.Decode
	case trainArchs[c.Arch] == dit.ArchMDTv1:
		return min(2, depth)
	case trainArchs[c.Arch] == dit.ArchMDTv2 && depth < 8:
		return 2 - depth%2
	case trainArchs[c.Arch] == dit.ArchMDTv2:
		return 4 + depth%2
	}
	return 0
}

// extend returns a new MDT that begins as the DiT w.
func (c *trainDiTCmd) extend(w *dit.Weights, arch dit.Arch, seed uint64) (*dit.Model, []*tensor.Param, error) {
	config := w.Config
	config.Arch, config.DecodeLayer = arch, c.decoder(w.Depth)
	if err := config.Validate(); err != nil {
		return nil, nil, err
	}
	source, err := w.Extend(config, train.NewInit(config, seed))
	if err != nil {
		return nil, nil, err
	}
	return dit.NewTrainable(config, source, true)
}

// mask returns how the masked passes of a model of configuration m hide tokens, with a share for each update of batch pictures; nil for a DiT.
func (c *trainDiTCmd) mask(m dit.Config, batch int) (*train.MaskOptions, error) {
	if m.Arch == dit.ArchDiT {
		if c.Mask != nil {
			return nil, fmt.Errorf("--mask-ratio: %s is a DiT, and not trained with masked passes", c.Model)
		}
		return nil, nil
	}
	o := train.DefaultMask(m.Arch)
	if c.Mask != nil {
		o.Min, o.Max = c.Mask.least, c.Mask.most
	}
	if o.Min != o.Max {
		o.Group = batch
	}
	return &o, nil
}
