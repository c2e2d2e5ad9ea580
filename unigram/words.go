package unigram

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode"
)

// WordsJSON returns the tokenizer.json of a vocabulary for texts: their words, which begin with a
// space, and single characters, of which any other word is made. At most size ids are used, so the
// rarest words may have none.
//
// A piece's score is the logarithm of its share of the texts when these are cut into words. A
// letter that no word leaves over counts once, as the rarest words do: a word that is known is
// never spelled out. Texts are lower-cased.
func WordsJSON(texts []string, size int) ([]byte, error) {
	words, runes := map[string]int{}, map[string]int{space: 0}
	for _, c := range "abcdefghijklmnopqrstuvwxyz0123456789.,:;-'&!?()/+#" {
		runes[string(c)] = 0
	}
	total := 0
	for _, text := range texts {
		for _, field := range strings.Fields(strings.ToLower(text)) {
			// Punctuation at the end of a word is of characters.
			word := strings.TrimRightFunc(field, unicode.IsPunct)
			if word == "" {
				word = field
			}
			for _, c := range field[len(word):] {
				runes[string(c)]++
				total++
			}
			for _, c := range word {
				runes[string(c)] += 0
			}
			words[space+word]++
			total++
		}
	}
	type entry struct {
		text  string
		count int
	}
	list := func(counts map[string]int) []entry {
		var entries []entry
		for text, n := range counts {
			entries = append(entries, entry{text, max(n, 1)})
		}
		slices.SortFunc(entries, func(a, b entry) int {
			return cmp.Or(b.count-a.count, strings.Compare(a.text, b.text))
		})
		return entries
	}
	const special = 3 // <pad>, </s>, <unk>
	single, whole := list(runes), list(words)
	if special+len(single) > size {
		return nil, fmt.Errorf("a vocabulary of %d: want more than %d, the texts' characters", size, special+len(single))
	}
	whole = slices.DeleteFunc(whole, func(e entry) bool { return len(e.text) > maxPieceBytes })
	whole = whole[:min(len(whole), size-special-len(single))]
	vocabulary := [][2]any{{"<pad>", 0}, {"</s>", 0}, {"<unk>", 0}}
	for _, e := range append(single, whole...) {
		vocabulary = append(vocabulary, [2]any{e.text, math.Log(float64(e.count) / float64(max(total, 1)))})
	}
	type object map[string]any
	added := []object{}
	for id, name := range []string{"<pad>", "</s>", "<unk>"} {
		added = append(added, object{"id": id, "content": name, "special": true, "normalized": false})
	}
	return json.Marshal(object{
		"version":       "1.0",
		"added_tokens":  added,
		"normalizer":    object{"type": "Lowercase"},
		"pre_tokenizer": object{"type": "Metaspace", "replacement": space, "prepend_scheme": "always"},
		"model":         object{"type": "Unigram", "unk_id": 2, "vocab": vocabulary},
	})
}
