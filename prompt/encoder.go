package prompt

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"

	"github.com/tokencache/tokencache/checkpoint"
	"github.com/tokencache/tokencache/internal/regularfile"
	"github.com/tokencache/tokencache/t5"
	"github.com/tokencache/tokencache/tensor"
	"github.com/tokencache/tokencache/unigram"
)

// Text is a text as a model's text encoder has it.
type Text struct {
	Text    string
	Vectors *tensor.Tensor // [tokens, width], of the real tokens alone
	Cut     string         // what did not fit into the model's tokens, at the end
	Unknown bool           // it has characters that the tokenizer does not know
}

// Encoder is a T5 encoder in a folder, with its tokenizer. It may be used by several goroutines.
type Encoder struct {
	Dir    string
	Config t5.Config
	Length int    // tokens of a text at most, </s> included
	Store  string // folder for encoded texts, or ""

	tokenizer *unigram.Tokenizer
	id        string // of the weights, for Store
}

// Open reads the configuration and the tokenizer of the encoder in dir, and not yet its weights. The
// tokenizer may also be in the folder tokenizer next to dir.
func Open(dir string, length int) (*Encoder, error) {
	config, err := t5.ReadConfig(dir)
	if err != nil {
		return nil, err
	}
	tokenizer, err := unigram.OpenFolder(dir)
	if err != nil {
		beside := filepath.Join(filepath.Dir(filepath.Clean(dir)), "tokenizer")
		if _, missing := os.Stat(beside); missing != nil {
			return nil, err
		}
		if tokenizer, err = unigram.OpenFolder(beside); err != nil {
			return nil, err
		}
	}
	if n := tokenizer.Size(); n > config.Vocabulary {
		return nil, fmt.Errorf("text encoder %s: its tokenizer has %d ids, its embedding %d: they are of different models",
			dir, n, config.Vocabulary)
	}
	e := &Encoder{Dir: dir, Config: config, Length: length, tokenizer: tokenizer}
	e.id, err = identify(dir)
	return e, err
}

// identify returns what tells the weights in a folder from others, without reading them whole: the
// hash of their file's size and of its first and last 256 KB.
func identify(dir string) (string, error) {
	path, err := checkpoint.FindWeights(dir)
	if err != nil {
		return "", fmt.Errorf("text encoder %s: %w", dir, err)
	}
	f, size, err := regularfile.Open(path)
	if err != nil {
		return "", fmt.Errorf("text encoder %s: %w", dir, err)
	}
	defer f.Close()
	const sample = 256 << 10
	h := sha256.New()
	fmt.Fprintln(h, size)
	for _, from := range []int64{0, max(0, size-sample)} {
		if _, err := io.Copy(h, io.NewSectionReader(f, from, sample)); err != nil {
			return "", fmt.Errorf("text encoder %s: %w", dir, err)
		}
	}
	return hex.EncodeToString(h.Sum(nil)[:16]), nil
}

// tokens is a text as ids.
type tokens struct {
	ids     []int32
	cut     string
	unknown bool
}

// tokenize returns the ids of a text, up to length.
func tokenize(t *unigram.Tokenizer, text string, length int) tokens {
	ids, mask, cut := t.EncodePadded(text, length)
	if n := slices.Index(mask, 0); n >= 0 {
		ids = ids[:n]
	}
	return tokens{ids, cut, slices.Contains(ids, t.Unknown())}
}

// Encode encodes texts. The weights are loaded if any of them is not in Store, and released before
// it returns.
func (e *Encoder) Encode(ctx context.Context, texts []string) ([]Text, error) {
	list := make([]Text, len(texts))
	var todo []tokens
	var at []int
	for i, text := range texts {
		ts := tokenize(e.tokenizer, text, e.Length)
		list[i] = Text{Text: text, Cut: ts.cut, Unknown: ts.unknown}
		if list[i].Vectors = e.stored(ts.ids); list[i].Vectors == nil {
			todo, at = append(todo, ts), append(at, i)
		}
	}
	if len(todo) == 0 {
		return list, nil
	}
	vectors, err := e.run(ctx, todo)
	if err != nil {
		return nil, err
	}
	for k, v := range vectors {
		list[at[k]].Vectors = v
		if err := e.store(todo[k].ids, v); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// run loads the encoder, encodes texts one after another and releases it.
func (e *Encoder) run(ctx context.Context, texts []tokens) ([]*tensor.Tensor, error) {
	encoder, err := t5.Open(ctx, e.Dir)
	if err != nil {
		return nil, err
	}
	pool := tensor.NewPool(runtime.GOMAXPROCS(0))
	g := tensor.NewGraph(pool)
	g.SetContext(ctx)
	defer func() {
		g.SetContext(context.Background())
		pool.Close()
		g, encoder = nil, nil
		debug.FreeOSMemory() // an encoder's worth of it
	}()
	var list []*tensor.Tensor
	for _, t := range texts {
		g.Reset()
		x, err := encoder.Forward(g, t5.Input{IDs: t.ids, Rows: tensor.Uniform(1, len(t.ids))}, nil)
		if err != nil {
			return nil, fmt.Errorf("text encoder %s: %w", e.Dir, err)
		}
		list = append(list, tensor.FromSlice(slices.Clone(x.Flat()), x.Rows, x.Cols))
	}
	return list, nil
}

// storedName returns the file of a text in Store, by its content.
func (e *Encoder) storedName(ids []int32) string {
	text, err := json.Marshal(struct {
		Encoder string
		IDs     []int32
	}{e.id, ids})
	if err != nil {
		panic(err) // strings and numbers
	}
	sum := sha256.Sum256(text)
	return filepath.Join(e.Store, hex.EncodeToString(sum[:16])+".safetensors")
}

// stored returns a text's vectors from Store, or nil. A file that cannot be read counts as none.
func (e *Encoder) stored(ids []int32) *tensor.Tensor {
	if e.Store == "" {
		return nil
	}
	f, err := checkpoint.Open(e.storedName(ids))
	if err != nil {
		return nil
	}
	defer f.Close()
	v, err := readVectors(f, vectorsName)
	if err != nil || v.Rows != len(ids) || v.Cols != e.Config.Width {
		return nil
	}
	return v
}

// vectorsName is the tensor of a stored text.
const vectorsName = "text"

// store keeps a text's vectors.
func (e *Encoder) store(ids []int32, v *tensor.Tensor) error {
	if e.Store == "" {
		return nil
	}
	if err := os.MkdirAll(e.Store, 0o777); err != nil {
		return fmt.Errorf("encoded texts %s: %w", e.Store, err)
	}
	return checkpoint.WriteSafetensors(e.storedName(ids), contentOf([]string{vectorsName}, []*tensor.Tensor{v}))
}
