package raster

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Text is a text entry of a PNG file, such as the seed of its image.
type Text struct {
	Key   string // 1 to 79 characters of Latin-1; no space at either end, nor two together
	Value string // UTF-8
}

const (
	latinText   = "tEXt"
	unicodeText = "iTXt"
)

func isText(kind string) bool { return kind == latinText || kind == unicodeText }

// chunk returns the text as a PNG chunk: tEXt, which every program reads, if its value is Latin-1,
// else iTXt.
func (t Text) chunk() (kind string, data []byte, err error) {
	key, ok := toLatin1(t.Key)
	if !ok || len(key) == 0 || len(key) > 79 ||
		strings.ContainsAny(t.Key, "\n\u00a0") || strings.Contains(t.Key, "  ") ||
		strings.TrimSpace(t.Key) != t.Key {
		return "", nil, fmt.Errorf("text key %q is not 1 to 79 Latin-1 characters, single spaces inside allowed", t.Key)
	}
	data = append(key, 0)
	if value, ok := toLatin1(t.Value); ok {
		return latinText, append(data, value...), nil
	}
	if !utf8.ValidString(t.Value) || strings.Contains(t.Value, "\x00") {
		return "", nil, fmt.Errorf("text %q: the value is not UTF-8 without zero bytes", t.Key)
	}
	data = append(data, 0, 0, 0, 0) // not compressed, method 0, no language, no translated key
	return unicodeText, append(data, t.Value...), nil
}

// parseText parses the data of a chunk. is is false if the chunk is of another kind or compressed.
func parseText(kind string, data []byte) (t Text, is bool, err error) {
	if !isText(kind) {
		return Text{}, false, nil
	}
	key, value, ok := bytes.Cut(data, []byte{0})
	if !ok {
		return Text{}, false, fmt.Errorf("chunk %q has no key", kind)
	}
	t.Key = fromLatin1(key)
	if kind == latinText {
		t.Value = fromLatin1(value)
		return t, true, nil
	}
	if len(value) > 0 && value[0] != 0 { // compressed
		return Text{}, false, nil
	}
	parts := bytes.SplitN(value[min(2, len(value)):], []byte{0}, 3) // language, translated key, value
	if len(parts) < 3 || !utf8.Valid(parts[2]) {
		return Text{}, false, fmt.Errorf("chunk %q, key %q: malformed", kind, t.Key)
	}
	t.Value = string(parts[2])
	return t, true, nil
}

// toLatin1 converts to the characters that PNG allows in Latin-1 text: printable ones and the line
// feed.
func toLatin1(s string) ([]byte, bool) {
	b := make([]byte, 0, len(s))
	for _, r := range s {
		if r != '\n' && (r < ' ' || r > '~' && r < 0xa0 || r > 0xff) {
			return nil, false
		}
		b = append(b, byte(r))
	}
	return b, true
}

func fromLatin1(b []byte) string {
	runes := make([]rune, len(b))
	for i, c := range b {
		runes[i] = rune(c)
	}
	return string(runes)
}
