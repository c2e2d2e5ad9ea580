package unigram

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/rivo/uniseg"
)

// maxMatchedCluster is the length in bytes from which a grapheme cluster is looked up character by
// character.
const maxMatchedCluster = 6

// pipeline is what a tokenizer.json says of normalization and splitting, beside the table.
type pipeline struct {
	added      []addedToken // longest first
	first      string       // the characters that added tokens begin with
	stripRight bool
	collapse   *string // what two or more spaces become; nil: they stay
	words      bool    // split at white space before Metaspace
	lower      bool    // lower-case, after the table
}

// addedToken is a token that is cut out where it is typed literally.
type addedToken struct {
	text           string
	id             int32
	lstrip, rstrip bool
}

// jsonFile is a tokenizer.json of a unigram model.
type jsonFile struct {
	Added []struct {
		ID         int32  `json:"id"`
		Content    string `json:"content"`
		LStrip     bool   `json:"lstrip"`
		RStrip     bool   `json:"rstrip"`
		Normalized bool   `json:"normalized"`
		SingleWord bool   `json:"single_word"`
	} `json:"added_tokens"`
	Normalizer   jsonStep `json:"normalizer"`
	PreTokenizer jsonStep `json:"pre_tokenizer"`
	Model        struct {
		Type         string      `json:"type"`
		UnknownID    *int        `json:"unk_id"`
		Vocabulary   []jsonPiece `json:"vocab"`
		ByteFallback bool        `json:"byte_fallback"`
	} `json:"model"`
}

// jsonStep is a normalizer or a pre-tokenizer, or a sequence of them.
type jsonStep struct {
	Type          string     `json:"type"`
	Normalizers   []jsonStep `json:"normalizers"`
	PreTokenizers []jsonStep `json:"pretokenizers"`
	Table         []byte     `json:"precompiled_charsmap"`
	StripLeft     bool       `json:"strip_left"`
	StripRight    bool       `json:"strip_right"`
	Content       string     `json:"content"`
	Pattern       struct {
		Regex  string
		String string
	} `json:"pattern"`
	Replacement    string `json:"replacement"`
	AddPrefixSpace *bool  `json:"add_prefix_space"`
	PrependScheme  string `json:"prepend_scheme"`
}

// jsonPiece is a pair of a piece and its score.
type jsonPiece struct {
	text  string
	score float64
}

func (p *jsonPiece) UnmarshalJSON(data []byte) error {
	pair := []any{&p.text, &p.score}
	if err := json.Unmarshal(data, &pair); err != nil {
		return err
	}
	if len(pair) != 2 {
		return fmt.Errorf("a piece of %d values, want its text and its score", len(pair))
	}
	return nil
}

// ParseHuggingFace reads a tokenizer.json and follows rules, HuggingFace or Transformers5.
func ParseHuggingFace(data []byte, rules Rules) (*Tokenizer, error) {
	var f jsonFile
	if err := json.Unmarshal(data, &f); err != nil {
		return nil, err
	}
	switch {
	case f.Model.Type != "Unigram" && f.Model.Type != "":
		return nil, fmt.Errorf("model type %.40q: want Unigram", f.Model.Type)
	case f.Model.UnknownID == nil:
		return nil, errors.New("no unk_id: want the id of <unk>")
	case f.Model.ByteFallback:
		return nil, errors.New("models that fall back to bytes are not supported")
	}
	pieces := make([]string, len(f.Model.Vocabulary))
	scores := make([]float64, len(pieces))
	for i, p := range f.Model.Vocabulary {
		pieces[i], scores[i] = p.text, p.score
	}
	m, err := newModel(pieces, scores, *f.Model.UnknownID, func(int) bool { return true })
	if err != nil {
		return nil, err
	}
	t := &Tokenizer{rules: rules, model: m, table: &charsMap{}, json: &pipeline{}, end: -1}
	if err := t.readAdded(&f); err != nil {
		return nil, err
	}
	if err := t.readNormalizer(f.Normalizer); err != nil {
		return nil, fmt.Errorf("normalizer: %w", err)
	}
	if err := t.json.readPreTokenizer(f.PreTokenizer); err != nil {
		return nil, fmt.Errorf("pre_tokenizer: %w", err)
	}
	if rules == Transformers5 {
		t.json.stripRight, t.json.collapse, t.json.words = false, nil, true
	}
	return t, nil
}

// readAdded takes over the added tokens and finds </s> and <pad> among them and the pieces.
func (t *Tokenizer) readAdded(f *jsonFile) error {
	special := map[string]int32{"</s>": -1, "<pad>": 0}
	for name := range special {
		if id, ok := t.model.ids[name]; ok {
			special[name] = id
		}
	}
	for _, a := range f.Added {
		if a.Content == "" || a.ID < 0 {
			return fmt.Errorf("added token %d is %.40q, want some text and an id of 0 or more", a.ID, a.Content)
		}
		if a.Normalized || a.SingleWord {
			return fmt.Errorf("added token %.40q: tokens that are normalized or single words are not supported", a.Content)
		}
		if _, ok := special[a.Content]; ok {
			special[a.Content] = a.ID
		}
		t.json.added = append(t.json.added, addedToken{a.Content, a.ID, a.LStrip, a.RStrip})
	}
	slices.SortStableFunc(t.json.added, func(a, b addedToken) int { return len(b.text) - len(a.text) })
	for _, a := range t.json.added {
		if r, _ := utf8.DecodeRuneInString(a.text); !strings.ContainsRune(t.json.first, r) {
			t.json.first += string(r)
		}
	}
	t.end, t.pad = special["</s>"], special["<pad>"]
	if t.end < 0 {
		return errors.New("no token </s>, which ends a text")
	}
	return nil
}

func (t *Tokenizer) readNormalizer(s jsonStep) error {
	switch s.Type {
	case "":
	case "Sequence":
		for _, part := range s.Normalizers {
			if part.Type == "Sequence" {
				return errors.New("a sequence within a sequence")
			}
			if err := t.readNormalizer(part); err != nil {
				return err
			}
		}
	case "Precompiled":
		var err error
		t.table, err = parseCharsMap(s.Table)
		return err
	case "Lowercase":
		t.json.lower = true
	case "Strip":
		if s.StripLeft {
			return errors.New("a Strip with strip_left is not supported")
		}
		t.json.stripRight = s.StripRight
	case "Replace":
		if s.Pattern.Regex != " {2,}" {
			return fmt.Errorf("a Replace of %.40q: want the pattern \" {2,}\"", s.Pattern.Regex+s.Pattern.String)
		}
		t.json.collapse = &s.Content
	default:
		return fmt.Errorf("%.40q: want Precompiled, Lowercase, Strip or Replace", s.Type)
	}
	return nil
}

func (p *pipeline) readPreTokenizer(s jsonStep) error {
	switch s.Type {
	case "Sequence":
		for _, part := range s.PreTokenizers {
			if part.Type == "Sequence" {
				return errors.New("a sequence within a sequence")
			}
			if err := p.readPreTokenizer(part); err != nil {
				return err
			}
		}
	case "WhitespaceSplit":
		p.words = true
	case "Metaspace":
		prefix := s.PrependScheme == "always" || s.PrependScheme == "" && (s.AddPrefixSpace == nil || *s.AddPrefixSpace)
		if s.Replacement != space || !prefix {
			return fmt.Errorf("a Metaspace: want %q in place of spaces and always in front", space)
		}
	default:
		return fmt.Errorf("%.40q: want Metaspace or WhitespaceSplit", s.Type)
	}
	return nil
}

// encodeJSON returns the ids of text without </s> at the end: added tokens are cut out, and each
// stretch between them is normalized, split and segmented alone.
func (t *Tokenizer) encodeJSON(text string) []int32 {
	var ids []int32
	for text != "" {
		start, end, id := t.json.nextAdded(text)
		ids = t.encodeStretch(ids, text[:start])
		if end > start {
			ids = append(ids, id)
		}
		text = text[end:]
	}
	return ids
}

// nextAdded returns where the first added token of text stands, with the white space that it
// takes, and its id; start and end are the length of text if there is none.
func (p *pipeline) nextAdded(text string) (start, end int, id int32) {
	for at := 0; ; at++ {
		next := strings.IndexAny(text[at:], p.first)
		if p.first == "" || next < 0 {
			return len(text), len(text), 0
		}
		at += next
		for _, a := range p.added {
			if !strings.HasPrefix(text[at:], a.text) {
				continue
			}
			start, end = at, at+len(a.text)
			if a.lstrip {
				start = len(strings.TrimRightFunc(text[:start], unicode.IsSpace))
			}
			if a.rstrip {
				end = len(text) - len(strings.TrimLeftFunc(text[end:], unicode.IsSpace))
			}
			return start, end, a.id
		}
	}
}

// encodeStretch appends the ids of a stretch without added tokens.
func (t *Tokenizer) encodeStretch(ids []int32, text string) []int32 {
	if text == "" {
		return ids
	}
	text = t.table.normalizeClusters(text)
	if t.json.lower {
		text = strings.ToLower(text)
	}
	if t.json.stripRight {
		text = strings.TrimRightFunc(text, unicode.IsSpace)
	}
	if t.json.collapse != nil {
		text = collapseSpaces(text, *t.json.collapse)
	}
	words := []string{text}
	if t.json.words {
		words = strings.FieldsFunc(text, unicode.IsSpace)
	}
	for _, word := range words {
		word = strings.ReplaceAll(word, " ", space)
		if word != "" && !strings.HasPrefix(word, space) {
			word = space + word
		}
		for word != "" {
			// A space begins a stretch of its own, which goes up to the next one.
			next := strings.Index(word[min(len(word), runeLength(word)):], space)
			if next < 0 {
				ids = t.model.segment(ids, word)
				break
			}
			next += runeLength(word)
			ids = t.model.segment(ids, word[:next])
			word = word[next:]
		}
	}
	return ids
}

// normalizeClusters returns text as the tokenizers library normalizes it: the shortest match at the
// start of a grapheme cluster of fewer than 6 bytes replaces the whole cluster; otherwise each
// character with a match at its start is replaced.
func (m *charsMap) normalizeClusters(text string) string {
	var b strings.Builder
	state := -1
	for text != "" {
		var cluster string
		cluster, text, _, state = uniseg.FirstGraphemeClusterInString(text, state)
		if len(cluster) < maxMatchedCluster {
			if n, replacement := m.lookup(cluster, false); n > 0 {
				b.WriteString(replacement)
				continue
			}
		}
		for cluster != "" {
			n := runeLength(cluster)
			if matched, replacement := m.lookup(cluster[:n], false); matched > 0 {
				b.WriteString(replacement)
			} else {
				b.WriteString(cluster[:n])
			}
			cluster = cluster[n:]
		}
	}
	return b.String()
}

// collapseSpaces replaces two or more spaces.
func collapseSpaces(text, by string) string {
	var b strings.Builder
	for text != "" {
		at := strings.Index(text, "  ")
		if at < 0 {
			break
		}
		b.WriteString(text[:at])
		b.WriteString(by)
		text = strings.TrimLeft(text[at:], " ")
	}
	return b.String() + text
}
