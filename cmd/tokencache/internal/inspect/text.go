package inspect

import (
	"context"

	"github.com/tokencache/tokencache/minit2i"
	"github.com/tokencache/tokencache/models"
	"github.com/tokencache/tokencache/prompt"
)

// textModel inspects a text-to-image model.
func textModel(ctx context.Context, path, key string) (*Report, error) {
	w, err := models.ResolveTextWeights(ctx, path, minit2i.Options{Key: key})
	if err != nil {
		return nil, err
	}
	defer w.Close()
	r, c := newReport(w.File), w.Config
	r.Architecture = c.Name()
	r.add("input", "3 channels of %d x %d, patches of %d x %d: %d tokens, after %d of a text",
		c.ImageSize, c.ImageSize, c.PatchSize, c.PatchSize, c.ImageTokens(), c.TextTokens)
	r.add("output", "3 channels (clean image of a flow, path Linear, noise of %g)", c.Noise())
	r.add("blocks", "%d of text and image after %d of the text, width %d, %d heads of %d, MLP of %d",
		c.Depth, c.TextDepth, c.Hidden, c.Heads, c.Hidden/c.Heads, c.MLPHidden)
	for _, t := range c.Tensors() {
		n := int64(1)
		for _, d := range t.Shape {
			n *= int64(d)
		}
		r.Parameters += n
	}
	r.FLOPsPerStep, r.WeightBytes = c.FLOPs(1), 4*r.Parameters
	r.encoder(w)
	r.add("parameters", "%s", millions(r.Parameters))
	r.add("cost", "%.2f GFLOP a sample and step, twice that with guidance", float64(r.FLOPsPerStep)/1e9)
	r.add("memory", "%s for the weights", bytes(r.WeightBytes))
	if err := w.File.NotFinite(); err != nil {
		r.Reason = err.Error()
	}
	return r, nil
}

// encoder says how the model's texts are encoded.
func (r *Report) encoder(w *minit2i.Weights) {
	if w.Vocabulary > 0 {
		r.add("text", "a vocabulary of its own, of %d words and characters", w.Vocabulary)
		return
	}
	dir := prompt.Find(w)
	if dir == "" {
		r.add("text", "vectors of width %d; there is no text encoder next to the model", w.TextWidth)
		return
	}
	e, err := prompt.Open(dir, w.TextTokens)
	if err != nil {
		r.add("text", "%v", err)
		return
	}
	r.add("text", "vectors of width %d, of a T5 with %d blocks of width %d in %s", w.TextWidth, e.Config.Blocks, e.Config.Width, dir)
}
