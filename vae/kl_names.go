package vae

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/tokencache/tokencache/checkpoint"
)

// store is a file of tensors by name, a *checkpoint.File.
type store interface {
	Names() []string
	Lookup(name string) (checkpoint.Info, bool)
	Read(name string, dst []float32) error
}

func has(l checkpoint.Lister, name string) bool {
	_, ok := l.Lookup(name)
	return ok
}

// naming is a convention of tensor names.
type naming struct {
	rename func(canonical string) string
	ignore func(name string) bool // tensors of the file that belong to something else; nil for none
}

// source reads tensors by their canonical names.
type source struct {
	store
	naming
}

// Read fills dst with the named tensor, whose numbers must be finite.
func (s source) Read(name string, dst []float32) error {
	return checkpoint.ReadFinite(s.store, s.rename(name), dst)
}

// wants translates a list of tensors for the file. A 1x1 convolution may also be stored as a
// matrix, as in some generations of the files.
func (s source) wants(canonical []checkpoint.Want) []checkpoint.Want {
	var list []checkpoint.Want
	for _, w := range canonical {
		w.Name = s.rename(w.Name)
		if info, ok := s.Lookup(w.Name); ok && len(w.Shape) == 4 && w.Shape[2] == 1 && w.Shape[3] == 1 &&
			len(info.Shape) == 2 {
			w.Shape = w.Shape[:2]
		}
		list = append(list, w)
	}
	return list
}

// ldmPrefix is the prefix of an autoencoder's names in the file of a whole latent diffusion model.
const ldmPrefix = "first_stage_model."

// klNaming recognises the convention by names that only one has. Canonical are the names of
// diffusers, of the later generation.
func klNaming(s checkpoint.Lister) (n naming, ok bool) {
	switch {
	case has(s, "encoder.down_blocks.0.resnets.0.conv1.weight"):
		if has(s, "decoder.mid_block.attentions.0.query.weight") {
			return naming{rename: klEarlyAttention.Replace}, true
		}
		return naming{rename: func(name string) string { return name }}, true
	case has(s, "encoder.down.0.block.0.conv1.weight"):
		return ldmNaming(s, ""), true
	case has(s, ldmPrefix+"encoder.down.0.block.0.conv1.weight"):
		return ldmNaming(s, ldmPrefix), true
	}
	return naming{}, false
}

// klEarlyAttention translates to diffusers' earlier names of the attention's parts.
var klEarlyAttention = strings.NewReplacer(
	".to_q.", ".query.",
	".to_k.", ".key.",
	".to_v.", ".value.",
	".to_out.0.", ".proj_attn.",
)

// ldmWords translates to the names of the original latent diffusion code.
var ldmWords = strings.NewReplacer(
	"mid_block.resnets.0.", "mid.block_1.",
	"mid_block.resnets.1.", "mid.block_2.",
	"mid_block.attentions.0.", "mid.attn_1.",
	"group_norm.", "norm.",
	"to_q.", "q.",
	"to_k.", "k.",
	"to_v.", "v.",
	"to_out.0.", "proj_out.",
	"down_blocks.", "down.",
	"up_blocks.", "up.",
	"resnets.", "block.",
	"downsamplers.0.", "downsample.",
	"upsamplers.0.", "upsample.",
	"conv_shortcut.", "nin_shortcut.",
	"conv_norm_out.", "norm_out.",
)

// ldmNaming counts the levels of the decoder from the highest resolution on, diffusers in order of
// execution. Its files may hold the training loss's network, and, with a prefix, the whole of a
// model beside the autoencoder.
func ldmNaming(s checkpoint.Lister, prefix string) naming {
	levels := 0
	for has(s, fmt.Sprintf("%sencoder.down.%d.block.0.conv1.weight", prefix, levels)) {
		levels++
	}
	const up = "decoder.up_blocks."
	return naming{
		rename: func(name string) string {
			if rest, ok := strings.CutPrefix(name, up); ok {
				number, rest, _ := strings.Cut(rest, ".")
				if i, err := strconv.Atoi(number); err == nil {
					name = fmt.Sprintf("%s%d.%s", up, levels-1-i, rest)
				}
			}
			return prefix + ldmWords.Replace(name)
		},
		ignore: func(name string) bool {
			own, ok := strings.CutPrefix(name, prefix)
			return !ok || strings.HasPrefix(own, "loss.") || strings.HasPrefix(own, "model_ema.")
		},
	}
}
