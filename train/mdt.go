package train

import (
	"errors"
	"fmt"
	"slices"

	"github.com/tokencache/tokencache/diffusion"
	"github.com/tokencache/tokencache/dit"
	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
)

// MaskOptions is the mask ratio of the masked pass of an MDT's training: a share of an example's
// tokens, uniform in [Min, Max].
type MaskOptions struct {
	Min float64 `json:"least"`
	Max float64 `json:"most"`

	// Group is the number of consecutive examples that share one ratio, an update's batch; 0 or 1:
	// each has its own.
	Group int `json:"group,omitempty"`
}

// DefaultMask returns the paper's mask ratio: 0.3, for the second version 0.3 to 0.5.
func DefaultMask(arch dit.Arch) MaskOptions {
	if arch == dit.ArchMDTv2 {
		return MaskOptions{Min: 0.3, Max: 0.5}
	}
	return MaskOptions{Min: 0.3, Max: 0.3}
}

// GroupBy lets the examples of an update of batch examples share one ratio, if it is a range.
func (o *MaskOptions) GroupBy(batch int) {
	if o.Min != o.Max {
		o.Group = batch
	}
}

// check returns an error for a mask that a model of configuration c cannot be trained with.
func (o *MaskOptions) check(c dit.Config) error {
	mdt := c.Arch == dit.ArchMDTv1 || c.Arch == dit.ArchMDTv2
	switch {
	case o == nil && mdt:
		return fmt.Errorf("no mask ratio: an %s is trained with masked passes", c.Arch)
	case o == nil:
		return nil
	case !mdt:
		return errors.New("a mask ratio, but a DiT is not trained with masked passes")
	case !(o.Min >= 0 && o.Min <= o.Max && o.Max < 1):
		return fmt.Errorf(
			"mask ratio of %g to %g: want a share of the tokens, 0 or more and less than 1, or a range of them",
			o.Min,
			o.Max,
		)
	case o.Group < 0:
		return fmt.Errorf("one mask ratio for %d examples together: want 0 or more", o.Group)
	}
	return nil
}

// ratio returns the share of example k.
func (o *MaskOptions) ratio(seed, k uint64) float64 {
	r := newRand("mask ratio", seed, k/uint64(max(o.Group, 1)))
	return o.Min + (o.Max-o.Min)*r.Float64()
}

// maskedPass is the batch of the masked pass.
type maskedPass struct {
	batch   seam.Batch
	samples []Example
	kept    [][]int32 // positions of each example that the encoder sees, ascending
}

// maskedExample prepares entry i of the masked pass, example k of the run. As in the public code,
// it shares the image and the timestep of the full pass and has its own noise, label dropout and
// mask.
func (d *Denoiser) maskedExample(i, index int, k uint64) {
	p, full, o := &d.masked, &d.samples[i], &d.options
	s := &p.samples[i]
	r := newRand("masked pass", o.Seed, k)
	s.T = full.T
	copy(s.XStart, full.XStart)
	p.batch.T[i], p.batch.Cond[i] = float32(s.T), dit.Class(d.Model.NullClass())
	if r.Float64() >= o.Dropout {
		p.batch.Cond[i] = dit.Class(d.labels[index])
	}
	n := d.Model.Tokens()
	keep := max(1, int(float64(n)*(1-o.Mask.ratio(o.Seed, k))))
	p.kept[i] = p.kept[i][:0]
	for _, place := range r.Perm(n)[:keep] {
		p.kept[i] = append(p.kept[i], int32(place))
	}
	slices.Sort(p.kept[i])
	diffusion.NewStream(r.Uint64(), k).Normal(s.Noise)
	d.objective.Corrupt(s)
}

// accumulateMasked adds the gradients of the masked pass, and returns the sum of its losses.
func (d *Denoiser) accumulateMasked(g *tensor.Graph, scale float64) (float64, error) {
	p := &d.masked
	if err := d.Model.CheckMask(&p.batch, p.kept); err != nil {
		return 0, err
	}
	losses, err := passGradients(g, d.objective, p.samples, scale, func() *tensor.Tensor {
		return d.Model.ForwardMasked(g, &p.batch, p.kept)
	})
	sum := 0.0
	for _, l := range losses {
		sum += l.Total
	}
	return sum, err
}
