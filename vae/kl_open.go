package vae

import (
	"errors"
	"fmt"
	"slices"

	"github.com/tokencache/tokencache/checkpoint"
	"github.com/tokencache/tokencache/tensor"
)

// openKL recognises and reads an AutoencoderKL.
func openKL(s store, n naming, given *fileConfig, d tensor.DType) (*KL, error) {
	src := source{s, n}
	c, err := measureKL(src)
	if err != nil {
		return nil, err
	}
	if err := given.completeKL(&c); err != nil {
		return nil, err
	}
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if err := checkpoint.Check(s, src.wants(c.Tensors()), n.ignore); err != nil {
		return nil, err
	}
	return NewKLAs(d, c, src)
}

// measureKL derives the sizes from the tensors' shapes.
func measureKL(s source) (KLConfig, error) {
	var errs []error
	// shape returns the shape of a tensor that every AutoencoderKL has.
	shape := func(name string, dims int) []int {
		name = s.rename(name)
		info, ok := s.Lookup(name)
		switch {
		case !ok:
			errs = append(errs, fmt.Errorf("tensor %s is missing", name))
		case len(info.Shape) != dims:
			errs = append(errs, fmt.Errorf("tensor %s: shape %v, want %d dimensions", name, info.Shape, dims))
		default:
			return info.Shape
		}
		return make([]int, dims)
	}
	present := func(name string) bool { return has(s, s.rename(name)) }

	var c KLConfig
	c.ImageChannels = shape("encoder.conv_in.weight", 4)[1]
	c.LatentChannels = shape("decoder.conv_in.weight", 4)[1]
	for len(c.Widths) < maxLevels {
		name := fmt.Sprintf("encoder.down_blocks.%d.resnets.0.conv1.weight", len(c.Widths))
		if !present(name) {
			break
		}
		c.Widths = append(c.Widths, shape(name, 4)[0])
	}
	for present(fmt.Sprintf("encoder.down_blocks.0.resnets.%d.conv1.weight", c.Blocks)) {
		c.Blocks++
	}
	c.Attention = present("encoder.mid_block.attentions.0.to_q.weight")
	c.Quant = present("quant_conv.weight")
	c.PostQuant = present("post_quant_conv.weight")
	return c, errors.Join(errs...)
}

// completeKL adds what config.json says and the tensors do not, and returns an error for
// contradictions.
func (f *fileConfig) completeKL(c *KLConfig) error {
	var errs []error
	if f.Class != "" && f.Class != "AutoencoderKL" {
		errs = append(errs, fmt.Errorf("_class_name is %s, and the tensors are those of an AutoencoderKL", f.Class))
	}
	if f.Activation != "" && f.Activation != "silu" && f.Activation != "swish" {
		errs = append(errs, fmt.Errorf("act_fn is %q, want silu", f.Activation))
	}
	in, out := f.InChannels, f.OutChannels
	if f.Class == "" { // the file may be about the diffusion model in the same folder, whose channels are the latents'
		in, out = 0, 0
	}
	for _, n := range []struct {
		what       string
		own, given int
	}{
		{"latent_channels", c.LatentChannels, f.LatentChannels},
		{"layers_per_block", c.Blocks, f.Layers},
		{"in_channels", c.ImageChannels, in},
		{"out_channels", c.ImageChannels, out},
	} {
		if n.given != 0 && n.given != n.own {
			errs = append(errs, fmt.Errorf("%s: %d by the tensors, %d by config.json", n.what, n.own, n.given))
		}
	}
	for _, b := range []struct {
		what  string
		own   bool
		given *bool
	}{
		{"use_quant_conv", c.Quant, f.Quant},
		{"use_post_quant_conv", c.PostQuant, f.PostQuant},
		{"mid_block_add_attention", c.Attention, f.Attention},
	} {
		if b.given != nil && *b.given != b.own {
			errs = append(errs, fmt.Errorf("%s: %t by the tensors, %t by config.json", b.what, b.own, *b.given))
		}
	}
	if f.Widths != nil && !slices.Equal(f.Widths, c.Widths) {
		errs = append(errs, fmt.Errorf("block_out_channels: %v by the tensors, %v by config.json", c.Widths, f.Widths))
	}
	c.Groups = klGroups
	if f.Groups != 0 {
		c.Groups = f.Groups
	}
	c.ScaleFactor = sdScaleFactor
	errs = append(errs, f.factors(&c.ScaleFactor, &c.ShiftFactor))
	return errors.Join(errs...)
}
