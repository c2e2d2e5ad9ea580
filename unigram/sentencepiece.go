package unigram

import (
	"fmt"
	"math"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
)

// Kinds of pieces in a spiece.model.
const (
	kindNormal  = 1
	kindUnknown = 2
	kindControl = 3
)

// ParseSentencePiece reads a spiece.model, the message ModelProto of SentencePiece. The model must
// be a unigram model that escapes and collapses spaces and puts one in front, as all of T5's are.
func ParseSentencePiece(data []byte) (*Tokenizer, error) {
	p := protoModel{kind: 1, unknown: 0, end: 2, pad: -1, prefix: true, collapse: true, escape: true}
	if err := fields(data, p.field); err != nil {
		return nil, err
	}
	switch {
	case p.kind != 1:
		return nil, fmt.Errorf("model type %d: want 1, a unigram model", p.kind)
	case !p.prefix || !p.collapse || !p.escape || p.suffix:
		return nil, fmt.Errorf("want a model that collapses spaces, escapes them and puts one in front")
	case p.bytes:
		return nil, fmt.Errorf("models that fall back to bytes are not supported")
	}
	m, err := newModel(p.pieces, p.scores, int(p.unknown), func(id int) bool { return p.kinds[id] == kindNormal })
	if err != nil {
		return nil, err
	}
	m.single = true
	table, err := parseCharsMap(p.table)
	if err != nil {
		return nil, err
	}
	t := &Tokenizer{rules: SentencePiece, model: m, table: table, end: int32(p.end), pad: int32(max(p.pad, 0))}
	if p.end < 0 || p.end >= int64(len(p.pieces)) || p.pad >= int64(len(p.pieces)) {
		return nil, fmt.Errorf("</s> has id %d and <pad> %d, want ids of the %d pieces", p.end, p.pad, len(p.pieces))
	}
	return t, nil
}

// protoModel is what matters of a ModelProto.
type protoModel struct {
	pieces []string
	scores []float64
	kinds  []uint64

	kind, unknown, end, pad int64
	bytes, suffix           bool

	table                    []byte
	prefix, collapse, escape bool
}

func (p *protoModel) field(number protowire.Number, v value) error {
	switch number {
	case 1:
		return p.piece(v.bytes)
	case 2:
		return fields(v.bytes, p.trainer)
	case 3:
		return fields(v.bytes, p.normalizer)
	}
	return nil
}

func (p *protoModel) piece(data []byte) error {
	text, score, kind := "", float32(0), uint64(kindNormal)
	err := fields(data, func(number protowire.Number, v value) error {
		switch number {
		case 1:
			text = string(v.bytes)
		case 2:
			score = math.Float32frombits(uint32(v.number))
		case 3:
			kind = v.number
		}
		return nil
	})
	if err != nil {
		return err
	}
	switch kind {
	case kindNormal, kindUnknown, kindControl:
	default:
		return fmt.Errorf("piece %d: type %d: want a normal, unknown or control piece", len(p.pieces), kind)
	}
	p.pieces = append(p.pieces, text)
	p.scores = append(p.scores, float64(score))
	p.kinds = append(p.kinds, kind)
	return nil
}

func (p *protoModel) trainer(number protowire.Number, v value) error {
	switch number {
	case 3:
		p.kind = int64(v.number)
	case 24:
		p.suffix = v.number != 0
	case 35:
		p.bytes = v.number != 0
	case 40:
		p.unknown = int64(int32(v.number))
	case 42:
		p.end = int64(int32(v.number))
	case 43:
		p.pad = int64(int32(v.number))
	}
	return nil
}

func (p *protoModel) normalizer(number protowire.Number, v value) error {
	switch number {
	case 2:
		p.table = v.bytes
	case 3:
		p.prefix = v.number != 0
	case 4:
		p.collapse = v.number != 0
	case 5:
		p.escape = v.number != 0
	}
	return nil
}

// value is the content of a field: bytes, or a number.
type value struct {
	bytes  []byte
	number uint64
}

// fields calls see with each field of a message.
func fields(data []byte, see func(protowire.Number, value) error) error {
	for len(data) > 0 {
		number, kind, n := protowire.ConsumeTag(data)
		if n < 0 {
			return protowire.ParseError(n)
		}
		data = data[n:]
		var v value
		switch kind {
		case protowire.BytesType:
			v.bytes, n = protowire.ConsumeBytes(data)
		case protowire.VarintType:
			v.number, n = protowire.ConsumeVarint(data)
		case protowire.Fixed32Type:
			var x uint32
			x, n = protowire.ConsumeFixed32(data)
			v.number = uint64(x)
		case protowire.Fixed64Type:
			v.number, n = protowire.ConsumeFixed64(data)
		default:
			n = protowire.ConsumeFieldValue(number, kind, data)
		}
		if n < 0 {
			return protowire.ParseError(n)
		}
		data = data[n:]
		if err := see(number, v); err != nil {
			return err
		}
	}
	return nil
}

// normalizeSpaces returns text as SentencePiece normalizes it: at each place the longest match in
// the table is replaced, or else one character is copied; spaces at the ends and after another
// space are dropped, the others written as "▁", with one more in front.
func (m *charsMap) normalizeSpaces(text string) string {
	var b strings.Builder
	pending := true // a space before the next character
	write := func(s string) {
		for _, r := range s {
			if r == ' ' {
				pending = true
				continue
			}
			if pending {
				b.WriteString(space)
				pending = false
			}
			b.WriteRune(r)
		}
	}
	for text != "" {
		n, replacement := m.lookup(text, true)
		if n == 0 {
			n = runeLength(text)
			replacement = text[:n]
		}
		write(replacement)
		text = text[n:]
	}
	return strings.TrimRight(b.String(), space) // also those that were typed
}
