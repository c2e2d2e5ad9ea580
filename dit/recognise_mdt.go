package dit

import (
	"fmt"
	"math"
	"regexp"
	"strings"

	"github.com/tokencache/tokencache/nn"
)

// defaultDecodeLayer is the depth of the published MDTv1 models' decoder, of which their tensors
// bear no trace.
const defaultDecodeLayer = 2

// archSigns say how each architecture is told by its tensors.
var archSigns = map[Arch]string{
	ArchDiT:   " (blocks.N without position biases)",
	ArchMDTv1: " (blocks.N with position biases, all in one row)",
	ArchSiT:   " (a DiT's)",
	ArchMDTv2: " (en_inblocks.N, en_outblocks.N and de_blocks.N, the latter two with long skips)",
}

// ignored reports whether a file may have a tensor that sampling does not need: an index in an MDT's,
// and in REPA's what aligns its training with another network. A DiT's has none of these names.
func ignored(name string) bool {
	return strings.HasSuffix(name, "."+biasIndexName) || strings.HasPrefix(name, projectorPrefix)
}

// The groups of MDTv2's blocks.
var (
	inBlock      = regexp.MustCompile(`^en_inblocks\.(\d+)\.`)
	outBlock     = regexp.MustCompile(`^en_outblocks\.(\d+)\.`)
	decoderBlock = regexp.MustCompile(`^de_blocks\.(\d+)\.`)
)

// measureU reads MDTv2's depths off the names of its groups of blocks.
func (w *Weights) measureU(c *Config) error {
	in, out, decoder := w.countBlocks(inBlock), w.countBlocks(outBlock), w.countBlocks(decoderBlock)
	if in != out || in == 0 || decoder == 0 {
		return fmt.Errorf("%d in-blocks (en_inblocks), %d out-blocks (en_outblocks) and %d blocks of the "+
			"decoder (de_blocks): an MDTv2 has as many in-blocks as out-blocks, and a decoder; this looks like one "+
			"of %d blocks with some left out",
			in, out, decoder, 2*max(in, out)+max(decoder, 1))
	}
	c.Depth, c.DecodeLayer = in+out+decoder, decoder
	return nil
}

// groups says how an MDTv2's depth comes about.
func (c *Config) groups() string {
	if c.Arch != ArchMDTv2 {
		return ""
	}
	return fmt.Sprintf(" (%d in-blocks, %d out-blocks, %d of the decoder)", c.inBlocks(), c.inBlocks(), c.DecodeLayer)
}

// checkBias reports tables of relative position biases that are not of the model's grid, and whose
// they look like.
func (w *Weights) checkBias() error {
	side := w.InputSize / w.PatchSize
	names := []string{sideBlockName}
	for i := range w.Depth {
		names = append(names, w.BlockName(i))
	}
	for _, name := range names {
		name += "." + biasTableName
		info, ok := w.File.Lookup(name)
		if !ok || len(info.Shape) != 2 || info.Shape[0] == nn.RelativeDistances(side) {
			continue // what is missing or misshapen otherwise is reported with all the rest
		}
		rows := info.Shape[0]
		looks := "no square grid has as many"
		other := (int(math.Round(math.Sqrt(float64(max(rows-3, 0))))) + 1) / 2
		if rows > 3 && nn.RelativeDistances(other) == rows {
			looks = fmt.Sprintf("it looks like one of a grid of %d x %d, latents of %d x %d",
				other, other, other*w.PatchSize, other*w.PatchSize)
		}
		return fmt.Errorf("tensor %s: shape %v, want %d rows, (2*%d-1)^2+3, for a grid of %d x %d tokens: %s",
			name, info.Shape, nn.RelativeDistances(side), side, side, side, looks)
	}
	return nil
}
