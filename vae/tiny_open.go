package vae

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/tokencache/tokencache/checkpoint"
	"github.com/tokencache/tokencache/nn"
	"github.com/tokencache/tokencache/tensor"
)

// tinyHalves says which halves of a tiny autoencoder a file holds, and how they are named.
// Canonical are the original's names when both are in one file.
type tinyHalves struct {
	encoder, decoder bool
	naming
}

func tinyNaming(s checkpoint.Lister) (h tinyHalves, ok bool) {
	switch {
	case has(s, "encoder.0.weight") || has(s, "decoder.1.weight"):
		return tinyHalves{
			encoder: has(s, "encoder.0.weight"), decoder: has(s, "decoder.1.weight"),
			naming: naming{rename: func(name string) string { return name }},
		}, true
	case has(s, "encoder.layers.0.weight") || has(s, "decoder.layers.0.weight"):
		return tinyHalves{
			encoder: has(s, "encoder.layers.0.weight"), decoder: has(s, "decoder.layers.0.weight"),
			naming: naming{rename: tinyDiffusersName},
		}, true
	case has(s, "0.weight") && has(s, "1.conv.0.weight"):
		return tinyHalves{encoder: true, naming: naming{rename: tinyBareName}}, true
	case has(s, "1.weight") && has(s, "3.conv.0.weight"):
		return tinyHalves{decoder: true, naming: naming{rename: tinyBareName}}, true
	}
	return tinyHalves{}, false
}

// tinyBareName is the name in a file of one half only.
func tinyBareName(name string) string {
	_, rest, _ := strings.Cut(name, ".")
	return rest
}

// tinyDiffusersName is the name that diffusers' AutoencoderTiny uses: it does not count the limit
// of the decoder's input.
func tinyDiffusersName(name string) string {
	half, rest, _ := strings.Cut(name, ".")
	number, rest, _ := strings.Cut(rest, ".")
	if i, err := strconv.Atoi(number); err == nil && half == "decoder" {
		number = strconv.Itoa(i - 1)
	}
	return half + ".layers." + number + "." + rest
}

// openTiny recognises and reads a tiny autoencoder from one file, or from two that hold a half
// each.
func openTiny(files []store, given *fileConfig, d tensor.DType) (*Tiny, error) {
	var c TinyConfig
	var encoder, decoder nn.Source
	for _, f := range files {
		h, ok := tinyNaming(f)
		if !ok {
			return nil, unknown(f)
		}
		if h.encoder && encoder != nil || h.decoder && decoder != nil {
			return nil, errors.New("two files hold the same half of a tiny autoencoder")
		}
		src := source{f, h.naming}
		own, wants, err := measureTiny(src, h)
		if err != nil {
			return nil, err
		}
		if c != (TinyConfig{}) && own != c {
			return nil, fmt.Errorf("the encoder and the decoder belong to different autoencoders: %d and %d "+
				"latent channels, width %d and %d",
				c.LatentChannels, own.LatentChannels, c.Width, own.Width)
		}
		if err := checkpoint.Check(f, src.wants(wants), nil); err != nil {
			return nil, err
		}
		c = own
		if h.encoder {
			encoder = src
		}
		if h.decoder {
			decoder = src
		}
	}
	if err := given.completeTiny(&c); err != nil {
		return nil, err
	}
	return NewTinyAs(d, c, encoder, decoder)
}

// measureTiny reads the sizes off the tensors' shapes and lists the tensors of the halves that the
// file holds.
func measureTiny(s source, h tinyHalves) (TinyConfig, []checkpoint.Want, error) {
	var errs []error
	shape := func(name string) []int {
		name = s.rename(name)
		info, ok := s.Lookup(name)
		switch {
		case !ok:
			errs = append(errs, fmt.Errorf("tensor %s is missing", name))
		case len(info.Shape) != 4:
			errs = append(errs, fmt.Errorf("tensor %s: shape %v, want 4 dimensions", name, info.Shape))
		default:
			return info.Shape
		}
		return make([]int, 4)
	}
	var c TinyConfig
	var b builder
	if h.decoder {
		in := shape("decoder.1.weight")
		c.Width, c.LatentChannels = in[0], in[1]
		c.Pool = has(s, s.rename("decoder.3.pool.0.weight"))
	} else {
		c.Width, c.LatentChannels = shape("encoder.0.weight")[0], shape("encoder.14.weight")[0]
		c.Pool = has(s, s.rename("encoder.11.pool.0.weight"))
	}
	if h.encoder {
		c.buildEncoder(&b)
	}
	if h.decoder {
		c.buildDecoder(&b)
	}
	return c, b.wants, errors.Join(errs...)
}

// completeTiny adds what config.json says and the tensors do not, and returns an error for
// contradictions.
func (f *fileConfig) completeTiny(c *TinyConfig) error {
	if f.Class != "" && f.Class != "AutoencoderTiny" {
		return fmt.Errorf("_class_name is %s, and the tensors are those of a tiny autoencoder", f.Class)
	}
	if f.LatentChannels != 0 && f.LatentChannels != c.LatentChannels {
		return fmt.Errorf("latent_channels: %d by the tensors, %d by config.json", c.LatentChannels, f.LatentChannels)
	}
	c.ScaleFactor = 1
	return f.factors(&c.ScaleFactor, &c.ShiftFactor)
}
