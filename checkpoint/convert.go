package checkpoint

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
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
// out; their names are returned. Nothing is written, and the error is a *NotFiniteError or an
// *OverflowError, where a weight is not a number or the type cannot hold it.
func Convert(from, to string, o ConvertOptions) (leftOut []string, err error) {
	if err := o.check(to); err != nil {
		return nil, err
	}
	weights, pipeline := from, ""
	if info, err := os.Stat(from); err != nil {
		return nil, fmt.Errorf("convert %s: %w", from, withoutPath(err))
	} else if info.IsDir() {
		if weights, pipeline, err = findIn(from); err != nil {
			return nil, err
		}
	}
	f, err := OpenKey(weights, o.Key)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	c := f.content()
	if err := c.keep(weights, pipeline, f); err != nil {
		return nil, err
	}
	return f.convert(c, to, o)
}

// findIn returns the file of weights in a folder, and the folder if it is a pipeline's.
func findIn(dir string) (weights, pipeline string, err error) {
	weights, ownErr := FindWeights(dir)
	_, err = os.Stat(filepath.Join(dir, "model_index.json"))
	if ownErr == nil && err != nil {
		return weights, "", nil
	}
	network, err := FindNetwork(dir)
	switch {
	case err != nil:
		return "", "", err
	case network.Path == "" && ownErr != nil:
		return "", "", ownErr
	case network.Path == "":
		return weights, dir, nil
	}
	weights, err = FindWeights(network.Path)
	return weights, dir, err
}

// Convert writes the weights of an open file as the function Convert does, with what is in the
// file's metadata. The key is not used.
func (f *File) Convert(to string, o ConvertOptions) (leftOut []string, err error) {
	if err := o.check(to); err != nil {
		return nil, err
	}
	return f.convert(f.content(), to, o)
}

// content returns the file's metadata and what reads its tensors, but no tensor yet.
func (f *File) content() Content {
	c := Content{Metadata: map[string]string{"format": "pt"}, Read: f.Read}
	maps.Copy(c.Metadata, f.Metadata())
	return c
}

// writerOf returns what writes the format that a file's name ends in.
func writerOf(to string) (func(string, Content) error, error) {
	switch ext := strings.ToLower(filepath.Ext(to)); ext {
	case ".safetensors":
		return WriteSafetensors, nil
	case ".pt", ".pth", ".bin":
		return WritePyTorch, nil
	default:
		return nil, fmt.Errorf("convert to %s: unknown kind %q: give a name that ends in .safetensors, "+
			".pt, .pth or .bin", to, ext)
	}
}

// check reports a file or a type that cannot be written.
func (o ConvertOptions) check(to string) error {
	if o.DType != "" && !o.DType.writable() {
		return fmt.Errorf("convert to %s: type %s, want F64, F32, F16 or BF16", to, o.DType)
	}
	_, err := writerOf(to)
	return err
}

// convert adds the file's tensors to what is to be written, and writes it.
func (f *File) convert(c Content, to string, o ConvertOptions) (leftOut []string, err error) {
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
		return nil, fmt.Errorf("convert %s: no tensors of floating-point numbers", f.Path)
	}
	write, err := writerOf(to)
	if err != nil {
		return nil, err
	}
	if err := f.checkRange(c.Tensors); err != nil {
		return nil, fmt.Errorf("convert %s: %w", f.Path, err)
	}
	return leftOut, write(to, c)
}

// keep puts into the metadata what is next to the weights, and what the file says besides its
// tensors.
func (c *Content) keep(weights, pipeline string, f *File) error {
	dir := filepath.Dir(weights)
	type next struct{ key, path string }
	files := []next{ // a later one replaces an earlier one
		{ConfigKey, filepath.Join(dir, "config.json")},
		{SchedulerKey, filepath.Join(dir, "scheduler", "scheduler_config.json")},
		{SchedulerKey, filepath.Join(dir, "scheduler_config.json")},
	}
	if pipeline == "" && filepath.Base(dir) == "transformer" {
		pipeline = filepath.Dir(dir)
	}
	if pipeline != "" {
		files = append(files,
			next{SchedulerKey, filepath.Join(pipeline, "scheduler", "scheduler_config.json")},
			next{PipelineKey, filepath.Join(pipeline, "model_index.json")})
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
