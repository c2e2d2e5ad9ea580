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
	if err := checkpoint.Quantised(w.File); err != nil {
		return err
	}
	naming, arch, ok := namingOf(w.File)
	if !ok {
		return unknown(w.File)
	}
	w.rename = naming.rename
	if arch == ArchDiT && w.isSiT(given, o) {
		arch = ArchSiT
	}
	c, err := w.measure(naming, arch)
	if err != nil {
		return err
	}
	if err := w.settleLabels(&c, given); err != nil {
		return err
	}
	if err := w.complete(&c, given, o); err != nil {
		return err
	}
	if err := w.settleFlow(&c, given, o); err != nil {
		return err
	}
	c.TimestepShift = int(given.TimestepShift)
	if naming.diffusers {
		c.TimestepShift = 1
	}
	if c.Arch == ArchMDTv1 && c.DecodeLayer == 0 {
		c.DecodeLayer = defaultDecodeLayer
		w.assume("the decoder is the last %d of the %d blocks, as in the published model: MDTv1's tensors do not tell",
			c.DecodeLayer, c.Depth)
	}
	w.Config = c
	if err := c.Validate(); err != nil {
		return err
	}
	if err := w.checkGrid(); err != nil {
		return err
	}
	if err := CheckNames(given.Names, c.NumClasses); err != nil {
		return err
	}
	w.ClassNames = given.Names
	_, w.posEmbed = w.File.Lookup(posEmbedName)
	wants := c.Tensors()
	if naming.diffusers {
		wants = c.diffusersTensors()
	} else {
		for i := range wants {
			wants[i].Name = naming.rename(wants[i].Name)[0]
		}
	}
	if c.isMDT() {
		if err := w.checkBias(); err != nil {
			return err
		}
	}
	if err := checkpoint.Check(w.File, wants, ignored); err != nil {
		return err
	}
	if naming.diffusers {
		return w.sameEmbedders()
	}
	return nil
}

// assume notes what is taken for granted.
func (w *Weights) assume(format string, args ...any) {
	if w.Assumed != "" {
		w.Assumed += "; "
	}
	w.Assumed += fmt.Sprintf(format, args...)
}

// naming is a convention of tensor names.
type naming struct {
	diffusers bool
	block     *regexp.Regexp // matches the names of a block's tensors; the first group is the block's number
	more      int            // blocks of other names
	rename    func(string) []string
}

var (
	officialNaming = naming{
		block:  regexp.MustCompile(`^blocks\.(\d+)\.`),
		rename: func(name string) []string { return []string{name} },
	}
	diffusersNaming = naming{
		diffusers: true,
		block:     regexp.MustCompile(`^transformer_blocks\.(\d+)\.`),
		rename:    diffusersNames,
	}
)

// namingOf recognises the convention and the architecture by names that only one has.
func namingOf(f checkpoint.Lister) (n naming, arch Arch, ok bool) {
	has := func(name string) bool { _, ok := f.Lookup(name); return ok }
	switch {
	case has("en_inblocks.0.attn.qkv.weight"), has("en_outblocks.0.attn.qkv.weight"), has("de_blocks.0.attn.qkv.weight"):
		return officialNaming, ArchMDTv2, true
	case has(maskTokenName), has(decoderPosEmbedName), has(sideBlockName + ".attn.qkv.weight"), has("blocks.0." + biasTableName):
		return officialNaming, ArchMDTv1, true
	case has("x_embedder.proj.weight") && has("decoder_blocks.0.attn.qkv.weight"):
		return legacyREPANaming(f), ArchSiT, true
	case has("x_embedder.proj.weight"):
		return officialNaming, ArchDiT, true
	case has("pos_embed.proj.weight") && has("transformer_blocks.0.norm1.linear.weight"):
		return diffusersNaming, ArchDiT, true
	}
	return naming{}, "", false
}

// known reports whether tensors are those of a model of this package.
func known(f checkpoint.Lister) bool {
	_, _, ok := namingOf(f)
	return ok
}

// unknown reports tensors that are none of a model's.
func unknown(f checkpoint.Lister) error {
	for _, name := range []string{
		"decoder.conv_in.weight",
		"first_stage_model.decoder.conv_in.weight",
		"decoder.1.weight",
	} {
		if _, ok := f.Lookup(name); ok {
			return errors.New("these are the weights of an autoencoder, not of a diffusion transformer")
		}
	}
	for _, name := range []string{"x_embedder.proj.weight", "pos_embed.proj.weight"} {
		var bad *checkpoint.MismatchError
		if err := checkpoint.Check(f, []checkpoint.Want{{Name: name}}, nil); errors.As(err, &bad) && len(bad.Unreadable) > 0 {
			return fmt.Errorf("a weight that cannot be used: %s", bad.Unreadable[0])
		}
	}
	names := f.Names()
	if len(names) > 4 {
		names = append(slices.Clone(names[:4]), "...")
	}
	return fmt.Errorf("not a diffusion transformer that is known here: it has neither "+
		"x_embedder.proj.weight (official naming) nor "+
		"pos_embed.proj.weight (diffusers); its tensors are %s", strings.Join(names, ", "))
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
	c.NumClasses = shape("y_embedder.embedding_table.weight", 2)[0] - 1 // see settleLabels
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
		c.Depth = w.countBlocks(n.block) + n.more
	}
	if info, ok := w.File.Lookup(posEmbedName); ok && len(info.Shape) == 3 {
		side := int(math.Sqrt(float64(info.Shape[1])))
		if side*side != info.Shape[1] {
			return c, fmt.Errorf("tensor %s: shape %v, %d positions, which are no square grid: latents that "+
				"are not square are not supported",
				posEmbedName, info.Shape, info.Shape[1])
		}
		c.InputSize = side * c.PatchSize
	}
	return c, nil
}

// countBlocks returns one more than the highest number in names that block matches. A block that
// the file has no room for is left to be reported as unexpected.
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

// settleLabels finds out whether the last row of the label table is the null class, which a model
// that was trained without dropping labels does not have. Only what is given can tell; official
// models have it.
func (w *Weights) settleLabels(c *Config, given *fileConfig) error {
	rows := c.NumClasses + 1
	classes := int(given.NumClasses)
	if n := setting(w.File, "num_classes"); classes == 0 && (n == rows || n == rows-1) {
		classes = n
	}
	never := given.Dropout != nil && *given.Dropout == 0
	switch {
	case classes == rows && given.Dropout != nil && *given.Dropout > 0:
		return fmt.Errorf("class_dropout_prob is %g, but the label table has no row for the null class: "+
			"%d rows for %d classes",
			*given.Dropout, rows, classes)
	case classes == rows, classes == 0 && (never || rows == 1):
		c.NumClasses, c.NoNullClass = rows, true
	case never:
		w.assume("the last of the label table's %d rows is the null class, although class_dropout_prob is 0", rows)
	}
	return nil
}

// complete fills in what the tensors did not tell and reports contradictions.
func (w *Weights) complete(c *Config, given *fileConfig, o Options) error {
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
	settle("input_size", &c.InputSize, o.InputSize, int(given.InputSize))
	settle("patch_size", &c.PatchSize, int(given.PatchSize))
	settle("in_channels", &c.InChannels, int(given.InChannels))
	settle("hidden_size", &c.Hidden, int(given.Hidden))
	settle("num_classes", &c.NumClasses, int(given.NumClasses))
	if given.Arch != "" && !strings.EqualFold(given.Arch, string(c.Arch)) {
		errs = append(errs, fmt.Errorf("arch: %s by the tensors%s, %s as given",
			c.Arch, archSigns[c.Arch], checkpoint.Clean(given.Arch)))
	} else {
		settle("depth"+c.groups(), &c.Depth, int(given.Depth))
		settle("decode_layer", &c.DecodeLayer, o.DecodeLayer, int(given.Decode))
	}
	if given.LearnSigma != nil && *given.LearnSigma != c.LearnSigma {
		errs = append(errs, fmt.Errorf("learn_sigma: %t by the tensors, %t as given", c.LearnSigma, *given.LearnSigma))
	}
	if width := given.MLPRatio * float64(c.Hidden); given.MLPRatio != 0 && math.Abs(width-float64(c.MLPHidden)) >= 1 {
		errs = append(errs, fmt.Errorf("mlp_ratio: width %d by the tensors, %g as given", c.MLPHidden, width))
	}
	if c.Heads != 0 {
		settle("num_heads", &c.Heads, o.Heads, int(given.Heads))
	} else if c.Heads = o.Heads; c.Heads == 0 {
		c.Heads = int(given.Heads)
	}
	if c.Heads == 0 {
		var ok bool
		if c.Heads, ok = HeadsOfWidth(c.Hidden); !ok {
			errs = append(errs, &NeededError{"Heads", fmt.Sprintf("the number of heads cannot be told from the "+
				"tensors: width %d is none of the official ones (384: 6 heads, 768: 12, 1024: 16, 1152: 16), and "+
				"num_heads is not in config.json", c.Hidden)})
		}
	}
	if c.InputSize == 0 {
		if err := w.guessInputSize(c); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// guessInputSize takes the side of the latents from the training script's image_size, if an
// autoencoder makes the latents; of a model of ImageNet's classes from the published model,
// diffusers' port of which has no position embedding.
func (w *Weights) guessInputSize(c *Config) error {
	const downscale, latentChannels = 8, 4 // of Stable Diffusion's autoencoder
	side := setting(w.File, "image_size")
	switch {
	case c.InChannels == latentChannels && side > 0 && side%downscale == 0:
		c.InputSize = side / downscale
		w.assume("the latents are %d x %d, as images of %d pixels have: there is no pos_embed",
			c.InputSize, c.InputSize, side)
	case c.NumClasses == 1000:
		c.InputSize = 32
		w.assume("the latents are taken for %d x %d, as in the published 256-pixel model: there is no "+
			"pos_embed, and no input_size",
			c.InputSize, c.InputSize)
	default:
		return &NeededError{"InputSize", "the side of the latents cannot be told from the tensors: " +
			"there is no pos_embed, and input_size is not in config.json"}
	}
	return nil
}

// maxTokens bounds the tokens of a sample where no position embedding in the file does: 4096 pixels
// with latents of 1/8 and patches of 2.
const maxTokens = 1 << 16

// checkGrid reports a grid that only config.json makes large: what a sample takes is bounded by the
// file's size, too.
func (w *Weights) checkGrid() error {
	side := int64(w.InputSize / w.PatchSize)
	tokens := side * side
	if tokens > maxTokens {
		return fmt.Errorf("input_size is %d: %d tokens with patches of %d, want at most %d",
			w.InputSize, tokens, w.PatchSize, maxTokens)
	}
	room := 16<<20 + 4*w.File.Size() // numbers: 64 MiB, and 16 times the file
	patch := int64(w.PatchSize) * int64(w.PatchSize)
	perToken := max(int64(w.Hidden), patch*int64(w.lastChannels()))
	if perToken > room/max(tokens, 1) {
		return fmt.Errorf("input_size is %d: %d tokens of %d numbers are too much for a model of %d bytes",
			w.InputSize, tokens, perToken, w.File.Size())
	}
	return nil
}
