package unigram

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"unicode/utf8"
)

// charsMap is SentencePiece's precompiled character table: a double-array trie of byte sequences,
// and the text that replaces each of them.
//
// A unit x of the array holds an offset to its children, (x>>10) << ((x&512)>>6), a label in bits
// 0 to 7 and 31, and in bit 8 whether a value stands at the start of its children. A value is the
// position of a zero-terminated replacement.
type charsMap struct {
	units        []uint32
	replacements []byte
}

// parseCharsMap reads the table as the files hold it: the size of the array in bytes (uint32,
// little-endian), the array, the replacements. Nil data is the table without an entry.
func parseCharsMap(data []byte) (*charsMap, error) {
	if len(data) == 0 {
		return &charsMap{}, nil
	}
	if len(data) < 4 {
		return nil, fmt.Errorf("character table: %d bytes, want 4 or more", len(data))
	}
	size := binary.LittleEndian.Uint32(data)
	if size%4 != 0 || uint64(size) > uint64(len(data)-4) {
		return nil, fmt.Errorf("character table: an array of %d bytes in a table of %d", size, len(data))
	}
	m := &charsMap{units: make([]uint32, size/4), replacements: data[4+size:]}
	for i := range m.units {
		m.units[i] = binary.LittleEndian.Uint32(data[4+4*i:])
	}
	if len(m.replacements) > 0 && m.replacements[len(m.replacements)-1] != 0 {
		return nil, fmt.Errorf("character table: its last replacement does not end with a zero byte")
	}
	return m, nil
}

// lookup returns the longest or the shortest sequence of the table that text begins with: its
// length in bytes and its replacement. A length of 0 says that there is none.
func (m *charsMap) lookup(text string, longest bool) (length int, replacement string) {
	if len(m.units) == 0 {
		return 0, ""
	}
	node := offset(m.units[0])
	for i := range len(text) {
		node ^= uint32(text[i])
		if uint64(node) >= uint64(len(m.units)) {
			break
		}
		unit := m.units[node]
		if unit&0x800000ff != uint32(text[i]) {
			break
		}
		node ^= offset(unit)
		if unit&0x100 == 0 {
			continue
		}
		if r, ok := m.value(node); ok {
			length, replacement = i+1, r
			if !longest {
				break
			}
		}
	}
	return length, replacement
}

// value returns the replacement whose position stands at node.
func (m *charsMap) value(node uint32) (string, bool) {
	if uint64(node) >= uint64(len(m.units)) {
		return "", false
	}
	at := m.units[node] & 0x7fffffff
	if uint64(at) >= uint64(len(m.replacements)) {
		return "", false
	}
	r := m.replacements[at:]
	return string(r[:bytes.IndexByte(r, 0)]), true
}

// offset is the distance from a unit to its children.
func offset(unit uint32) uint32 { return (unit >> 10) << ((unit & 512) >> 6) }

// runeLength is the length in bytes of the first character of text, which is not empty.
func runeLength(text string) int {
	_, n := utf8.DecodeRuneInString(text)
	return n
}
