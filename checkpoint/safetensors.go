package checkpoint

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
)

// A safetensors file is the length of its header, 8 bytes little-endian; the header, a JSON object of tensors by name; and their
// elements, little-endian, without holes.

// maxHeader bounds the header, as the format's own reader does.
const maxHeader = 100 << 20

const metadataKey = "__metadata__"

func isSafetensors(head []byte, size int64) bool {
	if len(head) < 9 {
		return false
	}
	return head[8] == '{' || binary.LittleEndian.Uint64(head) <= uint64(size)
}

// openSafetensors adds the tensors of a safetensors file to f.
func (f *File) openSafetensors(r io.ReaderAt, size int64) error {
	f.Format = "safetensors"
	var length [8]byte
	if _, err := r.ReadAt(length[:], 0); err != nil {
		return errors.New("the file is cut off in its first 8 bytes")
	}
	n := binary.LittleEndian.Uint64(length[:])
	if n > maxHeader || int64(n) > size-8 {
		return fmt.Errorf("header of %d bytes in a file of %d: cut off, or not a safetensors file", n, size)
	}
	header := make([]byte, n)
	if _, err := r.ReadAt(header, 8); err != nil {
		return fmt.Errorf("header: %w", err)
	}
	fields, err := jsonObject(header)
	if err != nil {
		return fmt.Errorf("header: %w", err)
	}
	data := section{file: r, at: 8 + int64(n)}
	room := size - data.at
	var all []span
	for _, field := range fields {
		if field.name == metadataKey {
			if err := json.Unmarshal(field.value, &f.metadata); err != nil {
				return fmt.Errorf("header: %s: %w", metadataKey, err)
			}
			continue
		}
		info, s, err := parseSafetensor(field, room)
		if err != nil {
			return fmt.Errorf("tensor %s: %w", field.name, err)
		}
		if f.tensors[info.Name] != nil {
			return fmt.Errorf("tensor %s is there twice", info.Name)
		}
		f.tensors[info.Name] = &stored{Info: info, data: data, offset: s.from}
		all = append(all, s)
	}
	return checkSpans(all, room)
}

// span is where a tensor's elements are, in bytes from the end of the header.
type span struct {
	name     string
	from, to int64
}

// parseSafetensor reads a field of the header: {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}.
func parseSafetensor(field jsonField, room int64) (Info, span, error) {
	parts, err := jsonObject(field.value)
	if err != nil {
		return Info{}, span{}, err
	}
	info := Info{Name: field.name}
	var offsets []int64
	for _, part := range parts {
		switch part.name {
		case "dtype":
			err = json.Unmarshal(part.value, &info.DType)
		case "shape":
			err = json.Unmarshal(part.value, &info.Shape)
		case "data_offsets":
			err = json.Unmarshal(part.value, &offsets)
		}
		if err != nil {
			return Info{}, span{}, fmt.Errorf("%s: %w", part.name, err)
		}
	}
	if info.DType == "" || info.Shape == nil {
		return Info{}, span{}, errors.New("no dtype or no shape")
	}
	if len(offsets) != 2 || offsets[0] < 0 || offsets[0] > offsets[1] || offsets[1] > room {
		return Info{}, span{}, fmt.Errorf("data_offsets %v, want two rising numbers of at most %d, the bytes that follow the header", offsets, room)
	}
	s := span{field.name, offsets[0], offsets[1]}
	n, err := elements(info.Shape, 8*room) // the smallest type has one bit
	if err != nil {
		return Info{}, span{}, err
	}
	if size := int64(info.DType.Size()); size > 0 && n*size != s.to-s.from {
		return Info{}, span{}, fmt.Errorf("shape %v of %s takes %d bytes, but data_offsets %v give it %d", info.Shape, info.DType, n*size, offsets, s.to-s.from)
	}
	return info, s, nil
}

// checkSpans reports tensors that overlap or leave a hole in the data of room bytes.
func checkSpans(all []span, room int64) error {
	slices.SortFunc(all, func(a, b span) int { return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(a.to, b.to)) })
	at := int64(0)
	for _, s := range all {
		if s.from != at {
			return fmt.Errorf("tensor %s begins at byte %d of the data, want %d: tensors overlap or leave a hole", s.name, s.from, at)
		}
		at = s.to
	}
	if at != room {
		return fmt.Errorf("the data has %d bytes, but its tensors take %d: something lies behind them", room, at)
	}
	return nil
}

type jsonField struct {
	name  string
	value json.RawMessage
}

// jsonObject returns the fields of a JSON object in their order, of which none may be there twice.
func jsonObject(b []byte) ([]jsonField, error) {
	d := json.NewDecoder(bytes.NewReader(b))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, errors.New("not a JSON object")
	}
	var fields []jsonField
	seen := make(map[string]bool)
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, err
		}
		name, _ := t.(string) // a key is always a string
		if seen[name] {
			return nil, fmt.Errorf("%q is there twice", name)
		}
		seen[name] = true
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, err
		}
		fields = append(fields, jsonField{name, value})
	}
	if _, err := d.Token(); err != nil {
		return nil, err
	}
	if rest := bytes.TrimRight(b[d.InputOffset():], " \x00\t\r\n"); len(rest) > 0 {
		return nil, fmt.Errorf("%d bytes follow the JSON object", len(rest))
	}
	return fields, nil
}
