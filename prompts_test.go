package tokencache_test

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/checkpoint"
	"github.com/tokencache/tokencache/minit2i"
	"github.com/tokencache/tokencache/prompt"
	"github.com/tokencache/tokencache/reuse"
)

const textPipeline = "testdata/minit2i-pipeline-tiny"

// openText opens the recorded text-to-image pipeline.
func openText(t testing.TB, o tokencache.Options) *tokencache.Pipeline {
	t.Helper()
	o.Threads = 2
	p, err := tokencache.Open(textPipeline, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// promptsOf returns texts as conditions.
func promptsOf(t testing.TB, p *tokencache.Pipeline, texts ...string) []tokencache.Condition {
	t.Helper()
	c, _, err := p.Prompts(t.Context(), texts)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestPromptsToPixels checks, from prompts to pixels, what the published pipeline recorded.
func TestPromptsToPixels(t *testing.T) {
	p := openText(t, tokencache.Options{})
	data, err := os.ReadFile(filepath.Join(textPipeline, "cases.json"))
	if err != nil {
		t.Fatal(err)
	}
	var cases map[string]struct {
		Prompt   string
		Steps    int
		Guidance float64
	}
	if err := json.Unmarshal(data, &cases); err != nil {
		t.Fatal(err)
	}
	f, err := checkpoint.Open(filepath.Join(textPipeline, "cases.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	read := func(name string) []float32 {
		info, ok := f.Lookup(name)
		if !ok {
			t.Fatalf("no tensor %s", name)
		}
		size := 1
		for _, n := range info.Shape {
			size *= n
		}
		x := make([]float32, size)
		if err := f.Read(name, x); err != nil {
			t.Fatal(err)
		}
		return x
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if c.Prompt == "" {
				t.Skip("here an empty prompt is unconditional; the published pipeline encodes its </s>")
			}
			noise := read(name + ".x_init")
			for i := range noise {
				noise[i] /= 2
			}
			// The published pipeline computes both halves at a scale of 1, too.
			r, err := p.Generate(t.Context(), tokencache.Request{
				Conditions: promptsOf(t, p, c.Prompt),
				Noise:      noise,
				Sampling:   tokencache.Sampling{Sampler: "euler", Steps: c.Steps, Guidance: c.Guidance},
			})
			if err != nil {
				t.Fatal(err)
			}
			scale := 0.0
			want := read(name + ".x_final")
			for i, v := range want {
				scale = max(scale, math.Abs(float64(v)))
				if d := math.Abs(float64(v - r.Images[0].Latents[i])); d > 2e-4*max(1, scale) {
					t.Fatalf("value %d is %g, want %g", i, r.Images[0].Latents[i], v)
				}
			}
			other := 0
			for i, v := range read(name + ".uint8") {
				if d := int(v) - int(r.Images[0].Pixels[i]); d != 0 {
					other++
					if d < -1 || d > 1 {
						t.Fatalf("pixel value %d is %d, want %g", i, r.Images[0].Pixels[i], v)
					}
				}
			}
			if other > len(want)/500 {
				t.Errorf("%d of %d pixel values differ by 1", other, len(want))
			}
		})
	}
}

// TestPromptRemarks checks what is said of prompts, and that an empty one is unconditional.
func TestPromptRemarks(t *testing.T) {
	p := openText(t, tokencache.Options{})
	conditions, remarks, err := p.Prompts(t.Context(), []string{
		"a red lighthouse", " ", "An oil painting of a sleepy tortoise walking under an ancient bridge in the rain", "木",
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"", "unconditional", "too long: cut off was", "does not know"} {
		if got := remarks[i].String(); !strings.Contains(got, want) || want == "" && got != "" {
			t.Errorf("%q: remark %q, want %q", remarks[i].Text, got, want)
		}
	}
	if text, ok := tokencache.PromptOf(conditions[0]); !ok || text != "a red lighthouse" {
		t.Errorf("prompt %q, %t", text, ok)
	}
}

// TestPromptImages checks the laws of images on prompts: the same bits in any batch, with any
// neighbours and threads, with and without a policy.
func TestPromptImages(t *testing.T) {
	texts := []string{"a red lighthouse", "deux fish", "a cat", "near the sea", ""}
	for _, policy := range []string{"none", "tokencache", "toca", "fora", "seacache:threshold=0.3", "tome"} {
		t.Run(policy, func(t *testing.T) {
			reused, err := reuse.Parse(policy)
			if err != nil {
				t.Fatal(err)
			}
			var first [][]uint8
			for _, threads := range []int{1, 3} {
				p, err := tokencache.Open(textPipeline, tokencache.Options{Threads: threads})
				if err != nil {
					t.Fatal(err)
				}
				defer p.Close()
				for _, batch := range []int{1, 5} {
					r, err := p.Generate(t.Context(), tokencache.Request{
						Conditions: promptsOf(t, p, texts...),
						Seed:       3,
						Batch:      batch,
						Policy:     reused,
						Sampling:   tokencache.Sampling{Sampler: "euler", Steps: 6, Guidance: 2.5},
					})
					if err != nil {
						t.Fatal(err)
					}
					for i, m := range r.Images {
						if len(first) < len(texts) {
							first = append(first, m.Pixels)
						} else if !slices.Equal(m.Pixels, first[i]) {
							t.Errorf("%d threads, batch %d: image %d has other bits", threads, batch, i)
						}
					}
				}
			}
		})
	}
}

// TestNegativePrompt checks that guidance leads away from a negative prompt, and that the null
// condition is the default.
func TestNegativePrompt(t *testing.T) {
	p := openText(t, tokencache.Options{})
	conditions := promptsOf(t, p, "a cat", "the sea", "")
	sample := func(negative tokencache.Condition) []uint8 {
		r, err := p.Generate(t.Context(), tokencache.Request{
			Conditions: conditions[:1],
			Negative:   negative,
			Sampling:   tokencache.Sampling{Sampler: "euler", Steps: 3, Guidance: 2.5},
		})
		if err != nil {
			t.Fatal(err)
		}
		return r.Images[0].Pixels
	}
	if plain := sample(nil); !slices.Equal(plain, sample(conditions[2])) || slices.Equal(plain, sample(conditions[1])) {
		t.Error("the negative prompt does not do what it should")
	}
}

// TestEncodedAhead checks that texts that were encoded ahead, or are kept in a folder, need no text
// encoder, and give the same images.
func TestEncodedAhead(t *testing.T) {
	texts := []string{"a red lighthouse", "near the sea"}
	dir := t.TempDir()
	store, file := filepath.Join(dir, "store"), filepath.Join(dir, "encoded.safetensors")
	p := openText(t, tokencache.Options{TextStore: store})
	encoded, err := p.Encoder().Encode(t.Context(), texts)
	if err != nil {
		t.Fatal(err)
	}
	if err := prompt.Write(file, encoded); err != nil {
		t.Fatal(err)
	}
	if files, err := filepath.Glob(filepath.Join(store, "*")); err != nil || len(files) != len(texts) {
		t.Errorf("%d texts are kept, error %v", len(files), err)
	}
	if again, err := p.Encoder().Encode(t.Context(), texts); err != nil || !slices.Equal(again[1].Vectors.Flat(), encoded[1].Vectors.Flat()) {
		t.Errorf("the kept vectors are others, error %v", err)
	}
	want := promptsOf(t, p, texts...)

	w, err := minit2i.Open(t.Context(), textPipeline, minit2i.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	w.Dir = dir // without an encoder nearby
	alone, err := tokencache.FromTextWeights(w, tokencache.Options{Encoded: file})
	if err != nil {
		t.Fatal(err)
	}
	defer alone.Close()
	sample := func(p *tokencache.Pipeline, c []tokencache.Condition) string {
		r, err := p.Generate(t.Context(), tokencache.Request{
			Conditions: c,
			Sampling:   tokencache.Sampling{Sampler: "euler", Steps: 2, Guidance: 2},
		})
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(r.Images[0].Pixels, r.Images[1].Pixels)
	}
	if sample(p, want) != sample(alone, promptsOf(t, alone, texts...)) {
		t.Error("texts that were encoded ahead give other images")
	}
	if _, _, err := alone.Prompts(t.Context(), []string{"another"}); err == nil || !strings.Contains(err.Error(), "no text encoder next to it") {
		t.Errorf("error %v", err)
	}
}

// TestTextEncoders checks what is said of folders that are not the model's text encoder.
func TestTextEncoders(t *testing.T) {
	bare := t.TempDir()
	for _, name := range []string{"config.json", "model.safetensors"} {
		data, err := os.ReadFile(filepath.Join(textPipeline, "flan-t5-large", name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(bare, name), data, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	for dir, want := range map[string]string{
		t.TempDir():           "no config.json",
		bare:                  "no tokenizer.json and no spiece.model",
		"testdata/t5-tiny":    "no tokenizer.json and no spiece.model",
		"testdata/t5-tiny/no": "no config.json",
	} {
		if _, err := tokencache.Open(textPipeline, tokencache.Options{TextEncoder: dir}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", dir, err, want)
		}
	}
}

// TestPromptAllocations checks that steps allocate nothing, as TestSteadyStateAllocations does. What
// the sampler's table takes, which is made for each request, is left out.
func TestPromptAllocations(t *testing.T) {
	p := openText(t, tokencache.Options{})
	conditions := promptsOf(t, p, "a cat", "the sea")
	allocations := func(steps int) float64 {
		req := tokencache.Request{
			Conditions: conditions,
			Sampling:   tokencache.Sampling{Sampler: "euler", Steps: steps, Guidance: 2},
		}
		least := math.Inf(1)
		for range 5 {
			planned := testing.AllocsPerRun(1, func() { p.Check(req) })
			least = min(least, testing.AllocsPerRun(1, func() {
				if _, err := p.Generate(t.Context(), req); err != nil {
					t.Fatal(err)
				}
			})-planned)
		}
		return least
	}
	const few, many = 100, 400
	if short, long := allocations(few), allocations(many); long-short > (many-few)/10 {
		t.Errorf("%v allocations in %d steps, %v in %d", long, many, short, few)
	}
}

// TestTextNumberFormats checks that a text-to-image model runs in the number format that is asked
// for: its images are near those in float32 and other ones, and their identity says so.
func TestTextNumberFormats(t *testing.T) {
	var exact []float32
	identities := map[string]bool{}
	for _, d := range []tokencache.DType{tokencache.F32, tokencache.BF16, tokencache.INT8} {
		p := openText(t, tokencache.Options{DType: d})
		req := tokencache.Request{
			Conditions: promptsOf(t, p, "a red square"),
			Seed:       3,
			Sampling:   tokencache.Sampling{Sampler: "euler", Steps: 3, Guidance: 2},
		}
		r, err := p.Generate(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		identities[p.Identity(req)] = true
		got := r.Images[0].Latents
		if d == tokencache.F32 {
			exact = slices.Clone(got)
		}
		var squares float64
		for i, v := range exact {
			e := float64(got[i] - v)
			squares += e * e
		}
		rms := math.Sqrt(squares / float64(len(exact)))
		if p.DType() != d || d != tokencache.F32 && !(rms > 1e-6 && rms < 0.2) {
			t.Errorf("%v: a model of %v, %g from float32", d, p.DType(), rms)
		}
	}
	if len(identities) != 3 {
		t.Errorf("%d identities of three number formats", len(identities))
	}
}
