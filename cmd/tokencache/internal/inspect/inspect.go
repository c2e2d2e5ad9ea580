// Package inspect says what a file of weights is, whether or not this version can run it.
package inspect

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/tokencache/tokencache/checkpoint"
	"github.com/tokencache/tokencache/dit"
	"github.com/tokencache/tokencache/models"
	"github.com/tokencache/tokencache/models/bundle"
	"github.com/tokencache/tokencache/vae"
)

// Report is what is known of a file.
type Report struct {
	File         string             `json:"file"`
	Format       string             `json:"format"`
	Taken        string             `json:"taken,omitempty"`      // which of several sets of weights
	Architecture string             `json:"architecture"`         // or "unknown"
	Reason       string             `json:"cannot_run,omitempty"` // why this version cannot run it
	Properties   []Property         `json:"properties"`
	Entries      []checkpoint.Entry `json:"entries,omitempty"` // what else the file holds

	Parameters   int64 `json:"parameters"`
	FLOPsPerStep int64 `json:"flops_per_step"` // of one sample
	WeightBytes  int64 `json:"weight_bytes"`   // in memory, as float32

	Tensors []checkpoint.Info `json:"tensors,omitempty"`
}

// Property is a fact for people.
type Property struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

func (r *Report) add(name, format string, args ...any) {
	r.Properties = append(r.Properties, Property{name, fmt.Sprintf(format, args...)})
}

// Path inspects a checkpoint, a folder, a diffusers pipeline or, by its name, a bundled model; o is
// what the checkpoint does not say. It fails only if no weights can be opened there.
func Path(ctx context.Context, path string, o dit.Options) (*Report, error) {
	if models.TakesPrompts(path) {
		return textModel(ctx, path, o.Key)
	}
	w, modelErr := models.ResolveWeights(ctx, path, o)
	if modelErr == nil {
		defer w.Close()
		r := newReport(w.File)
		r.model(w.Config)
		if err := w.Unsupported(); err != nil {
			r.Reason = err.Error()
			if err := r.notFinite(w.File); err != nil {
				return nil, err
			}
		} else if err := w.File.NotFinite(); err != nil {
			r.Reason = err.Error()
		}
		if w.Assumed != "" {
			r.add("assumed", "%s", w.Assumed)
		}
		if len(w.ClassNames) > 0 {
			r.add("class names", "%s", strings.Join(w.ClassNames, "; "))
		}
		if w.VAE != "" {
			r.add("autoencoder", "%s", w.VAE)
		}
		policies, err := bundle.Lookup(path).Policies()
		var names []string
		for _, t := range policies {
			names = append(names, t.String())
		}
		if names != nil {
			r.add("policies", "%s", strings.Join(names, ", "))
		}
		return r, err
	}
	file := path
	if info, err := os.Stat(path); err != nil {
		return nil, modelErr
	} else if info.IsDir() {
		if file, err = checkpoint.FindWeights(path); err != nil {
			return nil, modelErr
		}
	}
	f, err := checkpoint.OpenContext(ctx, file, checkpoint.OpenOptions{Key: o.Key})
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r := newReport(f)
	a, err := vae.OpenContext(ctx, path)
	if err == nil {
		s := a.Spec()
		r.Architecture = s.Name
		r.Parameters = s.Parameters
		r.WeightBytes = 4 * s.Parameters
		r.add("latents", "%d channels, 1/%d of the image's side, scale factor %g", s.LatentChannels, s.Downscale, s.ScaleFactor)
		r.add("images", "%d channels", s.ImageChannels)
		r.add("parameters", "%s", millions(s.Parameters))
		return r, nil
	}
	r.Architecture = "unknown"
	r.Reason = reason(file, modelErr)
	var bad *checkpoint.NotFiniteError
	if errors.As(err, &bad) {
		r.Architecture = "an autoencoder"
		r.Reason = bad.Error()
	}
	for _, t := range r.Tensors {
		r.Parameters += int64(t.Len())
	}
	r.add("parameters", "%s in %d tensors", millions(r.Parameters), len(r.Tensors))
	return r, r.notFinite(f)
}

// notFinite adds how many numbers of a file that cannot be run anyway are not finite, if any.
func (r *Report) notFinite(f *checkpoint.File) error {
	err := f.NotFinite()
	var bad *checkpoint.NotFiniteError
	if errors.As(err, &bad) {
		r.add("not finite", "%s", bad)
		return nil
	}
	return err
}

// reason is an error without the "model PATH: " that says nothing new in a report.
func reason(path string, err error) string {
	var mismatch *checkpoint.MismatchError
	if errors.As(err, &mismatch) {
		return mismatch.Error()
	}
	return strings.TrimPrefix(err.Error(), "model "+path+": ")
}

func newReport(f *checkpoint.File) *Report {
	r := &Report{File: f.Path, Format: f.Format, Taken: f.Note, Entries: f.Entries()}
	for _, name := range f.Names() {
		info, _ := f.Lookup(name)
		r.Tensors = append(r.Tensors, info)
	}
	return r
}

func (r *Report) model(c dit.Config) {
	r.Architecture = c.Name()
	variance := "fixed variance"
	switch {
	case c.Arch == dit.ArchSiT:
		variance = fmt.Sprintf("%s of a flow, path %s", c.Prediction, c.Path)
	case c.LearnSigma:
		variance = "learned variance"
	}
	r.add("input", "%d channels of %d x %d, patches of %d x %d: %d tokens", c.InChannels, c.InputSize, c.InputSize, c.PatchSize, c.PatchSize, c.Tokens())
	r.add("output", "%d channels (%s)", c.OutChannels(), variance)
	r.add("blocks", "%d of width %d, %d heads of %d, MLP of %d", c.Depth, c.Hidden, c.Heads, c.Hidden/c.Heads, c.MLPHidden)
	switch c.Arch {
	case dit.ArchMDTv1:
		r.add("decoder", "the last %d blocks", c.DecodeLayer)
	case dit.ArchMDTv2:
		encoder := c.Depth - c.DecodeLayer
		r.add("decoder", "the last %d blocks; long skips from the first %d to the %d between", c.DecodeLayer, encoder/2, encoder/2)
	}
	if c.NoNullClass {
		r.add("classes", "%d, without the null class that guidance needs", c.NumClasses)
	} else {
		r.add("classes", "%d and the null class", c.NumClasses)
	}
	r.Parameters = c.Parameters()
	r.FLOPsPerStep = c.FLOPs(1, c.Tokens())
	r.WeightBytes = 4 * r.Parameters
	sampled := ""
	if c.DecodeLayer > 0 {
		sampled = ", without the block that only masked training uses"
	}
	r.add("parameters", "%s%s", millions(r.Parameters), sampled)
	r.add("cost", "%.2f GFLOP a sample and step, twice that with guidance", float64(r.FLOPsPerStep)/1e9)
	r.add("memory", "%s for the weights, about %s more for each image with guidance", bytes(r.WeightBytes), bytes(c.ActivationBytes(2)))
}

func millions(n int64) string {
	if n < 10_000_000 {
		return fmt.Sprintf("%.3f million", float64(n)/1e6)
	}
	return fmt.Sprintf("%.2f million", float64(n)/1e6)
}

func bytes(n int64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.2f GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
}
