package vae

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tokencache/tokencache/checkpoint"
	"github.com/tokencache/tokencache/tensor"
)

// Open reads an autoencoder: a file of weights in any format and naming that is known, with perhaps
// a config.json next to it; a folder of these; a diffusers pipeline, whose folder vae is read; or,
// for a tiny autoencoder in two files, the folder or either file.
//
// What the autoencoder is comes from its tensors; config.json adds what they do not tell, and a
// contradiction is an error, and so is any missing, unexpected, misshapen or unreadable tensor, or
// one whose numbers are not finite.
func Open(path string) (Autoencoder, error) { return OpenContext(context.Background(), path) }

// OpenContext is Open. When ctx ends, it fails soon.
func OpenContext(ctx context.Context, path string) (Autoencoder, error) {
	return OpenAs(ctx, path, tensor.F32)
}

// OpenAs is OpenContext with the inner convolutions of the decoder in a number format: bfloat16, or
// float32 where that is int8, whose images so have the same bits on processors with and without
// instructions for bfloat16. The first and the last convolution, those of 1x1, attention and the
// encoder are in float32.
func OpenAs(ctx context.Context, path string, d tensor.DType) (Autoencoder, error) {
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
		f, err := checkpoint.OpenContext(ctx, p, checkpoint.OpenOptions{Known: known})
		if err != nil {
			return nil, err // names the file
		}
		defer f.Close()
		files = append(files, f)
	}
	a, err := recognise(files, given, d)
	if err != nil {
		return fail(err)
	}
	return a, nil
}

// known reports whether tensors are those of an autoencoder of this package, or of half of one.
func known(l checkpoint.Lister) bool {
	_, kl := klNaming(l)
	_, tiny := tinyNaming(l)
	return kl || tiny
}

// recognise finds out what the files hold and reads it.
func recognise(files []store, given *fileConfig, d tensor.DType) (Autoencoder, error) {
	if len(files) == 1 {
		if n, ok := klNaming(files[0]); ok {
			return openKL(files[0], n, given, d)
		}
	}
	return openTiny(files, given, d)
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

// The files of a tiny autoencoder's halves differ in these words of their names.
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

// withOtherHalf returns path and, if path is named as one half of a tiny autoencoder, the file of
// the other one if there is one.
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
	Class          string    `json:"_class_name"`
	Widths         []int     `json:"block_out_channels"`
	Layers         int       `json:"layers_per_block"`
	InChannels     int       `json:"in_channels"`
	OutChannels    int       `json:"out_channels"`
	LatentChannels int       `json:"latent_channels"`
	Groups         int       `json:"norm_num_groups"`
	Activation     string    `json:"act_fn"`
	Quant          *bool     `json:"use_quant_conv"`
	PostQuant      *bool     `json:"use_post_quant_conv"`
	Attention      *bool     `json:"mid_block_add_attention"`
	ScaleFactor    *float64  `json:"scaling_factor"`
	ShiftFactor    *float64  `json:"shift_factor"`
	Mean           []float64 `json:"latents_mean"`
	Std            []float64 `json:"latents_std"`
}

// readConfig reads a config.json, if there is one. One of something other than an autoencoder,
// which may lie in the same folder, is as none.
func readConfig(path string) (*fileConfig, error) {
	c := new(fileConfig)
	b, err := checkpoint.ReadText(path)
	if errors.Is(err, os.ErrNotExist) {
		return c, nil
	}
	if err != nil {
		return nil, err
	}
	if c, err = parseConfig(b); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Base(path), err)
	}
	return c, nil
}

func parseConfig(text []byte) (*fileConfig, error) {
	var class struct {
		Name string `json:"_class_name"`
	}
	if err := json.Unmarshal(text, &class); err != nil {
		return nil, err
	}
	c := new(fileConfig)
	if class.Name != "" && !strings.HasPrefix(class.Name, "Autoencoder") {
		return c, nil
	}
	return c, json.Unmarshal(text, c)
}

// factors sets what the file gives.
func (f *fileConfig) factors(scale, shift *float64) error {
	if f.Mean != nil || f.Std != nil {
		return errors.New("config.json has latents_mean or latents_std: latents scaled for each channel are not supported")
	}
	if f.ScaleFactor != nil {
		*scale = *f.ScaleFactor
	}
	if f.ShiftFactor != nil {
		*shift = *f.ShiftFactor
	}
	return checkFactors(*scale, *shift)
}
