package dit

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/tokencache/tokencache/checkpoint"
)

// recognise finds out what the model is and checks every tensor.
func (w *Weights) recognise(given *fileConfig, o Options) error {
	naming, arch, err := w.naming()
	if err != nil {
		return err
	}
	w.rename = naming.rename
	c, err := w.measure(naming, arch)
	if err != nil {
		return err
	}
	if err := c.complete(given, o); err != nil {
		return err
	}
	c.TimestepShift = given.TimestepShift
	if naming.diffusers {
		c.TimestepShift = 1
	}
	if c.Arch == ArchMDTv1 && c.DecodeLayer == 0 {
		c.DecodeLayer = defaultDecodeLayer
		w.Assumed = fmt.Sprintf("the decoder is the last %d of the %d blocks (--decode-layer), as in the published model: MDTv1's tensors do not tell", c.DecodeLayer, c.Depth)
	}
	w.Config = c
	if err := c.Validate(); err != nil {
		return err
	}
	_, w.posEmbed = w.File.Lookup(posEmbedName)
	wants := c.Tensors()
	if naming.diffusers {
		wants = c.diffusersTensors()
	}
	if c.isMDT() {
		if err := w.checkBias(); err != nil {
			return err
		}
	}
	if err := checkpoint.Check(w.File, wants, ignoredInMDT); err != nil {
		return err
	}
	if naming.diffusers {
		return w.sameEmbedders()
	}
	return nil
}

// naming is a convention of tensor names.
type naming struct {
	diffusers bool
	block     *regexp.Regexp // matches the names of a block's tensors; the first group is the block's number
	rename    func(string) []string
}

// naming recognises the convention and the architecture by names that only one has.
func (w *Weights) naming() (naming, Arch, error) {
	has := func(name string) bool { _, ok := w.File.Lookup(name); return ok }
	switch {
	case has("en_inblocks.0.attn.qkv.weight") || has("en_outblocks.0.attn.qkv.weight") || has("de_blocks.0.attn.qkv.weight"):
		return officialNaming, ArchMDTv2, nil
	case has(maskTokenName) || has(decoderPosEmbedName) || has(sideBlockName+".attn.qkv.weight") || has("blocks.0."+biasTableName):
		return officialNaming, ArchMDTv1, nil
	case has("x_embedder.proj.weight"):
		return officialNaming, ArchDiT, nil
	case has("pos_embed.proj.weight") && has("transformer_blocks.0.norm1.linear.weight"):
		return diffusersNaming, ArchDiT, nil
	case has("decoder.conv_in.weight") || has("first_stage_model.decoder.conv_in.weight") || has("decoder.1.weight"):
		return naming{}, "", errors.New("these are the weights of an autoencoder, not of a diffusion transformer: give them as --vae")
	}
	names := w.File.Names()
	if len(names) > 4 {
		names = append(slices.Clone(names[:4]), "...")
	}
	return naming{}, "", fmt.Errorf("not a diffusion transformer that is known here: it has neither x_embedder.proj.weight (official naming) nor pos_embed.proj.weight (diffusers); its tensors are %s", strings.Join(names, ", "))
}

// measure reads the sizes off the tensors' shapes; what they do not tell stays 0.
func (w *Weights) measure(n naming, arch Arch) (Config, error) {
	c := Config{Arch: arch}
	var err error
	shape := func(name string, dims int) []int {
		name = n.rename(name)[0]
		info, ok := w.File.Lookup(name)
		if ok && len(info.Shape) == dims {
			return info.Shape
		}
		if err == nil {
			if ok {
				err = fmt.Errorf("tensor %s: shape %v, want %d dimensions", name, info.Shape, dims)
			} else {
				err = fmt.Errorf("tensor %s is missing", name)
			}
		}
		return make([]int, dims)
	}
	patch := shape("x_embedder.proj.weight", 4)
	c.Hidden, c.InChannels, c.PatchSize = patch[0], patch[1], patch[2]
	c.NumClasses = shape("y_embedder.embedding_table.weight", 2)[0] - 1
	out := shape("final_layer.linear.weight", 2)[0]
	first := "blocks.0."
	if arch == ArchMDTv2 {
		first = "en_inblocks.0."
	}
	c.MLPHidden = shape(first+"mlp.fc1.weight", 2)[0]
	if c.isMDT() {
		c.Heads = shape(first+biasTableName, 2)[1]
	}
	if err != nil {
		return c, err
	}
	if perChannel := c.PatchSize * c.PatchSize * c.InChannels; out != perChannel && out != 2*perChannel {
		return c, fmt.Errorf("tensor %s has %d rows, want %d (patch %d, %d channels) or, with learned variance, %d",
			n.rename("final_layer.linear.weight")[0], out, perChannel, c.PatchSize, c.InChannels, 2*perChannel)
	} else {
		c.LearnSigma = out == 2*perChannel
	}
	if arch == ArchMDTv2 {
		if err := w.measureU(&c); err != nil {
			return c, err
		}
	} else {
		c.Depth = w.countBlocks(n.block)
	}
	if info, ok := w.File.Lookup(posEmbedName); ok && len(info.Shape) == 3 {
		if side := int(math.Sqrt(float64(info.Shape[1]))); side*side == info.Shape[1] {
			c.InputSize = side * c.PatchSize
		}
	}
	return c, nil
}

// countBlocks returns one more than the highest number in names that block matches. A block that the file has no room for is left to be reported
// as unexpected.
func (w *Weights) countBlocks(block *regexp.Regexp) int {
	count := 0
	for _, name := range w.File.Names() {
		if m := block.FindStringSubmatch(name); m != nil {
			if i, err := strconv.Atoi(m[1]); err == nil && i < len(w.File.Names()) {
				count = max(count, i+1)
			}
		}
	}
	return count
}

// complete fills in what the tensors did not tell and reports contradictions.
func (c *Config) complete(given *fileConfig, o Options) error {
	var errs []error
	settle := func(what string, own *int, others ...int) {
		by := "by the tensors"
		for _, v := range others {
			if *own == 0 {
				*own, by = v, "as asked for"
			} else if v != 0 && v != *own {
				errs = append(errs, fmt.Errorf("%s: %d %s, %d as given", what, *own, by, v))
			}
		}
	}
	settle("input_size", &c.InputSize, o.InputSize, given.InputSize)
	settle("patch_size", &c.PatchSize, given.PatchSize)
	settle("in_channels", &c.InChannels, given.InChannels)
	settle("hidden_size", &c.Hidden, given.Hidden)
	settle("num_classes", &c.NumClasses, given.NumClasses)
	if given.Arch != "" && !strings.EqualFold(given.Arch, string(c.Arch)) {
		errs = append(errs, fmt.Errorf("arch: %s by the tensors%s, %s as given", c.Arch, archSigns[c.Arch], given.Arch))
	} else {
		settle("depth"+c.groups(), &c.Depth, given.Depth)
		settle("decode_layer", &c.DecodeLayer, o.DecodeLayer, given.Decode)
	}
	if c.Heads != 0 {
		settle("num_heads", &c.Heads, o.Heads, given.Heads)
	} else if c.Heads = o.Heads; c.Heads == 0 {
		c.Heads = given.Heads
	}
	if c.Heads == 0 {
		var ok bool
		if c.Heads, ok = HeadsOfWidth(c.Hidden); !ok {
			errs = append(errs, fmt.Errorf("the number of heads cannot be told from the tensors: width %d is none of the official ones (384: 6 heads, 768: 12, 1024: 16, 1152: 16); give --heads, or num_heads in config.json", c.Hidden))
		}
	}
	if c.InputSize == 0 {
		if c.NumClasses == 1000 {
			c.InputSize = 32 // the diffusers port of the official 256-pixel model
		} else {
			errs = append(errs, errors.New("the side of the latents cannot be told from the tensors: there is no pos_embed; give --input-size, or input_size in config.json"))
		}
	}
	return errors.Join(errs...)
}

var (
	officialNaming  = naming{block: regexp.MustCompile(`^blocks\.(\d+)\.`), rename: func(name string) []string { return []string{name} }}
	diffusersNaming = naming{diffusers: true, block: regexp.MustCompile(`^transformer_blocks\.(\d+)\.`), rename: diffusersNames}
)
