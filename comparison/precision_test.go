package comparison

import (
	"image"
	"math"
	"os"
	"testing"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/eval"
	"github.com/tokencache/tokencache/reuse"
)

// tinyReference is a network for images of a comparison of tinyOptions, with a distribution of its
// features that no images are of.
func tinyReference(t *testing.T, p *tokencache.Pipeline) *Reference {
	t.Helper()
	side, _, channels := p.ImageSize()
	n, err := eval.NewClassifier(eval.ClassifierConfig{
		Size:     side,
		Channels: channels,
		Widths:   []int{4, 4, 4},
		Names:    []string{"a", "b"},
	}, formulaSource{})
	if err != nil {
		t.Fatal(err)
	}
	set := eval.Images{Count: 12, Labels: make([]int32, 12), Image: func(i int) (image.Image, error) {
		m := tokencache.Image{Height: side, Width: side, Channels: channels, Pixels: make([]uint8, side*side*channels)}
		for k := range m.Pixels {
			m.Pixels[k] = uint8(i*i*31 + k*(7+i))
		}
		return standard(m), nil
	}}
	real, err := predict(t.Context(), n, set, 1)
	if err != nil {
		t.Fatal(err)
	}
	r := NewReference(n, "tiny")
	r.Path, r.Images, r.Gaussian = "made", set.Count, &real.Pool
	return r
}

// TestChooseFormat checks the choice for a policy and for none: that its figures are against the
// same policy in float32, that a policy of a file keeps what it was, and that images it was made
// from are refused.
func TestChooseFormat(t *testing.T) {
	o, _ := tinyOptions(t)
	p, err := tokencache.Open("../testdata/cache-methods/model.safetensors",
		tokencache.Options{VAE: "../testdata/vae-tiny", Threads: 1, Heads: 4, DType: tokencache.BF16})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	o.Formats = []*tokencache.Pipeline{p}
	o.Reference = tinyReference(t, o.Pipeline)
	ChooseDefaults(&o, 1)
	o.Timed, o.Repeat, o.Count, o.Command = 1, 1, 4, "a command"
	for _, policy := range []string{"none", "fora:n=2"} {
		t.Run(policy, func(t *testing.T) {
			made, r, err := ChooseFormat(t.Context(), o, policy, 1000)
			if err != nil {
				t.Fatal(err)
			}
			c := made.Precision
			if len(c.Formats) != 1 || c.Seed != o.Seed || c.Images != 4 || c.Command != "a command" ||
				made.Parameters() != policy {
				t.Fatalf("%+v of %s", c, made.Parameters())
			}
			f := c.Formats[0]
			own, other := r.Cells[len(r.Cells)-2], r.Cells[len(r.Cells)-1]
			if own.DType != "" || other.DType != "bf16" || f.DType != "bf16" {
				t.Fatalf("cells %+v", r.Cells)
			}
			if want := own.PSNRConverged.Mean - other.PSNRConverged.Mean; f.Loss == nil || *f.Loss != want {
				t.Errorf("loss %v, want %v", f.Loss, want)
			}
			if want := other.Speedup / own.Speedup; f.Speedup != want {
				t.Errorf("speed-up %v, want %v", f.Speedup, want)
			}
			want := other.Frechet.Value / own.Frechet.Value
			if f.Frechet == nil || math.Abs(f.Frechet.Value-want) > 1e-12 ||
				f.Frechet.Low > f.Frechet.High || f.Frechet.High-f.Frechet.Low > 0.5 {
				t.Errorf("distance %+v, want %v", f.Frechet, want)
			}
			if f.PSNR < 30 || f.PSNR == 100 {
				t.Errorf("PSNR to float32 of %v dB", f.PSNR)
			}
			dir := t.TempDir()
			if err := made.SaveCopy(dir); err != nil {
				t.Fatal(err)
			}
			again, err := reuse.Open(dir)
			if err != nil || again.Precision == nil || again.Fits(o.Pipeline.Fingerprint(), planOf(t, o)) != nil {
				t.Errorf("%v; read back %+v", err, again)
			}
			o := o
			o.Open = func(string) (reuse.Policy, error) { return reuse.Open(dir) }
			if _, _, err := ChooseFormat(t.Context(), o, dir, 1); err != nil {
				t.Errorf("chosen again: %v", err)
			}
			if err := os.RemoveAll(o.Dir); err != nil {
				t.Fatal(err)
			}
		})
	}
	seen := &reuse.Trained{Spec: "fora:n=2", Provenance: map[string]any{"seed": o.Seed}}
	o.Open = func(string) (reuse.Policy, error) { return seen, nil }
	if _, _, err := ChooseFormat(t.Context(), o, "seen", 1); err == nil {
		t.Error("a policy was tested on the images that it was made from")
	}
}

func planOf(t *testing.T, o Options) reuse.Plan {
	t.Helper()
	plan, err := o.Pipeline.Plan(o.Sampling)
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

// TestChooseStochastic checks that where there is no converged solution no loss is known, so that
// the choice is float32, and that the note says why.
func TestChooseStochastic(t *testing.T) {
	o, _ := tinyOptions(t)
	p, err := tokencache.Open("../testdata/cache-methods/model.safetensors",
		tokencache.Options{VAE: "../testdata/vae-tiny", Threads: 1, Heads: 4, DType: tokencache.INT8})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	o.Formats = []*tokencache.Pipeline{p}
	o.Sampling.Sampler, o.Sampling.Steps = "ddpm", 4
	made, _, err := ChooseFormat(t.Context(), o, "none", MaxLoss)
	if err != nil {
		t.Fatal(err)
	}
	if c := made.Precision; c.DType != "f32" || c.Formats[0].Loss != nil || c.Formats[0].Keeps || c.Note == "" {
		t.Errorf("%+v", c)
	}
}
