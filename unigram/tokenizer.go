package unigram

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// space is what pieces have in place of a space (U+2581).
const space = "▁"

// Rules says which program's normalization and splitting a Tokenizer follows. They agree on
// ordinary text and differ in white space at the end, in special tokens that are typed literally,
// and in letters with several combining marks.
type Rules int

const (
	// SentencePiece follows the sentencepiece library: one stretch, the longest match in the
	// character table, sums in float32. It is what a spiece.model asks for.
	SentencePiece Rules = iota
	// HuggingFace follows the tokenizers library and does what a tokenizer.json says.
	HuggingFace
	// Transformers5 follows transformers 5, which takes pieces and character table of a
	// tokenizer.json and splits at white space.
	Transformers5
)

// Tokenizer turns text into ids. It does not change and may be used by many goroutines.
type Tokenizer struct {
	rules Rules
	model *model
	table *charsMap
	end   int32 // id of </s>
	pad   int32 // id of <pad>
	json  *pipeline
}

// Size is the number of ids, those of special tokens included.
func (t *Tokenizer) Size() int {
	size := len(t.model.pieces)
	if t.json != nil {
		for _, a := range t.json.added {
			size = max(size, int(a.id)+1)
		}
	}
	return size
}

// Unknown returns the id of characters that no piece has.
func (t *Tokenizer) Unknown() int32 { return t.model.unknown }

// Encode returns the ids of text, with that of </s> at the end. Bytes that are no UTF-8 are read as
// U+FFFD.
func (t *Tokenizer) Encode(text string) []int32 {
	if !utf8.ValidString(text) {
		text = strings.ToValidUTF8(text, "�")
	}
	var ids []int32
	if t.rules == SentencePiece {
		ids = t.model.segment(nil, t.table.normalizeSpaces(text))
	} else {
		ids = t.encodeJSON(text)
	}
	return append(ids, t.end)
}

// EncodePadded returns exactly length ids, padded with <pad> on the right, and the mask that is 1
// for ids of the text and 0 for padding. A text that is too long is cut to length-1 ids, before
// </s>; cut is what was left out, as text, and empty if nothing was. Length must be positive.
func (t *Tokenizer) EncodePadded(text string, length int) (ids, mask []int32, cut string) {
	if length < 1 {
		panic(fmt.Sprintf("unigram: EncodePadded to %d ids", length))
	}
	ids = t.Encode(text)
	if len(ids) > length {
		cut = t.Decode(ids[length-1:])
		ids = append(ids[:length-1], t.end)
	}
	mask = make([]int32, length)
	for i := range ids {
		mask[i] = 1
	}
	for len(ids) < length {
		ids = append(ids, t.pad)
	}
	return ids, mask, cut
}

// Decode returns the text of ids, without special tokens and without spaces at its ends. Unknown
// characters are U+2047, as in SentencePiece.
func (t *Tokenizer) Decode(ids []int32) string {
	var b strings.Builder
	for _, id := range ids {
		switch {
		case id == t.model.unknown:
			b.WriteString(" ⁇ ")
		case id == t.end, id == t.pad, id < 0, int(id) >= len(t.model.pieces):
		default:
			b.WriteString(t.model.pieces[id])
		}
	}
	return strings.TrimSpace(strings.ReplaceAll(b.String(), space, " "))
}
