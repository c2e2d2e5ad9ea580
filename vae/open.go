package vae

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tokencache/tokencache/checkpoint"
)

// Open reads an autoencoder. Path is a file of weights in any known format and naming, with or
// without a config.json next to it; a folder of these; a diffusers pipeline, whose folder vae is
// read; or, for a tiny autoencoder in two files, the folder or either file.
//
// The tensors determine the autoencoder, and config.json adds what they do not. A contradiction
// between the two is an error, as is any missing, unexpected or misshapen tensor.
func Open(path string) (Autoencoder, error) {
	fail := func(err error) (Autoencoder, error) { return nil, fmt.Errorf("autoencoder %s: %w", path, err) }
	paths, dir, err := locate(path)
	if err != nil {
		return fail(err)
	}
	given, err := readConfig(filepath.Join(dir, "config.json"))
	if err != nil {
		return fail(err)
	}
	var files []store
	for _, p := range paths {
		f, err := checkpoint.Open(p)
		if err != nil {
			return nil, err // names the file
		}
		defer f.Close()
		files = append(files, f)
	}
	a, err := recognise(files, given)
	if err != nil {
		return fail(err)
	}
	return a, nil
}

// recognise determines the kind of autoencoder and reads it.
func recognise(files []store, given *fileConfig) (Autoencoder, error) {
	if len(files) == 1 {
		if n, ok := klNaming(files[0]); ok {
			return openKL(files[0], n, given)
		}
	}
	return openTiny(files, given)
}

// unknown returns the error for a file without a known autoencoder.
func unknown(s store) error {
	if has(s, "x_embedder.proj.weight") || has(s, "pos_embed.proj.weight") {
		return errors.New("these are the weights of a diffusion transformer, not of an autoencoder")
	}
	names := s.Names()
	if len(names) > 4 {
		names = append(slices.Clone(names[:4]), "...")
	}
	return fmt.Errorf("no autoencoder that is known here: neither AutoencoderKL nor a tiny one; its tensors are %s",
		strings.Join(names, ", "))
}

// locate returns the files of weights at path and their folder.
func locate(path string) (files []string, dir string, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, "", errors.Unwrap(err)
	}
	if !info.IsDir() {
		return withOtherHalf(path), filepath.Dir(path), nil
	}
	dir = path
	if _, err := os.Stat(filepath.Join(dir, "model_index.json")); err == nil {
		dir = filepath.Join(dir, "vae")
	}
	if files, err = halves(dir); err != nil || files != nil {
		return files, dir, err
	}
	file, err := checkpoint.FindWeights(dir)
	return []string{file}, dir, err
}

// The names of the files of a tiny autoencoder's halves differ in these words only.
const encoderMark, decoderMark = "_encoder.", "_decoder."

// halves returns the files of a tiny autoencoder's halves in a folder, or nil if there are none.
func halves(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var files, decoders []string
	for _, e := range entries {
		switch name := e.Name(); {
		case e.IsDir():
		case strings.Contains(name, encoderMark):
			files = append(files, filepath.Join(dir, name))
		case strings.Contains(name, decoderMark):
			decoders = append(decoders, filepath.Join(dir, name))
		}
	}
	if len(files) > 1 || len(decoders) > 1 {
		return nil, fmt.Errorf("several autoencoders in one folder: %s; name the file",
			strings.Join(append(files, decoders...), ", "))
	}
	return append(files, decoders...), nil
}

// withOtherHalf returns path and, if its name is that of one half of a tiny autoencoder, the file
// of the other half if it exists.
func withOtherHalf(path string) []string {
	dir, name := filepath.Split(path)
	for _, swap := range [][2]string{{encoderMark, decoderMark}, {decoderMark, encoderMark}} {
		if !strings.Contains(name, swap[0]) {
			continue
		}
		other := filepath.Join(dir, strings.Replace(name, swap[0], swap[1], 1))
		if _, err := os.Stat(other); err == nil {
			return []string{path, other}
		}
	}
	return []string{path}
}

// fileConfig is the autoencoder part of a diffusers config.json; zero means absent.
type fileConfig struct {
	Class          string   `json:"_class_name"`
	Widths         []int    `json:"block_out_channels"`
	Layers         int      `json:"layers_per_block"`
	LatentChannels int      `json:"latent_channels"`
	Groups         int      `json:"norm_num_groups"`
	Activation     string   `json:"act_fn"`
	ScaleFactor    *float64 `json:"scaling_factor"`
	ShiftFactor    *float64 `json:"shift_factor"`
}

// readConfig reads a config.json, if it exists. One of something other than an autoencoder is
// ignored.
func readConfig(path string) (*fileConfig, error) {
	c := new(fileConfig)
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return c, nil
	}
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(b, c); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Base(path), err)
	}
	if c.Class != "" && !strings.HasPrefix(c.Class, "Autoencoder") {
		return new(fileConfig), nil
	}
	return c, nil
}

// factors sets the fields that the file gives.
func (f *fileConfig) factors(scale, shift *float64) {
	if f.ScaleFactor != nil {
		*scale = *f.ScaleFactor
	}
	if f.ShiftFactor != nil {
		*shift = *f.ShiftFactor
	}
}
