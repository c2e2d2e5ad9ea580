package checkpoint

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// ConvertOptions are the options of Convert.
type ConvertOptions struct {
	Key   string // which of several sets of weights: see OpenKey
	DType DType  // of floating-point tensors; "" keeps their types
}

// Convert writes the weights at from, a file or a folder with one, to the file to: safetensors, or
// PyTorch's format if its name ends in .pt, .pth or .bin. It keeps the tensors' names, stores the
// config.json next to the weights in the metadata of a safetensors file, and leaves out tensors
// that are not floating-point numbers, whose names it returns.
func Convert(from, to string, o ConvertOptions) (leftOut []string, err error) {
	write := WriteSafetensors
	switch ext := strings.ToLower(filepath.Ext(to)); ext {
	case ".safetensors":
	case ".pt", ".pth", ".bin":
		write = WritePyTorch
	default:
		return nil, fmt.Errorf("convert to %s: unknown kind %q: give a name that ends in .safetensors, .pt, .pth or .bin", to, ext)
	}
	if o.DType != "" && !o.DType.Float() {
		return nil, fmt.Errorf("convert to %s: type %s, want F64, F32, F16 or BF16", to, o.DType)
	}
	weights := from
	if info, err := os.Stat(from); err != nil {
		return nil, fmt.Errorf("convert %s: %w", from, withoutPath(err))
	} else if info.IsDir() {
		dir := from
		if _, err := os.Stat(filepath.Join(dir, "model_index.json")); err == nil {
			dir = filepath.Join(dir, "transformer")
		}
		if weights, err = FindWeights(dir); err != nil {
			return nil, err
		}
	}
	f, err := OpenKey(weights, o.Key)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	c := Content{Metadata: map[string]string{"format": "pt"}, Read: f.Read}
	for k, v := range f.Metadata() {
		c.Metadata[k] = v
	}
	if b, err := os.ReadFile(filepath.Join(filepath.Dir(weights), "config.json")); err == nil {
		c.Metadata[ConfigKey] = string(b)
	}
	for _, name := range f.Names() {
		t, _ := f.Lookup(name)
		if !t.DType.Float() {
			leftOut = append(leftOut, name)
			continue
		}
		if o.DType != "" {
			t.DType = o.DType
		}
		c.Tensors = append(c.Tensors, t)
	}
	if len(c.Tensors) == 0 {
		return nil, fmt.Errorf("convert %s: no tensors of floating-point numbers", from)
	}
	return leftOut, write(to, c)
}
