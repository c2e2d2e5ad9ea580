package checkpoint

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
)

// A safetensors file is the length of its header, 8 bytes little-endian; the header, a JSON object
// of tensors by name; and their elements, little-endian, without holes.

// maxHeader bounds the header, as the format's own reader does.
const maxHeader = 100 << 20

const metadataKey = "__metadata__"

func isSafetensors(head []byte, size int64) bool {
	if len(head) < 9 {
		return false
	}
	return head[8] == '{' || binary.LittleEndian.Uint64(head) <= uint64(size)
}

// openSafetensors reads the header of a safetensors file.
func (f *File) openSafetensors(r io.ReaderAt, size int64) (*set, error) {
	f.Format = "safetensors"
	var length [8]byte
	if _, err := r.ReadAt(length[:], 0); err != nil {
		return nil, errors.New("the file is cut off in its first 8 bytes")
	}
	n := binary.LittleEndian.Uint64(length[:])
	if n > maxHeader || int64(n) > size-8 {
		return nil, fmt.Errorf("header of %d bytes in a file of %d: cut off, or not a safetensors file", n, size)
	}
	h := headerReader{json: newObjectReader(io.NewSectionReader(r, 8, int64(n))), set: newSet(nil)}
	h.data = section{file: r, at: 8 + int64(n)}
	h.room = size - h.data.at
	if err := h.read(f.ctx); err != nil {
		return nil, fmt.Errorf("header: %w", err)
	}
	f.keepMetadata(h.metadata)
	if err := checkSpans(h.spans, h.room); err != nil {
		return nil, err
	}
	return h.set, nil
}

// keepMetadata takes a file's metadata, and the settings in those of a converted file.
func (f *File) keepMetadata(metadata map[string]string) {
	f.metadata = metadata
	if text := metadata[settingsKey]; text != "" { // of a converted file; another's means nothing here
		_ = json.Unmarshal([]byte(text), &f.settings)
	}
}

// headerReader is a header that is being read.
type headerReader struct {
	json     *objectReader
	data     section
	room     int64 // bytes that follow the header
	set      *set
	metadata map[string]string
	spans    []span
}

// span is where a tensor's elements are, in bytes from the end of the header.
type span struct {
	name     string
	from, to int64
}

func (h *headerReader) read(ctx context.Context) error {
	seen := false
	return h.json.whole(func(name string) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		if name == metadataKey {
			if seen {
				return fmt.Errorf("%s is there twice", metadataKey)
			}
			seen = true
			return h.readMetadata()
		}
		if err := checkName(name); err != nil {
			return err
		}
		if len(h.spans) == maxTensors {
			return fmt.Errorf("more than %d tensors", maxTensors)
		}
		if h.set.tensors[name] != nil {
			return fmt.Errorf("tensor %s is there twice", name)
		}
		if err := h.readTensor(name); err != nil {
			return fmt.Errorf("tensor %s: %w", name, err)
		}
		return nil
	})
}

func (h *headerReader) readMetadata() error {
	h.metadata = map[string]string{}
	return h.json.object(func(name string) error {
		if _, twice := h.metadata[name]; twice {
			return fmt.Errorf("%s: %s is there twice", metadataKey, Clean(name))
		}
		value, err := h.json.text()
		h.metadata[name] = value
		return err
	})
}

// readTensor reads a field of the header: {"dtype": "F32", "shape": [2, 3], "data_offsets": [0,
// 24]}.
func (h *headerReader) readTensor(name string) error {
	t := &stored{Info: Info{Name: name}, data: h.data}
	var offsets []int64
	seen := map[string]bool{}
	err := h.json.object(func(field string) error {
		var err error
		if seen[field] {
			return fmt.Errorf("%s is there twice", Clean(field))
		}
		seen[field] = true
		switch field {
		case "dtype":
			var text string
			text, err = h.json.text()
			t.DType = DType(Clean(text))
		case "shape":
			var shape []int64
			shape, err = h.json.integers(maxDims)
			t.Shape = make([]int, len(shape))
			for i, n := range shape {
				t.Shape[i] = int(n)
				if int64(t.Shape[i]) != n {
					return fmt.Errorf("shape %v", shape)
				}
			}
		case "data_offsets":
			offsets, err = h.json.integers(2)
		default: // means nothing here
			err = h.json.Decode(new(skipped))
		}
		if err != nil {
			return fmt.Errorf("%s: %w", Clean(field), err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if t.DType == "" || t.Shape == nil {
		return errors.New("no dtype or no shape")
	}
	if len(offsets) != 2 || offsets[0] < 0 || offsets[0] > offsets[1] || offsets[1] > h.room {
		return fmt.Errorf("data_offsets %v, want two rising numbers of at most %d, the bytes that follow the header",
			offsets, h.room)
	}
	n, err := elements(t.Shape, 8*h.room) // the smallest type has one bit
	if err != nil {
		return err
	}
	if size := int64(t.DType.Size()); size > 0 && n*size != offsets[1]-offsets[0] {
		return fmt.Errorf("shape %v of %s takes %d bytes, but data_offsets %v give it %d",
			t.Shape, t.DType, n*size, offsets, offsets[1]-offsets[0])
	}
	t.offset = offsets[0]
	h.set.add(t)
	h.spans = append(h.spans, span{name, offsets[0], offsets[1]})
	return nil
}

// checkSpans reports tensors that overlap or leave a hole in the data of room bytes.
func checkSpans(all []span, room int64) error {
	slices.SortFunc(all, func(a, b span) int { return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(a.to, b.to)) })
	at := int64(0)
	for _, s := range all {
		if s.from != at {
			return fmt.Errorf("tensor %s begins at byte %d of the data, want %d: tensors overlap or leave a hole",
				s.name, s.from, at)
		}
		at = s.to
	}
	if at != room {
		return fmt.Errorf("the data has %d bytes, but its tensors take %d: something lies behind them", room, at)
	}
	return nil
}

// objectReader reads JSON objects as they stream by, without values that nobody asked for.
type objectReader struct {
	*json.Decoder
	r io.Reader
}

func newObjectReader(r io.Reader) *objectReader {
	d := json.NewDecoder(piecewise{r})
	d.UseNumber()
	return &objectReader{d, r}
}

// whole reads an object behind which nothing but padding may follow.
func (o *objectReader) whole(field func(name string) error) error {
	if err := o.object(field); err != nil {
		return err
	}
	rest := bufio.NewReader(io.MultiReader(o.Buffered(), o.r))
	for {
		b, err := rest.ReadByte()
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		case !bytes.ContainsRune([]byte(" \x00\t\r\n"), rune(b)):
			return errors.New("something follows the JSON object")
		}
	}
}

// object calls field after each name of an object; field reads the value.
func (o *objectReader) object(field func(name string) error) error {
	if err := o.delim('{', "an object"); err != nil {
		return err
	}
	for o.More() {
		t, err := o.Token()
		if err != nil {
			return cutOff(err)
		}
		if err := field(t.(string)); err != nil { // a name is always a string
			return err
		}
	}
	return o.delim('}', "an object's end")
}

func (o *objectReader) delim(want json.Delim, what string) error {
	t, err := o.Token()
	if err != nil {
		return cutOff(err)
	}
	if t != want {
		return fmt.Errorf("not JSON as it should be: want %s", what)
	}
	return nil
}

// text reads a string.
func (o *objectReader) text() (string, error) {
	t, err := o.Token()
	if err != nil {
		return "", cutOff(err)
	}
	s, ok := t.(string)
	if !ok {
		return "", errors.New("want a string")
	}
	return s, nil
}

// integers reads a list of at most n whole numbers. It is not nil.
func (o *objectReader) integers(n int) ([]int64, error) {
	if err := o.delim('[', "a list"); err != nil {
		return nil, err
	}
	list := make([]int64, 0, 4)
	for o.More() {
		t, err := o.Token()
		if err != nil {
			return nil, cutOff(err)
		}
		number, ok := t.(json.Number)
		if !ok || len(list) == n {
			return nil, fmt.Errorf("want a list of at most %d whole numbers", n)
		}
		v, err := strconv.ParseInt(number.String(), 10, 64)
		if err != nil {
			return nil, fmt.Errorf("%s is not a whole number", Clean(number.String()))
		}
		list = append(list, v)
	}
	return list, o.delim(']', "a list's end")
}

// skipped is a JSON value that is passed over.
type skipped struct{}

func (*skipped) UnmarshalJSON([]byte) error { return nil }
