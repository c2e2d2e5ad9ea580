package checkpoint

import (
	"encoding/json"
	"errors"
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
// PyTorch's format if its name ends in .pt, .pth or .bin. Names stay as they are. The config.json
// next to the weights goes into the metadata. Tensors that are not floating-point numbers are left
// out; their names are returned.
func Convert(from, to string, o ConvertOptions) (leftOut []string, err error) {
	write := WriteSafetensors
	switch ext := strings.ToLower(filepath.Ext(to)); ext {
	case ".safetensors":
	case ".pt", ".pth", ".bin":
		write = WritePyTorch
	default:
		return nil, fmt.Errorf("convert to %s: unknown kind %q: give a name that ends in .safetensors, "+
			".pt, .pth or .bin", to, ext)
	}
	if o.DType != "" && !o.DType.writable() {
		return nil, fmt.Errorf("convert to %s: type %s, want F64, F32, F16 or BF16", to, o.DType)
	}
	weights, pipeline := from, ""
	if info, err := os.Stat(from); err != nil {
		return nil, fmt.Errorf("convert %s: %w", from, withoutPath(err))
	} else if info.IsDir() {
		dir := from
		if _, err := os.Stat(filepath.Join(dir, "model_index.json")); err == nil {
			pipeline, dir = dir, filepath.Join(dir, "transformer")
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
	if err := c.keep(weights, pipeline, f); err != nil {
		return nil, err
	}
	for _, name := range f.Names() {
		t, _ := f.Lookup(name)
		if !t.DType.Float() {
			leftOut = append(leftOut, name)
			continue
		}
		switch {
		case o.DType != "":
			t.DType = o.DType
		case !t.DType.writable():
			t.DType = F16 // which has all numbers of the types of 8 bits
		}
		c.Tensors = append(c.Tensors, t)
	}
	if len(c.Tensors) == 0 {
		return nil, fmt.Errorf("convert %s: no tensors of floating-point numbers", from)
	}
	return leftOut, write(to, c)
}

// keep puts into the metadata what is next to the weights, and what the file says besides its
// tensors.
func (c *Content) keep(weights, pipeline string, f *File) error {
	dir := filepath.Dir(weights)
	files := []struct{ key, path string }{
		{ConfigKey, filepath.Join(dir, "config.json")},
		{SchedulerKey, filepath.Join(dir, "scheduler_config.json")},
	}
	if pipeline != "" {
		files = append(files,
			struct{ key, path string }{SchedulerKey, filepath.Join(pipeline, "scheduler", "scheduler_config.json")},
			struct{ key, path string }{PipelineKey, filepath.Join(pipeline, "model_index.json")})
	}
	for _, file := range files {
		switch b, err := ReadText(file.path); {
		case err == nil:
			c.Metadata[file.key] = string(b)
		case !errors.Is(err, os.ErrNotExist):
			return err
		}
	}
	if c.Metadata[SourceKey] == "" {
		c.Metadata[SourceKey] = filepath.Base(weights)
	}
	if len(f.settings) == 0 {
		return nil
	}
	b, err := json.Marshal(f.settings)
	c.Metadata[settingsKey] = string(b)
	return err
}
