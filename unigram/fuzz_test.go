package unigram

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/tokencache/tokencache/internal/bounded"
)

// text has what the stages treat in special ways.
const text = "a  red\tcube é ﬁ ½ ▁ <extra_id_3></s> \u200b日本 👩‍👩‍👧 \xff  "

func seeds(f *testing.F, ending string) {
	paths, err := filepath.Glob(filepath.Join("testdata", "small*"+ending))
	if err != nil || len(paths) == 0 {
		f.Fatalf("no seeds: %v", err)
	}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data, text)
	}
}

// check encodes a text and checks that ids are within the vocabulary, and the cost in bounds.
func check(t *testing.T, size int, text string, parse func() (*Tokenizer, error)) {
	bounded.Run(t, size+len(text), func() {
		tok, err := parse()
		if err != nil {
			return
		}
		text = text[:min(len(text), 4096)]
		for _, id := range tok.Encode(text) {
			if id < 0 || int(id) >= tok.Size() {
				t.Errorf("id %d of %d", id, tok.Size())
			}
		}
		ids, mask, cut := tok.EncodePadded(text, 5)
		if len(ids) != 5 || len(mask) != 5 || !utf8.ValidString(cut) && utf8.ValidString(text) {
			t.Errorf("%d ids, a mask of %d, %q left out", len(ids), len(mask), cut)
		}
	})
}

func FuzzSentencePiece(f *testing.F) {
	seeds(f, ".spiece.model")
	f.Fuzz(func(t *testing.T, data []byte, text string) {
		check(t, len(data), text, func() (*Tokenizer, error) { return ParseSentencePiece(data) })
	})
}

func FuzzHuggingFace(f *testing.F) {
	seeds(f, ".json")
	f.Fuzz(func(t *testing.T, data []byte, text string) {
		for _, rules := range []Rules{HuggingFace, Transformers5} {
			check(t, len(data), text, func() (*Tokenizer, error) { return ParseHuggingFace(data, rules) })
		}
	})
}

// TestCut checks that a text that is too long keeps its beginning and its end mark, and that what
// was left out is said.
func TestCut(t *testing.T) {
	tok := open(t, "testdata/small.tokenizer-c.json", Transformers5)
	ids, mask, cut := tok.EncodePadded("a red cube on a wooden table", 6)
	if len(ids) != 6 || ids[5] != tok.end || mask[5] != 1 || cut == "" || !strings.HasSuffix("a red cube on a wooden table", cut) {
		t.Errorf("ids %v, mask %v, left out %q", ids, mask, cut)
	}
	ids, mask, cut = tok.EncodePadded("", 3)
	if ids[0] != tok.end || mask[0] != 1 || mask[1] != 0 || ids[1] != tok.pad || cut != "" {
		t.Errorf("the empty text: ids %v, mask %v, left out %q", ids, mask, cut)
	}
}

// TestDamagedFiles checks that what is wrong is named.
func TestDamagedFiles(t *testing.T) {
	read := func(name string) string {
		data, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	json := read("small.tokenizer-a.json")
	for _, test := range []struct{ name, data, want string }{
		{"no JSON", "{", "unexpected end"},
		{"another model", strings.Replace(json, `"Unigram"`, `"BPE"`, 1), `model type "BPE": want Unigram`},
		{"no unknown", strings.Replace(json, `"unk_id": 2`, `"unk_id": null`, 1), "no unk_id"},
		{"unknown outside", strings.Replace(json, `"unk_id": 2`, `"unk_id": 4000`, 1), "<unk> has id 4000"},
		{"another normalizer", strings.Replace(json, `"Precompiled"`, `"NFKC"`, 1), `normalizer: "NFKC"`},
		{"another splitter", strings.Replace(json, `"type": "Metaspace"`, `"type": "ByteLevel"`, 1), `pre_tokenizer: "ByteLevel"`},
		{"no end", strings.ReplaceAll(json, `"</s>"`, `"</t>"`), "no token </s>"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := ParseHuggingFace([]byte(test.data), HuggingFace)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want one with %q", err, test.want)
			}
		})
	}
	model := read("small.spiece.model")
	if _, err := ParseSentencePiece([]byte(model[:len(model)/2])); err == nil {
		t.Error("half of a spiece.model is read")
	}
}
