package bundle_test

import (
	"errors"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/diffusion"
	"github.com/tokencache/tokencache/models/bundle"
	"github.com/tokencache/tokencache/models/fashion"
)

func TestChoose(t *testing.T) {
	best := diffusion.Sampling{Sampler: "ddim", Steps: 50, Guidance: 1.5}
	with := func(change func(s *diffusion.Sampling)) diffusion.Sampling {
		s := best
		change(&s)
		return s
	}
	for _, test := range []struct {
		name     string
		sampling diffusion.Sampling
		speed    float64
		want     string // the policy, or what the error says
	}{
		{"default", best, 0, "ddim50-2.4x"},
		{"zero values", diffusion.Sampling{Guidance: 1.5}, 0, "ddim50-2.4x"},
		{"speed", best, 3, "ddim50-3x"},
		{"nearest in proportion", best, 4.4, "ddim50-4x"},
		{"nearest in proportion, above", best, 4.6, "ddim50-5x"},
		{"slightly faster than the fastest", best, 5.4, "ddim50-5x"},
		{"another sampler", with(func(s *diffusion.Sampling) { s.Sampler, s.Steps = "ddpm", 250 }), 0, "ddpm250-3x"},
		{"too fast", best, 20, "the fastest policy bundled with fashion for sampler ddim, 50 steps and guidance 1.5 is of 5x"},
		{"fast enough for another sampling", diffusion.Sampling{Sampler: "ddpm", Steps: 250, Guidance: 1.5}, 5,
			"ddpm, 250 steps and guidance 1.5 is of 3.1x, but ddim50-5x is for sampler ddim, 50 steps and guidance 1.5"},
		{"dpm++", with(func(s *diffusion.Sampling) { s.Sampler = "dpm++" }), 0, "no policy is bundled with fashion"},
		{"dpm++ at a speed", with(func(s *diffusion.Sampling) { s.Sampler, s.Guidance = "dpm++", 3 }), 3,
			"sampler dpm++, 50 steps and guidance 3; there are 1.2x, 1.5x, 2x, 2.4x, 3x, 4x, 5x for sampler ddim, " +
				"50 steps and guidance 1.5, and 3.1x for sampler ddpm, 250 steps and guidance 1.5"},
		{"steps", with(func(s *diffusion.Sampling) { s.Steps = 49 }), 0, "49 steps"},
		{"spacing", with(func(s *diffusion.Sampling) { s.Spacing = "ddim" }), 0, "ddim50 steps"},
		{"guidance", with(func(s *diffusion.Sampling) { s.Guidance = 7 }), 2, "guidance 7"},
		{"guidance at which policies keep their images", with(func(s *diffusion.Sampling) { s.Guidance = 3 }), 3, "ddim50-3x"},
		{"guidance, where there is noise", with(func(s *diffusion.Sampling) { s.Sampler, s.Steps, s.Guidance = "ddpm", 250, 3 }), 0,
			"no policy is bundled with fashion for sampler ddpm, 250 steps and guidance 3"},
		{"power", with(func(s *diffusion.Sampling) { s.GuidancePower = 2 }), 0, "with power 2"},
		{"eta", with(func(s *diffusion.Sampling) { s.Eta = 1 }), 0, "and eta 1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := fashion.Bundle.Choose(test.sampling, test.speed)
			var none *bundle.NoPolicyError
			switch {
			case err == nil && got.String() != test.want:
				t.Errorf("got %s, want %s", got, test.want)
			case err != nil && (!errors.As(err, &none) || !strings.Contains(err.Error(), test.want)):
				t.Errorf("error %v, want %s", err, test.want)
			}
		})
	}
}

// TestGuidanceNote checks that a policy at another guidance scale than its own is told, and no other.
func TestGuidanceNote(t *testing.T) {
	made, err := fashion.Bundle.Choose(diffusion.Sampling{Guidance: 3}, 0)
	if err != nil {
		t.Fatal(err)
	}
	want := "policy ddim50-2.4x was calibrated at guidance 1.5, and keeps its images at 3, too"
	if got := bundle.GuidanceNote(made, 3); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got := bundle.GuidanceNote(made, 1.5); got != "" {
		t.Errorf("%q at its own guidance", got)
	}
}

// TestNoBundle checks that a model which is not bundled has no policies, and that saying so is no
// panic.
func TestNoBundle(t *testing.T) {
	var b *bundle.Bundle
	if list, err := b.Policies(); list != nil || err != nil {
		t.Errorf("policies %v, error %v", list, err)
	}
	var none *bundle.NoPolicyError
	if _, err := b.Choose(diffusion.Sampling{}, 0); !errors.As(err, &none) {
		t.Errorf("error %v, want a NoPolicyError", err)
	}
}

// TestClassifier checks that a classifier is found in the bundle that has it, if that is linked.
func TestClassifier(t *testing.T) {
	own, err := fashion.Bundle.Classifier()
	if err != nil {
		t.Fatal(err)
	}
	other := &bundle.Bundle{Name: "other", ClassifierOf: "fashion"}
	if c, err := other.Classifier(); err != nil || c.Fingerprint != own.Fingerprint {
		t.Errorf("another's classifier: %v", err)
	}
	other.ClassifierOf = "absent"
	if _, err := other.Classifier(); err == nil || !strings.Contains(err.Error(), "absent, which is not linked") {
		t.Errorf("error %v, want one that names absent", err)
	}
}

// TestOpenReportsOptions checks that options are those of tokencache.FromWeights.
func TestOpenReportsOptions(t *testing.T) {
	_, _, err := fashion.Bundle.Open(tokencache.Options{Threads: -1})
	var field *tokencache.FieldError
	if !errors.As(err, &field) || field.Field != "Threads" {
		t.Errorf("error %v, want a FieldError of Threads", err)
	}
}

// TestLinkedModels checks that a program links the weights of the models it imports, and of no
// others, and no training, charts or fonts with them.
func TestLinkedModels(t *testing.T) {
	const module = "github.com/tokencache/tokencache"
	for _, test := range []struct {
		pkg  string
		want []string // bundles among what it depends on
	}{
		{"", nil},
		{"/models/bundle", nil},
		{"/models/fashion", []string{"/models/fashion"}},
		{"/models/fashion-mdt", []string{"/models/fashion-mdt"}},
		{"/models", []string{"/models/emoji", "/models/fashion", "/models/fashion-mdt"}},
	} {
		t.Run("tokencache"+test.pkg, func(t *testing.T) {
			const format = "{{.ImportPath}} {{len .EmbedFiles}}"
			out, err := exec.Command("go", "list", "-deps", "-f", format, module+test.pkg).Output()
			if err != nil {
				t.Fatalf("go list: %v", err)
			}
			var got []string
			for line := range strings.Lines(string(out)) {
				path, files, _ := strings.Cut(strings.TrimSpace(line), " ")
				local, own := strings.CutPrefix(path, module)
				switch {
				case strings.HasPrefix(local, "/models/") && files != "0":
					got = append(got, local)
				case strings.HasPrefix(path, "golang.org/x/image/"), own && (local == "/train" || local == "/report"):
					t.Errorf("it depends on %s", path)
				}
			}
			slices.Sort(got)
			if !slices.Equal(got, test.want) {
				t.Errorf("it links the files of %v, want %v", got, test.want)
			}
		})
	}
}
