package train

import (
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/tokencache/tokencache/checkpoint"
	"github.com/tokencache/tokencache/data"
	"github.com/tokencache/tokencache/diffusion"
	"github.com/tokencache/tokencache/minit2i"
	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
	"github.com/tokencache/tokencache/unigram"
)

// TextOptions says how a Text makes its examples.
type TextOptions struct {
	Seed    uint64  `json:"seed"`
	Dropout float64 `json:"caption_dropout"` // probability of no caption, for guidance
	Flip    bool    `json:"flip"`            // mirror, with probability 1/2, images whose captions allow it

	// Mean and standard deviation of the normal number whose sigmoid is an example's time, 0 being
	// noise. A TimeStd of 0 stands for MiniT2I's -0.8 and 0.8.
	TimeMean float64 `json:"time_mean,omitempty"`
	TimeStd  float64 `json:"time_std,omitempty"`
}

// objective returns the loss that a model of configuration c is trained with.
func (o TextOptions) objective(c minit2i.Config) ImageFlow {
	f := MiniT2IFlow(c)
	if o.TimeStd > 0 {
		f.Mean, f.Std = o.TimeMean, o.TimeStd
	}
	return f
}

// check returns an error for options that no examples can be made with.
func (o TextOptions) check() error {
	switch {
	case !(o.Dropout >= 0 && o.Dropout <= 1):
		return fmt.Errorf("caption dropout of %g: want 0 to 1", o.Dropout)
	case !(o.TimeStd >= 0) || math.IsInf(o.TimeStd, 0) || math.IsNaN(o.TimeMean) || math.IsInf(o.TimeMean, 0):
		return fmt.Errorf("times of mean %g and standard deviation %g: want finite numbers, the second positive",
			o.TimeMean, o.TimeStd)
	}
	return nil
}

// TextNote is the note of a run that trains a Text.
type TextNote struct {
	Source
	Options TextOptions `json:"text"`
}

// TextDefaults returns the default options of a Text's examples.
func TextDefaults() TextOptions { return TextOptions{Seed: 1, Dropout: 0.1} }

// TextSettings returns the settings of the training of a text-to-image model, without Steps.
func TextSettings() Settings {
	s := Defaults()
	s.Batch, s.LR = 32, 5e-4
	return s
}

// TextModelOptions says what text-to-image model NewTextModel makes. Zero values mean what their
// comments say.
type TextModelOptions struct {
	Width      int // 0: 192
	Depth      int // joint blocks; 0: 6
	Heads      int // 0: one for each 64 of the width
	Patch      int // side of a patch; 0: 8
	TextDepth  int // blocks of the text alone; 0: 2
	TextTokens int // of every caption; 0: 16
	Vocabulary int // ids at most; 0: 4096
	Seed       uint64
}

// TextModel is a text-to-image model to train, with its own vocabulary.
type TextModel struct {
	*minit2i.Model
	Params    []*tensor.Param
	Tokenizer []byte // tokenizer.json
}

// NewTextModel returns a new model for images of a size and their captions.
func NewTextModel(o TextModelOptions, size int, captions []data.Captions) (*TextModel, error) {
	var texts []string
	for _, c := range captions {
		texts = append(texts, c.Texts...)
	}
	or := func(v, instead int) int {
		if v == 0 {
			return instead
		}
		return v
	}
	vocabulary, err := unigram.WordsJSON(texts, or(o.Vocabulary, 4096))
	if err != nil {
		return nil, err
	}
	tok, err := unigram.ParseHuggingFace(vocabulary, unigram.Transformers5)
	if err != nil {
		return nil, err
	}
	width := or(o.Width, 192)
	c := minit2i.Config{
		ImageSize:  size,
		PatchSize:  or(o.Patch, 8),
		Hidden:     width,
		Heads:      or(o.Heads, max(1, width/64)),
		Depth:      or(o.Depth, 6),
		TextDepth:  or(o.TextDepth, 2),
		TextWidth:  width,
		TextTokens: or(o.TextTokens, 16),
		Bottleneck: max(1, width/2),
		MLPHidden:  (width*8/3 + 7) / 8 * 8,
		NoiseScale: 1,
		Vocabulary: tok.Size(),
	}
	m, params, err := minit2i.NewTrainable(c, newTextInit(c, o.Seed))
	return &TextModel{m, params, vocabulary}, err
}

// OpenTextModel returns a model to be trained on, which must read text by itself.
func OpenTextModel(w *minit2i.Weights) (*TextModel, error) {
	text := w.File.Metadata()[checkpoint.TokenizerKey]
	if text == "" {
		return nil, fmt.Errorf("model %s: no tokenizer in its metadata: only models with one of their own are trained", w.File.Path)
	}
	m, params, err := w.Trainable()
	return &TextModel{m, params, []byte(text)}, err
}

// textInit is the source of a new text-to-image model's weights: norms of one, linear maps from
// Xavier's uniform distribution with zero biases, embeddings of a normal distribution, and an
// output of zeros.
type textInit struct {
	seed   uint64
	shapes map[string][]int
}

func newTextInit(c minit2i.Config, seed uint64) *textInit {
	f := &textInit{seed: seed, shapes: map[string][]int{}}
	for _, w := range c.Tensors() {
		f.shapes[w.Name] = w.Shape
	}
	return f
}

// Read fills dst with the named tensor.
func (f *textInit) Read(name string, dst []float32) error {
	shape, ok := f.shapes[name]
	if !ok {
		return fmt.Errorf("a new model has no tensor %s", name)
	}
	r := newRand("weights "+name, f.seed)
	switch {
	case strings.HasSuffix(name, ".bias"), strings.HasSuffix(name, "final_layer.linear.weight"):
		clear(dst)
	case len(shape) == 1: // the weight of a norm
		for i := range dst {
			dst[i] = 1
		}
	case strings.HasSuffix(name, "txt_tokens.weight"), strings.HasSuffix(name, "mask_token"):
		for i := range dst {
			dst[i] = float32(r.NormFloat64())
		}
	default:
		limit := math.Sqrt(6 / float64(len(dst)/shape[0]+shape[0]))
		for i := range dst {
			dst[i] = float32(limit * (2*r.Float64() - 1))
		}
	}
	return nil
}

// Text is the training of a text-to-image model on captioned images, text tower and all.
type Text struct {
	model     *TextModel
	objective ImageFlow
	options   TextOptions
	data      Examples
	captions  []data.Captions
	prompts   [][]seam.Condition // of each caption of each image
	none      seam.Condition
	order     *data.Order

	batch  seam.Batch
	images [][]float32
	noise  [][]float32
}

// NewText returns the training of m on images with captions.
func NewText(m *TextModel, images Examples, captions []data.Captions, o TextOptions) (*Text, error) {
	switch {
	case images.Len() == 0:
		return nil, errors.New("the data set has no images")
	case images.Len() != len(captions):
		return nil, fmt.Errorf("captions of %d images for %d", len(captions), images.Len())
	}
	if err := o.check(); err != nil {
		return nil, err
	}
	tok, err := unigram.ParseHuggingFace(m.Tokenizer, unigram.Transformers5)
	if err != nil {
		return nil, fmt.Errorf("the model's tokenizer: %w", err)
	}
	t := &Text{
		model:     m,
		objective: o.objective(m.Config),
		options:   o,
		data:      images,
		captions:  captions,
		order:     data.NewOrder(images.Len(), o.Seed),
	}
	if t.none, err = m.RawIDPrompt(nil); err != nil {
		return nil, err
	}
	for _, c := range captions {
		var list []seam.Condition
		for _, text := range c.Texts {
			p, err := m.RawIDPrompt(textIDs(tok, text, m.TextTokens))
			if err != nil {
				return nil, fmt.Errorf("caption %.80q: %w", text, err)
			}
			list = append(list, p)
		}
		t.prompts = append(t.prompts, list)
	}
	return t, nil
}

// textIDs returns the ids of a text, without padding.
func textIDs(tok *unigram.Tokenizer, text string, length int) []int32 {
	ids, mask, _ := tok.EncodePadded(text, length)
	for i, m := range mask {
		if m == 0 {
			return ids[:i]
		}
	}
	return ids
}

// Params implements Task.
func (t *Text) Params() []*tensor.Param { return t.model.Params }

// Measures are the loss of the velocity and the mean squared error of the predicted image.
func (t *Text) Measures() []string { return []string{"loss", "mse"} }

// Changed implements Task: it repacks the weights.
func (t *Text) Changed() { t.model.Repack() }

// BlockWeights implements BlockTask.
func (t *Text) BlockWeights() []*tensor.Weight { return t.model.BlockWeights() }

// Accumulate implements Task.
func (t *Text) Accumulate(g *tensor.Graph, first int64, count int, scale float64) ([]float64, error) {
	t.allocate(count)
	err := parallel(count, func(i int) error { return t.example(i, first+int64(i)) })
	if err != nil {
		return nil, err
	}
	losses, err := t.objective.Gradients(g, t.model.Model, &t.batch, t.images, scale)
	if err != nil {
		return nil, err
	}
	sums := []float64{0, 0}
	for i, l := range losses {
		rest := max(1-float64(t.batch.T[i]), t.objective.Floor)
		sums[0], sums[1] = sums[0]+l, sums[1]+l*rest*rest
	}
	return sums, nil
}

func (t *Text) allocate(count int) {
	if t.batch.X != nil && t.batch.X.Rows == count {
		return
	}
	size := t.model.Shape().Latents()
	t.batch, _ = newExamples(count, size)
	t.images, t.noise = nil, nil
	for range count {
		t.images = append(t.images, make([]float32, size))
		t.noise = append(t.noise, make([]float32, size))
	}
}

// example prepares entry i of the batch: element n of the order.
func (t *Text) example(i int, n int64) error {
	index, err := t.order.Read(n, t.data, t.images[i])
	if err != nil {
		return err
	}
	r := newRand("text example", t.options.Seed, uint64(n))
	time := t.objective.Time(r.NormFloat64())
	variants := t.prompts[index]
	t.batch.Cond[i] = variants[r.IntN(len(variants))]
	if r.Float64() < t.options.Dropout {
		t.batch.Cond[i] = t.none
	}
	if flip := r.IntN(2) == 1; flip && t.options.Flip && t.captions[index].Mirror {
		data.FlipHorizontal(t.images[i], t.model.Shape().Channels, t.model.ImageSize)
	}
	diffusion.NewStream(r.Uint64(), uint64(n)).Normal(t.noise[i])
	t.batch.T[i] = float32(time)
	t.objective.Mix(t.batch.X.Row(i), t.images[i], t.noise[i], float64(t.batch.T[i]))
	return nil
}

// Tensors lists the model's tensors.
func (t *Text) Tensors() []ModelTensor {
	var list []ModelTensor
	for _, w := range t.model.Config.Tensors() {
		list = append(list, ModelTensor{Name: w.Name, Shape: w.Shape})
	}
	return list
}

// Metadata returns the model's configuration and its tokenizer.
func (t *Text) Metadata() (map[string]string, error) {
	b, err := t.model.Config.JSON()
	return map[string]string{
		checkpoint.ConfigKey:    string(b),
		checkpoint.TokenizerKey: string(t.model.Tokenizer),
	}, err
}
