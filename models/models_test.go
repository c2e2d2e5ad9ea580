package models_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/models"
	"github.com/tokencache/tokencache/models/bundle"
	"github.com/tokencache/tokencache/reuse"
)

// A bundled model is opened with the guidance and the cache policy that suit it.
func Example() {
	p, req, err := models.Open("fashion")
	if err != nil {
		log.Fatal(err)
	}
	defer p.Close()
	req.Classes, req.Seed = []int{7}, 1
	r, err := p.Generate(context.Background(), req)
	if err != nil {
		log.Fatal(err)
	}
	img := r.Images[0] // an image.Image
	fmt.Println(p.ClassNames()[img.Class], img.Bounds().Size())
	fmt.Println("guidance", req.Guidance, "and policy", req.Policy)
	// Output:
	// sneaker (28,28)
	// guidance 1.5 and policy ddim50-2.4x
}

// TestPoliciesFit checks that every bundled policy was made for the weights and the guidance of its
// model, and that its name says what it is for.
func TestPoliciesFit(t *testing.T) {
	for _, name := range models.Names() {
		t.Run(name, func(t *testing.T) {
			p, best, err := models.Open(name, tokencache.Options{Threads: 1})
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			subjects, _, err := p.Subjects(t.Context(), bundle.Lookup(name).Prompts)
			if err != nil {
				t.Fatal(err)
			}
			policies, err := bundle.Lookup(name).Policies()
			if err != nil || len(policies) == 0 {
				t.Fatalf("policies %v, error %v", policies, err)
			}
			for _, policy := range policies {
				req := tokencache.Request{Sampling: policy.Sampling, Policy: policy}
				subjects.Cycle(&req, 1)
				if err := p.Check(req); err != nil {
					t.Error(err)
				}
				prefix := policy.Sampler + policy.StepsText() + "-"
				switch {
				case policy.Kind() == reuse.Uncached: // a sampler alone
					prefix = "solver-"
				case policy.Speed.Wanted == 0 && policy.Policy.Importance == reuse.UpdateNorm:
					prefix = "tokens-"
				case policy.Speed.Wanted == 0:
					prefix = "paper-"
				}
				if !strings.HasPrefix(policy.String(), prefix) || policy.Guidance != best.Guidance {
					t.Errorf("policy %s is for %s and guidance %g; the model's guidance is %g",
						policy, prefix, policy.Guidance, best.Guidance)
				}
			}
		})
	}
}

// TestClassifiers checks that every bundled model has a classifier of its images and classes.
func TestClassifiers(t *testing.T) {
	for _, name := range models.Names() {
		t.Run(name, func(t *testing.T) {
			p, _, err := models.Open(name, tokencache.Options{Threads: 1})
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			c, err := bundle.Lookup(name).Classifier()
			if err != nil {
				t.Fatal(err)
			}
			size, _, channels := p.ImageSize()
			if c.Size != size || c.Channels != channels || !p.TakesPrompts() && !slices.Equal(c.Names, p.ClassNames()) {
				t.Errorf("classifier of %d pixels, %d channels and classes %v; the model has %d, %d and %v",
					c.Size, c.Channels, c.Names, size, channels, p.ClassNames())
			}
		})
	}
}

func TestOpenReports(t *testing.T) {
	_, _, err := models.Open("fashon")
	var unknown *models.UnknownError
	want := `unknown bundled model "fashon": did you mean fashion? want one of emoji, fashion, fashion-mdt`
	if !errors.As(err, &unknown) || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if _, _, err := models.Open("fashion", tokencache.Options{}, tokencache.Options{}); err == nil {
		t.Error("two Options: no error")
	}
}

func TestResolve(t *testing.T) {
	vae := tokencache.Options{VAE: "../testdata/vae-tiny", Threads: 1}
	for _, test := range []struct {
		name     string
		options  tokencache.Options
		guidance float64
		power    float64
		bundled  bool
		err      string
	}{
		{name: "fashion-mdt", guidance: 1.5, bundled: true},
		{name: "../testdata/dit-tiny", options: vae, guidance: 4},
		{name: "../testdata/mdtv1-tiny", options: vae, guidance: 3.8, power: 4},
		{name: "fashion_mdt", err: "did you mean fashion-mdt? want one of emoji, fashion, fashion-mdt, or the path"},
		{name: "./fashion-mtd", err: "fashion-mtd: no such file"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p, sampling, b, err := models.Resolve(t.Context(), test.name, test.options)
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) {
					t.Errorf("error %v, want one with %q", err, test.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			p.Close()
			if sampling.Guidance != test.guidance || sampling.GuidancePower != test.power {
				t.Errorf("guidance %g of power %g", sampling.Guidance, sampling.GuidancePower)
			}
			if (b != nil) != test.bundled {
				t.Errorf("bundle %v", b)
			}
		})
	}
}

// TestSchedulersShift checks that a SiT is sampled with the shift of its scheduler.
func TestSchedulersShift(t *testing.T) {
	weights, err := os.ReadFile("../testdata/wild/plain.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, content := range map[string]string{
		"model.safetensors":     string(weights),
		"config.json":           `{"arch":"SiT","num_heads":2}`,
		"scheduler_config.json": `{"_class_name":"FlowMatchEulerDiscreteScheduler","shift":3.0}`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	p, s, _, err := models.Resolve(t.Context(), dir, tokencache.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	shared, err := p.Share(tokencache.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer shared.Close()
	want := tokencache.Sampling{Shift: 3, Guidance: 4}
	if s != want || models.Official(shared) != want {
		t.Errorf("sampled by %+v, shared by %+v", s, models.Official(shared))
	}
}

// TestResolvePolicy checks what a name stands for where folders have the names of methods and of
// bundled policies.
func TestResolvePolicy(t *testing.T) {
	fashion := bundle.Lookup("fashion")
	saved := filepath.Join(t.TempDir(), "saved")
	policy := &reuse.Trained{Spec: "taylorseer:n=4", Sampling: tokencache.Sampling{Sampler: "ddim", Steps: 8}}
	if err := policy.Save(saved, nil); err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	for _, name := range []string{"fora", "ddim50-3x", "mine"} {
		if err := os.CopyFS(name, os.DirFS(saved)); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		text string
		b    *bundle.Bundle
		want string // how it was resolved, or what the error says
	}{
		{"none", fashion, "method"},
		{"fora", fashion, "method"},
		{"fora:n=2", fashion, "method"},
		{"./fora", fashion, "folder"},
		{"fora/", fashion, "folder"},
		{"ddim50-3x", fashion, "bundled"},
		{"ddim50-3x", nil, "folder"},
		{"./ddim50-3x", fashion, "folder"},
		{"mine", fashion, "folder"},
		{"fora:m=2", fashion, `policy fora: no parameter "m"`},
		{"foar", fashion, `unknown policy "foar": did you mean fora? want one of none, `},
		{"ddim50-3", fashion, `did you mean ddim50-3x?`},
		{"ddim50-4x", nil, `unknown policy "ddim50-4x"`},
		{"./absent", fashion, "policy ./absent: "},
	} {
		t.Run(test.text, func(t *testing.T) {
			p, err := models.ResolvePolicy(test.b, test.text)
			got := "method"
			trained, isTrained := p.(*reuse.Trained)
			switch {
			case err != nil:
				got = err.Error()
			case isTrained && trained.Spec != "":
				got = "folder"
			case isTrained:
				got = "bundled"
			}
			if err == nil && got != test.want || err != nil && !strings.Contains(got, test.want) {
				t.Errorf("got %s, want %s", got, test.want)
			}
			if (p == nil) != (err != nil) {
				t.Errorf("policy %#v with error %v", p, err)
			}
		})
	}
}

// TestLibraryNamesBundled checks that the library, which does not import the bundled models, names
// them all and their package where one is opened as if it were a file.
func TestLibraryNamesBundled(t *testing.T) {
	t.Chdir(t.TempDir()) // which has no file of that name
	_, err := tokencache.Open("fashion", tokencache.Options{})
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range append(models.Names(), "no such file", "models.Open of package github.com/tokencache/tokencache/models") {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v: no %q", err, want)
		}
	}
}
