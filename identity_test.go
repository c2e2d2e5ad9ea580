package tokencache_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/checkpoint"
	"github.com/tokencache/tokencache/reuse"
)

// TestIdentity checks that a run's identity changes with all that its images depend on and with
// nothing else.
func TestIdentity(t *testing.T) {
	p := small(t, tokencache.Options{Threads: 1})
	base := tokencache.Request{Classes: []int{1, 2}, Seed: 1, Policy: policy(t, "fora:n=3"), Sampling: tokencache.Sampling{Steps: 4}}
	want := p.Identity(base)
	for what, c := range map[string]struct {
		change func(r *tokencache.Request)
		same   bool
	}{
		"nothing":             {func(r *tokencache.Request) {}, true},
		"defaults said":       {func(r *tokencache.Request) { r.Sampling = r.Sampling.WithDefaults() }, true},
		"other classes":       {func(r *tokencache.Request) { r.Classes = []int{5} }, true},
		"batch":               {func(r *tokencache.Request) { r.Batch = 7 }, true},
		"cache memory":        {func(r *tokencache.Request) { r.CacheMemory = 1 << 30 }, true},
		"seed":                {func(r *tokencache.Request) { r.Seed = 2 }, false},
		"steps":               {func(r *tokencache.Request) { r.Steps = 5 }, false},
		"guidance":            {func(r *tokencache.Request) { r.Guidance = 2 }, false},
		"clip":                {func(r *tokencache.Request) { r.Clip = true }, false},
		"policy's parameters": {func(r *tokencache.Request) { r.Policy = policy(t, "fora:n=2") }, false},
		"no policy":           {func(r *tokencache.Request) { r.Policy = nil }, false},
		"given noise":         {func(r *tokencache.Request) { r.Noise = make([]float32, 2*3*8*8) }, false},
		"torch's numbers":     {func(r *tokencache.Request) { r.RNG = tokencache.RNGTorch }, false},
	} {
		t.Run(what, func(t *testing.T) {
			r := base
			c.change(&r)
			if got := p.Identity(r); (got == want) != c.same {
				t.Errorf("identity %s, was %s", got, want)
			}
		})
	}
	if small(t, tokencache.Options{Threads: 1, CacheDType: tokencache.BF16}).Identity(base) == want {
		t.Error("the identity does not depend on the number format of caches")
	}
	r := base
	r.RNG = tokencache.RNGTorch
	torch := p.Identity(r)
	r.Batch = 8
	if p.Identity(r) == torch {
		t.Error("with torch's numbers the batch matters")
	}
	r = base
	r.Noise = make([]float32, 2*3*8*8)
	noise := p.Identity(r)
	r.Noise[7] = 1
	if p.Identity(r) == noise {
		t.Error("the numbers of given noise do not count")
	}
	r = base
	r.Policy = nil
	none := p.Identity(r)
	r.Policy = reuse.None{}
	if p.Identity(r) != none {
		t.Error("no policy is None")
	}
}

// TestIdentityOfConfiguration checks that equal weights with another number of heads are another
// run.
func TestIdentityOfConfiguration(t *testing.T) {
	identity := func(heads int) string {
		o := tokencache.Options{VAE: "testdata/vae-tiny", Heads: heads, Threads: 1}
		p, err := tokencache.Open(unconfigured(t), o)
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		return p.Identity(tokencache.Request{Classes: []int{1}, Seed: 1})
	}
	if a, b := identity(4), identity(2); a == b {
		t.Errorf("identity %s with 4 heads and with 2", a)
	}
}

// TestIdentityOfAutoencoder checks that another autoencoder is another run, whatever its path, and
// the same one at another path is not.
func TestIdentityOfAutoencoder(t *testing.T) {
	config, err := os.ReadFile("testdata/vae-tiny/config.json")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "config.json"), config, 0o644); err != nil {
		t.Fatal(err)
	}
	identity := func(path string) [2]string {
		p, err := tokencache.Open("testdata/dit-tiny", tokencache.Options{VAE: path, Threads: 1})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		return [2]string{p.Identity(tokencache.Request{Classes: []int{1}, Seed: 1}), p.Autoencoder()}
	}
	want := identity("testdata/vae-tiny")
	for _, dtype := range []checkpoint.DType{checkpoint.F32, checkpoint.BF16} {
		o := checkpoint.ConvertOptions{DType: dtype}
		if _, err := checkpoint.Convert("testdata/vae-tiny", filepath.Join(dir, "model.safetensors"), o); err != nil {
			t.Fatal(err)
		}
		got := identity(dir)
		for i := range got {
			if (got[i] == want[i]) != (dtype == checkpoint.F32) {
				t.Errorf("%s: identity %s, that of the first is %s", dtype, got[i], want[i])
			}
		}
	}
	if id := small(t, tokencache.Options{Threads: 1}).Autoencoder(); id != "" {
		t.Errorf("a model of pixels has the autoencoder %q", id)
	}
}

// unconfigured returns the path of weights without the config.json that tells their heads.
func unconfigured(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("testdata/dit-tiny/model.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "model.safetensors")
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}
