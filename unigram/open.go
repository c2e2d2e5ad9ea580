package unigram

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/tokencache/tokencache/checkpoint"
)

// Open reads the tokenizer at path, a spiece.model or a tokenizer.json by its ending, and follows
// the rules, which a spiece.model does not leave open.
func Open(path string, rules Rules) (*Tokenizer, error) {
	data, err := checkpoint.ReadText(path)
	if err != nil {
		return nil, fmt.Errorf("tokenizer %s: %w", path, err)
	}
	var t *Tokenizer
	if strings.EqualFold(filepath.Ext(path), ".json") {
		t, err = ParseHuggingFace(data, rules)
	} else {
		t, err = ParseSentencePiece(data)
	}
	if err != nil {
		return nil, fmt.Errorf("tokenizer %s: %w", path, err)
	}
	return t, nil
}

// OpenFolder reads the tokenizer in the folder of a text encoder: tokenizer.json as transformers 5
// reads it, or else spiece.model.
func OpenFolder(dir string) (*Tokenizer, error) {
	t, err := Open(filepath.Join(dir, "tokenizer.json"), Transformers5)
	if !errors.Is(err, os.ErrNotExist) {
		return t, err
	}
	t, err = Open(filepath.Join(dir, "spiece.model"), SentencePiece)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("tokenizer in %s: no tokenizer.json and no spiece.model", dir)
	}
	return t, err
}
