package t5

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/tokencache/tokencache/checkpoint"
)

// Open reads the encoder in a folder as Hugging Face publishes it: config.json and weights, which
// may be sharded and those of the whole model, of which the encoder is taken. When ctx ends it
// fails soon.
func Open(ctx context.Context, dir string) (*Encoder, error) {
	e, err := open(ctx, dir)
	if err != nil {
		return nil, fmt.Errorf("text encoder %s: %w", dir, err)
	}
	return e, nil
}

// ReadConfig reads the config.json in the folder of an encoder.
func ReadConfig(dir string) (Config, error) {
	c, err := readConfig(dir)
	if err != nil {
		return c, fmt.Errorf("text encoder %s: %w", dir, err)
	}
	return c, nil
}

func readConfig(dir string) (Config, error) {
	data, err := checkpoint.ReadText(filepath.Join(dir, "config.json"))
	if errors.Is(err, os.ErrNotExist) {
		return Config{}, errors.New("no config.json: want a folder with a T5 encoder's config.json, weights and tokenizer")
	}
	if err != nil {
		return Config{}, err
	}
	c, err := parseConfig(data)
	if err != nil {
		return c, fmt.Errorf("config.json: %w", err)
	}
	return c, nil
}

func open(ctx context.Context, dir string) (*Encoder, error) {
	config, err := readConfig(dir)
	if err != nil {
		return nil, err
	}
	path, err := checkpoint.FindWeights(dir)
	if err != nil {
		return nil, err
	}
	f, err := checkpoint.OpenContext(ctx, path, checkpoint.OpenOptions{})
	if err != nil {
		return nil, err
	}
	defer f.Close()
	src := source{f, embedding}
	wants := config.Tensors()
	if _, ok := f.Lookup(embedding); !ok {
		src.embedding = "encoder.embed_tokens.weight"
		wants[0].Name = src.embedding
	}
	if err := checkpoint.Check(f, wants, ignored); err != nil {
		return nil, err
	}
	return New(config, src)
}

// ignored reports whether a tensor is of the decoder, or a copy of the embedding.
func ignored(name string) bool {
	return strings.HasPrefix(name, "decoder.") || name == "lm_head.weight" || strings.HasSuffix(name, "embed_tokens.weight")
}

// source reads the embedding, which is published under two names, and refuses weights that are not
// finite.
type source struct {
	*checkpoint.File
	embedding string
}

func (s source) Read(name string, dst []float32) error {
	if name == embedding {
		name = s.embedding
	}
	return checkpoint.ReadFinite(s.File, name, dst)
}
