package prompt

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/tokencache/tokencache/checkpoint"
	"github.com/tokencache/tokencache/tensor"
)

// textsKey is the metadata key of the texts of a file: a list of fileText.
const textsKey = "texts"

// fileText is what a file says of a text, whose vectors are tensor text.<index>.
type fileText struct {
	Text    string `json:"text"`
	Cut     string `json:"cut,omitempty"`
	Unknown bool   `json:"unknown,omitempty"`
}

// Write writes encoded texts to a safetensors file, which ReadFile reads.
func Write(path string, texts []Text) error {
	var names []string
	var vectors []*tensor.Tensor
	var said []fileText
	for i, t := range texts {
		names, vectors = append(names, fmt.Sprintf("text.%d", i)), append(vectors, t.Vectors)
		said = append(said, fileText{t.Text, t.Cut, t.Unknown})
	}
	text, err := json.Marshal(said)
	if err != nil {
		return err
	}
	c := contentOf(names, vectors)
	c.Metadata = map[string]string{textsKey: string(text)}
	return checkpoint.WriteSafetensors(path, c)
}

func contentOf(names []string, vectors []*tensor.Tensor) checkpoint.Content {
	c := checkpoint.Content{Read: func(name string, dst []float32) error {
		copy(dst, vectors[slices.Index(names, name)].Flat())
		return nil
	}}
	for i, v := range vectors {
		c.Tensors = append(c.Tensors, checkpoint.Info{Name: names[i], DType: checkpoint.F32, Shape: []int{v.Rows, v.Cols}})
	}
	return c
}

// ReadFile reads the texts that Write wrote.
func ReadFile(path string) ([]Text, error) {
	f, err := checkpoint.Open(path)
	if err != nil {
		return nil, fmt.Errorf("encoded texts: %w", err)
	}
	defer f.Close()
	var said []fileText
	if err := json.Unmarshal([]byte(f.Metadata()[textsKey]), &said); err != nil {
		return nil, fmt.Errorf("%s: no encoded texts: its metadata has no list %s", path, textsKey)
	}
	var list []Text
	for i, s := range said {
		v, err := readVectors(f, fmt.Sprintf("text.%d", i))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		list = append(list, Text{Text: s.Text, Vectors: v, Cut: s.Cut, Unknown: s.Unknown})
	}
	return list, nil
}

// readVectors reads a matrix of finite numbers.
func readVectors(f *checkpoint.File, name string) (*tensor.Tensor, error) {
	info, ok := f.Lookup(name)
	if !ok || len(info.Shape) != 2 || info.Shape[0] < 1 || info.Shape[1] < 1 {
		return nil, fmt.Errorf("tensor %s: want a matrix, the vectors of a text", name)
	}
	dst := make([]float32, info.Shape[0]*info.Shape[1])
	if err := checkpoint.ReadFinite(f, name, dst); err != nil {
		return nil, err
	}
	return tensor.FromSlice(dst, info.Shape[0], info.Shape[1]), nil
}
