package npz

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxText is the largest number of characters of a text in an array.
const maxText = 1 << 16

// parseText reads the dtype of an array of texts, U and the number of characters of each.
func parseText(s string) (DType, bool) {
	if len(s) < 3 || s[1] != 'U' || s[0] != '<' && s[0] != '>' {
		return DType{}, false
	}
	n, err := strconv.ParseUint(s[2:], 10, 32)
	if err != nil || n < 1 || n > maxText {
		return DType{}, false
	}
	return DType{kind: 'U', size: 4 * int(n), big: s[0] == '>'}, true
}

// PutText writes an array of texts [n], as NumPy keeps a list of str: the characters of each in
// UTF-32, filled up with zeros to the length of the longest.
func PutText(w *Writer, name string, texts []string) error {
	longest := 1
	for i, text := range texts {
		n := utf8.RuneCountInString(text)
		if n > maxText || strings.HasSuffix(text, "\x00") {
			return fmt.Errorf("array %q: text %d of %d characters: want at most %d, and no zero at the end",
				name, i, n, maxText)
		}
		longest = max(longest, n)
	}
	d := DType{kind: 'U', size: 4 * longest}
	f, err := w.array(name, d, len(texts))
	if err != nil {
		return err
	}
	b := make([]byte, 0, d.size)
	for _, text := range texts {
		b = b[:0]
		for _, c := range text {
			b = binary.LittleEndian.AppendUint32(b, uint32(c))
		}
		for len(b) < d.size {
			b = append(b, 0)
		}
		if _, err := f.Write(b); err != nil {
			return fmt.Errorf("array %q: %w", name, err)
		}
	}
	return nil
}

// ReadText returns the texts of an array of one dimension.
func ReadText(a *Array) ([]string, error) {
	if a.DType.kind != 'U' || len(a.Shape) != 1 {
		return nil, fmt.Errorf("array %q: shape %v of %s, want texts [n]", a.Name, a.Shape, a.DType)
	}
	rows, err := a.Rows()
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var texts []string
	b := make([]byte, a.DType.size)
	for range a.Len() {
		if _, err := io.ReadFull(rows.src, b); err != nil {
			return nil, rows.fail(noEOF(err))
		}
		text, err := decodeText(b, a.DType.big)
		if err != nil {
			return nil, rows.fail(err)
		}
		texts = append(texts, text)
	}
	return texts, rows.fail(rows.finish())
}

func decodeText(b []byte, big bool) (string, error) {
	order := binary.ByteOrder(binary.LittleEndian)
	if big {
		order = binary.BigEndian
	}
	var text strings.Builder
	for ; len(b) > 0; b = b[4:] {
		c := order.Uint32(b)
		if c > utf8.MaxRune {
			return "", errors.New("a text has a character that Unicode does not have")
		}
		text.WriteRune(rune(c))
	}
	return strings.TrimRight(text.String(), "\x00"), nil
}
