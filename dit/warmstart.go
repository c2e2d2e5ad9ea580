package dit

import (
	"fmt"
	"strings"

	"github.com/tokencache/tokencache/nn"
)

// Extend returns the weights of an MDT of configuration c that computes what w, a DiT of the same
// size, does, for training to begin at: the long skips bring nothing, position biases and the
// decoder's position embedding are 0, and the learned position embedding is the DiT's fixed one.
// What masked training alone uses comes from fresh. The weights are to be read with their position
// embeddings (havePosEmbed of New and NewTrainable).
func (w *Weights) Extend(c Config, fresh nn.Source) (nn.Source, error) {
	same := c
	same.Arch, same.DecodeLayer = w.Arch, w.DecodeLayer
	if w.Arch != ArchDiT || !c.isMDT() || same != w.Config {
		return nil, fmt.Errorf("model %s: a %s cannot begin as it: want a DiT, and an MDT of its size", w.File.Path, c.Name())
	}
	e := &extended{w: w, fresh: fresh, own: map[string]bool{}, blocks: map[string]string{}}
	for _, t := range c.sideTensors() {
		e.own[t.Name] = true
	}
	for i := range c.Depth {
		e.blocks[c.BlockName(i)+"."] = w.BlockName(i) + "."
	}
	return e, nil
}

// extended is what Extend returns.
type extended struct {
	w      *Weights
	fresh  nn.Source
	own    map[string]bool   // tensors that come from fresh
	blocks map[string]string // how the DiT calls the MDT's blocks
}

// Read implements nn.Source.
func (e *extended) Read(name string, dst []float32) error {
	switch {
	case e.own[name]:
		return e.fresh.Read(name, dst)
	case name == posEmbedName && !e.w.posEmbed:
		copy(dst, positionEmbedding(e.w.Hidden, e.w.InputSize/e.w.PatchSize))
		return nil
	case name == decoderPosEmbedName, strings.HasSuffix(name, biasTableName), strings.HasSuffix(name, "skip_linear.bias"):
		clear(dst)
		return nil
	case strings.HasSuffix(name, "skip_linear.weight"): // [D, 2D]: the tokens, and beside them their skip
		clear(dst)
		for i := range e.w.Hidden {
			dst[i*2*e.w.Hidden+i] = 1
		}
		return nil
	}
	for mine, theirs := range e.blocks {
		if rest, ok := strings.CutPrefix(name, mine); ok {
			return e.w.Read(theirs+rest, dst)
		}
	}
	return e.w.Read(name, dst)
}
