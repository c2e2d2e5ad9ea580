package verify

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tokencache/tokencache/dit"
	"github.com/tokencache/tokencache/internal/regularfile"
	"github.com/tokencache/tokencache/minit2i"
	"github.com/tokencache/tokencache/vae"
)

// folder checks the named recordings with the weights beside them.
func (r *run) folder(dir string, recordings []string) error {
	if kindOf(filepath.Join(dir, "transformer")) == "MiniT2IMMJiTModel" {
		return r.minit2iModels(dir, recordings)
	}
	if slices.Equal(recordings, []string{"cases.safetensors"}) && minit2i.Found(dir) {
		return r.textPipeline(dir)
	}
	if kindOf(dir) == "t5" {
		return r.textEncoders(dir, recordings)
	}
	weights, err := weightFiles(dir, recordings)
	if err != nil {
		return err
	}
	if strings.HasPrefix(kindOf(dir), "Autoencoder") || slices.ContainsFunc(recordings, func(name string) bool { return strings.HasSuffix(name, "_cases.safetensors") }) {
		return r.autoencoders(dir, weights, recordings)
	}
	if kindOf(dir) == string(dit.ArchSiT) {
		return r.sit(dir, weights, recordings)
	}
	return r.models(dir, weights, recordings)
}

// kindOf returns what config.json says that the folder is, or "".
func kindOf(dir string) string {
	var c struct {
		Arch  string `json:"arch"`
		Class string `json:"_class_name"`
		Type  string `json:"model_type"`
	}
	b, err := regularfile.Read(filepath.Join(dir, "config.json"), regularfile.MaxText)
	if err != nil || json.Unmarshal(b, &c) != nil {
		return ""
	}
	return c.Arch + c.Class + c.Type
}

// weightFiles lists what in dir may be weights.
func weightFiles(dir string, recordings []string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var files []string
	for _, e := range entries {
		ext := filepath.Ext(e.Name())
		if !e.IsDir() && slices.Contains([]string{".safetensors", ".pt", ".pth", ".bin"}, ext) && !isRecording(e.Name()) && !slices.Contains(recordings, e.Name()) {
			files = append(files, filepath.Join(dir, e.Name()))
		}
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("the folder has recorded tensors but no weights (.safetensors, .pt, .pth, .bin)")
	}
	// What opens fastest first; where a training checkpoint is beside a state dict, both are
	// compared with it.
	slices.SortStableFunc(files, func(a, b string) int {
		return rank(a) - rank(b)
	})
	return files, nil
}

func rank(path string) int {
	if filepath.Ext(path) == ".safetensors" {
		return 0
	}
	return 1
}

// models checks recordings of a DiT with the first of the weights, and that the others are the
// same.
func (r *run) models(dir string, weights, recordings []string) error {
	w, err := dit.Open(weights[0], r.options(weights[0]))
	if err != nil {
		return err
	}
	defer w.Close()
	r.work("loading %s", weights[0])
	w.DType = r.DType
	m, err := w.Load()
	if err != nil {
		return err
	}
	for _, other := range weights[1:] {
		r.sameModel(w, m.Fingerprint, other)
	}
	r.rounding = roundingOf(m)
	for _, name := range recordings {
		path := filepath.Join(dir, name)
		c, err := openRecording(path)
		if err == nil {
			switch name {
			case "sampling.safetensors":
				err = r.sampling(m, c)
			case "training.safetensors":
				r.rounding = rounding{}
				err = r.training(w, c)
				r.rounding = roundingOf(m)
			default:
				err = r.forward(m, c)
			}
			c.Close()
		}
		if err != nil {
			r.fail(stem(name), err)
		}
		if err := r.graph.Err(); err != nil {
			return err
		}
	}
	return nil
}

// options are those of opening a file of weights. Safetensors have one set of weights.
func (r *run) options(path string) dit.Options {
	if rank(path) == 0 {
		return dit.Options{}
	}
	return dit.Options{Key: r.Key}
}

// sameModel checks that the weights at path are those of w, bit for bit.
func (r *run) sameModel(w *dit.Weights, fingerprint, path string) {
	name := "weights/" + filepath.Base(path)
	o := r.options(path)
	o.Heads, o.InputSize, o.DecodeLayer = w.Heads, w.InputSize, w.DecodeLayer
	other, err := dit.Open(path, o)
	if err != nil {
		r.fail(name, err)
		return
	}
	defer other.Close()
	if other.Config != w.Config {
		r.fail(name, fmt.Errorf("%s, want %s", other.Config.Name(), w.Config.Name()))
		return
	}
	m, err := other.Load()
	if err != nil {
		r.fail(name, err)
		return
	}
	c := Check{Name: name}
	if m.Fingerprint != fingerprint {
		c.Error, c.Reason = noNumber, fmt.Sprintf("fingerprint %s, want %s", m.Fingerprint, fingerprint)
	}
	r.add(c)
}

// autoencoders checks recordings of an autoencoder with every file of weights, and that all give
// the same bits.
func (r *run) autoencoders(dir string, weights, recordings []string) error {
	// A tiny autoencoder is in two files, which vae.Open finds by the folder.
	if strings.HasSuffix(stem(weights[0]), "coder") {
		weights = []string{dir}
	}
	for _, name := range recordings {
		path := filepath.Join(dir, name)
		c, err := openRecording(path)
		if err != nil {
			r.fail(stem(name), err)
			continue
		}
		var first map[string][]float32
		for i, file := range weights {
			a, err := vae.OpenAs(context.Background(), file, r.DType)
			if err != nil {
				r.fail("weights/"+filepath.Base(file), err)
				continue
			}
			got, err := r.decodeAndEncode(a, c)
			switch {
			case err != nil:
				r.fail(c.stem, err)
			case i == 0:
				first = got
				if err := r.compareAutoencoder(a, c, got); err != nil {
					r.fail(c.stem, err)
				}
			default:
				check := Check{Name: "weights/" + filepath.Base(file)}
				for name, x := range got {
					if !slices.Equal(x, first[name]) {
						check.Error, check.Reason = noNumber, fmt.Sprintf("%s has other bits than with %s", name, filepath.Base(weights[0]))
					}
				}
				r.add(check)
			}
		}
		c.Close()
		if err := r.graph.Err(); err != nil {
			return err
		}
	}
	return nil
}

// compareAutoencoder checks what an autoencoder computed with tensors of the same names.
func (r *run) compareAutoencoder(a vae.Autoencoder, c *recording, got map[string][]float32) error {
	defer func() { r.rounding = rounding{} }()
	for _, name := range c.Names() {
		x, ok := got[name]
		if !ok {
			continue
		}
		want, err := c.Float32(name)
		if err != nil {
			return err
		}
		r.rounding = rounding{}
		if strings.HasSuffix(name, "decoded") { // encoders are float32
			r.rounding = roundingOfDecoder(a)
		}
		r.compare(c.stem+"/"+name, x, want, tolerance)
	}
	return nil
}
