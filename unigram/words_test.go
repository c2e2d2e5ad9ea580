package unigram

import (
	"slices"
	"strings"
	"testing"
)

// TestWords checks that words that a vocabulary has are one id each, in any case and before
// punctuation, and that others are spelled out.
func TestWords(t *testing.T) {
	data, err := WordsJSON([]string{"a red heart, noto style", "a red square", "red Heart"}, 100)
	if err != nil {
		t.Fatal(err)
	}
	tok, err := ParseHuggingFace(data, Transformers5)
	if err != nil {
		t.Fatal(err)
	}
	end := tok.Encode("")
	for text, pieces := range map[string]int{
		"red heart":           2,
		"  Red HEART":         2,
		"a red heart, square": 5,
		"hat":                 4, // the space and three letters
		"心":                   2, // the space and <unk>
	} {
		ids := tok.Encode(text)
		if len(ids) != pieces+len(end) {
			t.Errorf("%q is %d ids, want %d", text, len(ids), pieces+len(end))
		}
		if unknown := slices.Contains(ids, 2); unknown != (text == "心") {
			t.Errorf("%q: ids %v, <unk> %t", text, ids, unknown)
		}
	}
	if got := tok.Decode(tok.Encode("Red heart, noto")); got != "red heart, noto" {
		t.Errorf("decoded %q", got)
	}
	again, err := WordsJSON([]string{"red Heart", "a red square", "a red heart, noto style"}, 100)
	if err != nil || string(again) != string(data) {
		t.Errorf("the order of the texts makes a difference, error %v", err)
	}
	if tok.Size() > 100 {
		t.Errorf("%d ids", tok.Size())
	}
	if _, err := WordsJSON([]string{"a"}, 10); err == nil || !strings.Contains(err.Error(), "vocabulary of 10") {
		t.Errorf("error %v", err)
	}
}
