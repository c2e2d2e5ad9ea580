package prompt

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/tokencache/tokencache/checkpoint"
	"github.com/tokencache/tokencache/minit2i"
	"github.com/tokencache/tokencache/tensor"
	"github.com/tokencache/tokencache/unigram"
)

// Options says where a Reader finds what a model lacks.
type Options struct {
	Encoder string // folder of the text encoder; "": where the model's folder has one
	Store   string // folder in which encoded texts are kept; "": memory alone
	Encoded string // file of texts encoded ahead, or ""
}

// Reading is a text as a condition.
type Reading struct {
	Prompt  *minit2i.Prompt // the model's null prompt for an empty text
	Empty   bool            // the text is empty: the image is unconditional
	Cut     string          // what did not fit, at the end
	Unknown bool            // it has characters that the tokenizer does not know
}

// Reader turns texts into conditions of a model. It may be used by several goroutines.
type Reader struct {
	model     *minit2i.Model
	tokenizer *unigram.Tokenizer // of a model with an embedding of its own
	encoder   *Encoder           // of another, nil if there is none
	missing   error              // why there is none

	ahead map[string]Reading // by text: those that were encoded ahead
	mu    sync.Mutex
	known map[string]Reading // by text
}

// maxKnown bounds the texts that are kept in memory.
const maxKnown = 1 << 12

// NewReader returns the reader of a model whose weights are w. A text encoder that is not there is an
// error of Read, which does not need it for texts that were encoded ahead.
func NewReader(m *minit2i.Model, w *minit2i.Weights, o Options) (*Reader, error) {
	r := &Reader{model: m, known: map[string]Reading{}, ahead: map[string]Reading{}}
	if m.Vocabulary > 0 {
		return r, r.openTokenizer(w)
	}
	if o.Encoded != "" {
		if err := r.load(o.Encoded); err != nil {
			return nil, err
		}
	}
	dir := o.Encoder
	if dir == "" {
		if dir = Find(w); dir == "" {
			r.missing = errors.New("the model has no text encoder next to it: want a folder flan-t5-large with config.json, " +
				"weights and tokenizer, the path of one, or texts that were encoded ahead")
			return r, nil
		}
	}
	var err error
	if r.encoder, err = Open(dir, m.TextTokens); err != nil {
		return nil, err
	}
	r.encoder.Store = o.Store
	if got := r.encoder.Config.Width; got != m.TextWidth {
		return nil, fmt.Errorf("text encoder %s: vectors of width %d, the model takes %d: it is another model's", dir, got, m.TextWidth)
	}
	return r, nil
}

// openTokenizer reads the tokenizer of a model with an embedding of its own: from the metadata of
// its weights, or next to them.
func (r *Reader) openTokenizer(w *minit2i.Weights) (err error) {
	if text := w.File.Metadata()[checkpoint.TokenizerKey]; text != "" {
		r.tokenizer, err = unigram.ParseHuggingFace([]byte(text), unigram.Transformers5)
	} else {
		r.tokenizer, err = unigram.OpenFolder(w.Dir)
	}
	if err != nil {
		return fmt.Errorf("model %s: tokenizer: %w", w.File.Path, err)
	}
	if n := r.tokenizer.Size(); n > r.model.Vocabulary {
		return fmt.Errorf("model %s: its tokenizer has %d ids, its embedding %d", w.File.Path, n, r.model.Vocabulary)
	}
	return nil
}

// Find returns the folder of the text encoder that came with a model, or "".
func Find(w *minit2i.Weights) string {
	dir, err := filepath.Abs(w.Dir)
	if err != nil {
		return ""
	}
	for range 3 { // the folder of the weights, of the variant, of the pipeline
		for _, name := range []string{"flan-t5-large", "text_encoder"} {
			path := filepath.Join(dir, name)
			if _, err := os.Stat(filepath.Join(path, "config.json")); err == nil {
				return path
			}
		}
		dir = filepath.Dir(dir)
	}
	return ""
}

// Encoder returns the model's text encoder, nil if it has none or needs none.
func (r *Reader) Encoder() *Encoder { return r.encoder }

// load takes in texts that were encoded ahead.
func (r *Reader) load(path string) error {
	texts, err := ReadFile(path)
	if err != nil {
		return err
	}
	for _, t := range texts {
		reading, err := r.prepared(t)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		r.ahead[t.Text] = reading
	}
	return nil
}

// find returns a text that is known.
func (r *Reader) find(text string) (Reading, bool) {
	if k, ok := r.ahead[text]; ok {
		return k, true
	}
	k, ok := r.known[text]
	return k, ok
}

// Read returns texts as conditions of the model.
func (r *Reader) Read(ctx context.Context, texts []string) ([]Reading, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var unknown []string
	seen := map[string]bool{}
	for _, text := range texts {
		if _, ok := r.find(text); !ok && !seen[text] && strings.TrimSpace(text) != "" {
			seen[text] = true
			unknown = append(unknown, text)
		}
	}
	if len(r.known)+len(unknown) > maxKnown && len(unknown) > 0 {
		kept := map[string]Reading{} // of this call; the others are read again when they come again
		for _, text := range texts {
			if k, ok := r.known[text]; ok {
				kept[text] = k
			}
		}
		r.known = kept
	}
	if err := r.learn(ctx, unknown); err != nil {
		return nil, err
	}
	list := make([]Reading, len(texts))
	for i, text := range texts {
		if strings.TrimSpace(text) == "" {
			list[i] = Reading{Prompt: r.model.NullCondition().(*minit2i.Prompt), Empty: true}
			continue
		}
		list[i], _ = r.find(text)
	}
	return list, nil
}

// learn reads texts that are not known.
func (r *Reader) learn(ctx context.Context, texts []string) error {
	switch {
	case len(texts) == 0:
		return nil
	case r.tokenizer != nil:
		pool := tensor.NewPool(1)
		defer pool.Close()
		g := tensor.NewGraph(pool)
		for _, text := range texts {
			g.Reset()
			t := tokenize(r.tokenizer, text, r.model.TextTokens)
			p, err := r.model.IDPrompt(g, t.ids)
			if err != nil {
				return fmt.Errorf("prompt %.80q: %w", text, err)
			}
			p.Text = text
			r.known[text] = Reading{Prompt: p, Cut: t.cut, Unknown: t.unknown}
		}
		return nil
	case r.encoder == nil:
		return fmt.Errorf("prompt %.80q: %w", texts[0], r.missing)
	}
	encoded, err := r.encoder.Encode(ctx, texts)
	if err != nil {
		return err
	}
	for _, t := range encoded {
		if r.known[t.Text], err = r.prepared(t); err != nil {
			return err
		}
	}
	return nil
}

// prepared runs the model's own blocks on an encoded text.
func (r *Reader) prepared(t Text) (Reading, error) {
	pool := tensor.NewPool(1)
	defer pool.Close()
	p, err := r.model.Prompt(tensor.NewGraph(pool), t.Vectors, nil)
	if err != nil {
		return Reading{}, fmt.Errorf("prompt %.80q: %w", t.Text, err)
	}
	p.Text = t.Text
	return Reading{Prompt: p, Cut: t.Cut, Unknown: t.Unknown}, nil
}
