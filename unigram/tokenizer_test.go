package unigram

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// recorded is what programs made of a text; see testdata/README.md.
type recorded struct {
	Text       string
	Normalized string
	SP         []int32
	HF         []int32
	TF5        []int32
	A          []int32
	B          []int32
	C          []int32
}

func readCases(t *testing.T, path string) []recorded {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var cases []recorded
	lines := bufio.NewScanner(bytes.NewReader(data))
	for lines.Scan() {
		var c recorded
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			t.Fatal(err)
		}
		cases = append(cases, c)
	}
	if len(cases) < 100 {
		t.Fatalf("%s has %d cases", path, len(cases))
	}
	return cases
}

func open(t testing.TB, path string, rules Rules) *Tokenizer {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var tok *Tokenizer
	if rules == SentencePiece {
		tok, err = ParseSentencePiece(data)
	} else {
		tok, err = ParseHuggingFace(data, rules)
	}
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return tok
}

// TestRecordedIDs compares ids and normalized text with those of the sentencepiece and tokenizers
// libraries, for small models of all the published shapes.
func TestRecordedIDs(t *testing.T) {
	first := func(ids ...[]int32) []int32 {
		for _, x := range ids {
			if x != nil {
				return x
			}
		}
		return nil
	}
	for _, test := range []struct {
		file, cases string
		rules       Rules
		want        func(recorded) []int32
	}{
		{"nmt.spiece.model", "nmt.cases.jsonl", SentencePiece, func(c recorded) []int32 { return c.SP }},
		{"small.spiece.model", "small.cases.jsonl", SentencePiece, func(c recorded) []int32 { return c.SP }},
		{"small.tokenizer-a.json", "small.cases.jsonl", HuggingFace, func(c recorded) []int32 { return c.A }},
		{"small.tokenizer-b.json", "small.cases.jsonl", HuggingFace, func(c recorded) []int32 { return first(c.B, c.A) }},
		{"small.tokenizer-c.json", "small.cases.jsonl", HuggingFace, func(c recorded) []int32 { return first(c.C, c.A) }},
		{"small.tokenizer-c.json", "small.cases.jsonl", Transformers5, func(c recorded) []int32 { return first(c.C, c.A) }},
		{"small.tokenizer-a.json", "small.cases.jsonl", Transformers5, func(c recorded) []int32 { return first(c.C, c.A) }},
	} {
		t.Run(test.file, func(t *testing.T) {
			tok := open(t, filepath.Join("testdata", test.file), test.rules)
			for _, c := range readCases(t, filepath.Join("testdata", test.cases)) {
				if got, want := tok.Encode(c.Text), test.want(c); !slices.Equal(got, want) {
					t.Errorf("Encode(%+q) = %v, want %v", c.Text, got, want)
				}
				if test.rules == SentencePiece {
					if got := tok.table.normalizeSpaces(c.Text); got != c.Normalized {
						t.Errorf("normalized %+q = %+q, want %+q", c.Text, got, c.Normalized)
					}
				}
			}
		})
	}
}

// TestPublishedTokenizer compares with the whole of a recording of T5's own tokenizer, if
// TOKENCACHE_T5_TOKENIZER names its folder; it is too large to be kept here.
func TestPublishedTokenizer(t *testing.T) {
	folder := os.Getenv("TOKENCACHE_T5_TOKENIZER")
	if folder == "" {
		t.Skip("TOKENCACHE_T5_TOKENIZER is not set")
	}
	sp := open(t, filepath.Join(folder, "spiece.model"), SentencePiece)
	hf := open(t, filepath.Join(folder, "tokenizer.json"), HuggingFace)
	tf5 := open(t, filepath.Join(folder, "tokenizer.json"), Transformers5)
	for _, c := range readCases(t, filepath.Join(folder, "cases.jsonl")) {
		if c.TF5 == nil {
			c.TF5 = c.HF
		}
		for _, x := range []struct {
			name string
			tok  *Tokenizer
			want []int32
		}{{"sp", sp, c.SP}, {"hf", hf, c.HF}, {"tf5", tf5, c.TF5}} {
			if got := x.tok.Encode(c.Text); !slices.Equal(got, x.want) {
				t.Errorf("%s: Encode(%+q) = %v, want %v", x.name, c.Text, got, x.want)
			}
		}
	}
}
