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

// MaskOptions says how much of an example the masked pass of an MDT's training hides: a share of its tokens, drawn evenly from Least to Most.
type MaskOptions struct {
	Least float64 `json:"least"`
	Most  float64 `json:"most"`
	Group int     `json:"group,omitempty"` // examples that follow one another and have one share drawn for them, an update's batch; 0 or 1: each has its own
}

// DefaultMask is what the paper masks: 0.3 of the tokens, for the second version 0.3 to 0.5.
func DefaultMask(arch dit.Arch) MaskOptions {
	if arch == dit.ArchMDTv2 {
		return MaskOptions{Least: 0.3, Most: 0.5}
	}
	return MaskOptions{Least: 0.3, Most: 0.3}
}

// check reports masks that a model cannot be trained with.
func (o *MaskOptions) check(c dit.Config) error {
	mdt := c.Arch == dit.ArchMDTv1 || c.Arch == dit.ArchMDTv2
	switch {
	case o == nil && mdt:
		return fmt.Errorf("no mask ratio: an %s is trained with masked passes", c.Arch)
	case o == nil:
		return nil
	case !mdt:
		return errors.New("a mask ratio, but a DiT is not trained with masked passes")
	case !(o.Least >= 0 && o.Least <= o.Most && o.Most < 1):
		return fmt.Errorf("mask ratio of %g to %g: want a share of the tokens, 0 or more and less than 1, or a range of them", o.Least, o.Most)
	case o.Group < 0:
		return fmt.Errorf("mask ratio drawn for %d examples together: want 0 or more", o.Group)
	}
	return nil
}

// ratio returns the share of example k.
func (o *MaskOptions) ratio(seed, k uint64) float64 {
	r := draws("mask ratio", seed, k/uint64(max(o.Group, 1)))
	return o.Least + (o.Most-o.Least)*r.Float64()
}

// maskedPass is a batch whose masked pass is trained.
type maskedPass struct {
	batch   seam.Batch
	samples []Sample
	kept    [][]int32 // the places of each example that the encoder sees, ascending
}

// maskedExample makes entry i of the masked pass, as number k of the run: the picture and timestep of the full pass, of which the noise, the dropping of the label and the mask are its
// own, as in the public code.
func (d *Denoiser) maskedExample(i, index int, k uint64) {
	p, full, o := &d.masked, &d.samples[i], &d.options
	s := &p.samples[i]
	r := draws("masked pass", o.Seed, k)
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
	d.Objective.Process.QSample(s.X, s.XStart, s.Noise, s.T)
}

// accumulateMasked adds the gradients of the masked pass, and returns the sum of its losses.
func (d *Denoiser) accumulateMasked(g *tensor.Graph, scale float64) (float64, error) {
	p := &d.masked
	losses, err := passGradients(g, d.Objective, p.samples, scale, func() *tensor.Tensor { return d.Model.ForwardMasked(g, &p.batch, p.kept) })
	sum := 0.0
	for _, l := range losses {
		sum += l.Total
	}
	return sum, err
}
