package tokencache_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tokencache/tokencache"
)

func open(t testing.TB, threads int) *tokencache.Pipeline {
	t.Helper()
	return openAs(t, tokencache.F32, threads)
}

func openAs(t testing.TB, d tokencache.DType, threads int) *tokencache.Pipeline {
	t.Helper()
	p, err := tokencache.Open("testdata/dit-tiny", tokencache.Options{
		VAE:     "testdata/vae-tiny",
		DType:   d,
		Threads: threads,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

func draw(t *testing.T, p *tokencache.Pipeline, r tokencache.Request) []tokencache.Image {
	t.Helper()
	result, err := p.Generate(context.Background(), r)
	if err != nil {
		t.Fatal(err)
	}
	return result.Images
}

// TestImagesDependOnTheRequestAlone checks that neither batch nor threads nor which images are
// skipped changes a pixel.
func TestImagesDependOnTheRequestAlone(t *testing.T) {
	for _, sampler := range []string{"ddpm", "ddim", "dpm++"} {
		for _, guidance := range []float64{1, 3} {
			request := tokencache.Request{Classes: []int{0, 5, 9, 5}, Seed: 7, Sampling: tokencache.Sampling{Sampler: sampler, Steps: 5, Guidance: guidance}}
			want := draw(t, open(t, 1), request)
			if slices.Equal(want[1].Pixels, want[3].Pixels) {
				t.Errorf("%s: two images of a class are the same", sampler)
			}
			for _, threads := range []int{2, 8} {
				p := open(t, threads)
				for _, batch := range []int{1, 3, 4} {
					request := request
					request.Batch = batch
					for i, img := range draw(t, p, request) {
						if !slices.Equal(img.Latents, want[i].Latents) || !slices.Equal(img.Pixels, want[i].Pixels) {
							t.Errorf("%s, guidance %g, batch %d, %d threads: image %d differs", sampler, guidance, batch, threads, i)
						}
					}
				}
				request := request
				request.Batch = 3
				request.Skip = func(i int) bool { return i < 2 }
				got := draw(t, p, request)
				if len(got) != 2 || got[0].Index != 2 || !slices.Equal(got[1].Pixels, want[3].Pixels) {
					t.Errorf("%s: the images left differ from those of the whole run", sampler)
				}
			}
		}
	}
}

// TestNarrowImagesDependOnTheRequestAlone is the same of other number formats, under a policy and
// without, and checks that each format has images and an identity of its own.
func TestNarrowImagesDependOnTheRequestAlone(t *testing.T) {
	for _, text := range []string{"none", "tokencache:k=2,ratio=0.5"} {
		identities := map[string]bool{}
		var pixels [][]float32
		for _, d := range []tokencache.DType{tokencache.F32, tokencache.BF16, tokencache.INT8} {
			request := tokencache.Request{
				Classes:  []int{0, 5, 9},
				Seed:     7,
				Policy:   policy(t, text),
				Sampling: tokencache.Sampling{Sampler: "ddim", Steps: 4, Guidance: 3},
			}
			p := openAs(t, d, 1)
			want := draw(t, p, request)
			identities[p.Identity(request)] = true
			pixels = append(pixels, want[0].Latents)
			for _, threads := range []int{2, 5} {
				request.Batch = threads % 4
				for i, img := range draw(t, openAs(t, d, threads), request) {
					if !slices.Equal(img.Latents, want[i].Latents) || !slices.Equal(img.Pixels, want[i].Pixels) {
						t.Errorf("%v, %s, %d threads: image %d differs", d, text, threads, i)
					}
				}
			}
		}
		if len(identities) != 3 || slices.Equal(pixels[0], pixels[1]) || slices.Equal(pixels[1], pixels[2]) {
			t.Errorf("%s: %d identities of three number formats, or two with the same images", text, len(identities))
		}
	}
	var field *tokencache.FieldError
	if _, err := tokencache.Open("testdata/dit-tiny", tokencache.Options{DType: 3}); !errors.As(err, &field) || field.Field != "DType" {
		t.Errorf("number format 3: error %v", err)
	}
}

func TestTorchNoiseOfSkippedBatches(t *testing.T) {
	p := open(t, 2)
	request := tokencache.Request{Classes: []int{1, 2, 3, 4}, Seed: 7, Batch: 2, Sampling: tokencache.Sampling{Sampler: "ddpm", Steps: 4, Guidance: 2, RNG: tokencache.RNGTorch}}
	want := draw(t, p, request)
	request.Skip = func(i int) bool { return i < 3 }
	got := draw(t, p, request)
	if len(got) != 1 || !slices.Equal(got[0].Pixels, want[3].Pixels) {
		t.Error("an image drawn after skipped batches differs from that of the whole run")
	}
}

func TestGivenNoise(t *testing.T) {
	p := open(t, 2)
	request := tokencache.Request{Classes: []int{1}, Seed: 1, Noise: make([]float32, 4*8*8), Sampling: tokencache.Sampling{Steps: 3}}
	a := draw(t, p, request)
	request.Seed = 2
	if b := draw(t, p, request); !slices.Equal(a[0].Pixels, b[0].Pixels) {
		t.Error("with the noise given and a deterministic sampler the seed still matters")
	}
	request.Noise = request.Noise[1:]
	if _, err := p.Generate(context.Background(), request); err == nil || !strings.Contains(err.Error(), "noise of 255 numbers: want 256") {
		t.Errorf("noise of the wrong size: %v", err)
	}
}

func TestCancelStopsWithinAStep(t *testing.T) {
	p := open(t, 2)
	ctx, cancel := context.WithCancel(context.Background())
	steps := 0
	request := tokencache.Request{Classes: []int{1, 2, 3}, Batch: 1, Sampling: tokencache.Sampling{Steps: 20}}
	request.OnStep = func(s tokencache.Progress) {
		steps++
		if s.Done == 1 && s.Step == 5 {
			cancel()
		}
	}
	result, err := p.Generate(ctx, request)
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v, want %v", err, context.Canceled)
	}
	if steps != 25 || len(result.Images) != 1 {
		t.Errorf("%d steps and %d images after cancellation at step 25, in the second image", steps, len(result.Images))
	}
	if _, err := p.Generate(context.Background(), tokencache.Request{Classes: []int{1}, Sampling: tokencache.Sampling{Steps: 1}}); err != nil {
		t.Errorf("a pipeline is unusable after a cancelled run: %v", err)
	}
}

// TestProgress checks that the share of a request that is done grows evenly to 1, whatever number
// of images is in flight, and that skipped images do not count.
func TestProgress(t *testing.T) {
	const steps, images = 6, 4 // without the skipped one
	for _, batch := range []int{1, 3} {
		t.Run(fmt.Sprint("batch ", batch), func(t *testing.T) {
			p := open(t, 2)
			request := tokencache.Request{
				Classes:  []int{1, 2, 3, 4, 5},
				Batch:    batch,
				Sampling: tokencache.Sampling{Steps: steps},
				Skip:     func(i int) bool { return i == 1 },
			}
			taken := 0
			request.OnStep = func(s tokencache.Progress) {
				taken++
				if want := float64(taken) / (steps * images); s.Share() != want {
					t.Errorf("after %d steps: a share of %g, want %g", taken, s.Share(), want)
				}
			}
			if _, err := p.Generate(context.Background(), request); err != nil {
				t.Fatal(err)
			}
			if taken != steps*images {
				t.Errorf("%d steps, want %d", taken, steps*images)
			}
		})
	}
}

// TestEverythingSkipped checks that a request of which no image is wanted ends at once, and leaves
// nothing behind that Close would wait for.
func TestEverythingSkipped(t *testing.T) {
	p := open(t, 1)
	request := tokencache.Request{Classes: []int{1, 2}, Skip: func(int) bool { return true }}
	r, err := p.Generate(context.Background(), request)
	if err != nil || r.Stats.Images != 0 {
		t.Fatalf("%d images, error %v, want none", r.Stats.Images, err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := p.Shutdown(ctx); err != nil {
		t.Error(err)
	}
}

// TestSteadyStateAllocations checks that steps allocate nothing. What runs beside the test makes
// images meet in ticks or wait for each other, which may allocate now and then: the least of
// several runs counts, and steps may have one allocation for ten of them.
func TestSteadyStateAllocations(t *testing.T) {
	p := open(t, 2)
	allocations := func(steps int) float64 {
		least := math.Inf(1)
		for range 5 {
			least = min(least, testing.AllocsPerRun(1, func() {
				_, err := p.Generate(context.Background(), tokencache.Request{
					Classes:  []int{1, 2},
					Sampling: tokencache.Sampling{Sampler: "ddpm", Steps: steps, Guidance: 2},
				})
				if err != nil {
					t.Fatal(err)
				}
			}))
		}
		return least
	}
	short, long := allocations(100), allocations(400)
	if long-short > (400-100)/10 {
		t.Errorf("%v allocations in 400 steps, %v in 100", long, short)
	}
}

func TestRequestErrors(t *testing.T) {
	p := open(t, 1)
	for want, r := range map[string]tokencache.Request{
		"classes none: want at least one": {},
		"classes 10: want a class from 0": {Classes: []int{10}},
		"classes -1: want a class":        {Classes: []int{-1}},
		`steps "-1"`:                      {Classes: []int{1}, Sampling: tokencache.Sampling{Steps: -1}},
		"sampler eulr: want":              {Classes: []int{1}, Sampling: tokencache.Sampling{Sampler: "eulr"}},
		"rng gpu: want own":               {Classes: []int{1}, Sampling: tokencache.Sampling{RNG: "gpu"}},
		"guidance NaN: want a number":     {Classes: []int{1}, Sampling: tokencache.Sampling{Guidance: math.NaN()}},
		"batch -1: want 1 or more":        {Classes: []int{1}, Batch: -1},
		"cache memory -1: want 0":         {Classes: []int{1}, CacheMemory: -1},
	} {
		t.Run(want, func(t *testing.T) {
			if _, err := p.Generate(context.Background(), r); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("error %v, want one with %q", err, want)
			}
		})
	}
}

func Example() {
	p, err := tokencache.Open("testdata/dit-tiny", tokencache.Options{VAE: "testdata/vae-tiny"})
	if err != nil {
		log.Fatal(err)
	}
	defer p.Close()

	result, err := p.Generate(context.Background(), tokencache.Request{
		Classes:  []int{2, 7}, // an image of each
		Seed:     1,
		Sampling: tokencache.Sampling{Sampler: "ddim", Steps: 10, Guidance: 1.5},
	})
	if err != nil {
		log.Fatal(err)
	}
	for _, img := range result.Images {
		fmt.Printf("image %d of class %d: %d x %d, %d channels\n", img.Index, img.Class, img.Width, img.Height, img.Channels)
	}
	// Output:
	// image 0 of class 2: 64 x 64, 3 channels
	// image 1 of class 7: 64 x 64, 3 channels
}

// Images can be taken as they are finished, and a run may be stopped at any time.
func ExamplePipeline_Generate_bulk() {
	p, err := tokencache.Open("testdata/dit-tiny", tokencache.Options{VAE: "testdata/vae-tiny"})
	if err != nil {
		log.Fatal(err)
	}
	defer p.Close()

	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	_, err = p.Generate(ctx, tokencache.Request{
		Classes:  make([]int, 1000),
		Sampling: tokencache.Sampling{Steps: 2},
		Batch:    1,
		OnImage: func(img tokencache.Image) error {
			fmt.Println("finished", img.Index)
			if img.Index == 2 {
				stop()
			}
			return nil
		},
	})
	fmt.Println(err)
	// Output:
	// finished 0
	// finished 1
	// finished 2
	// context canceled
}

func ExamplePipeline_SelectClasses() {
	p, err := tokencache.Open("testdata/dit-tiny", tokencache.Options{VAE: "testdata/vae-tiny"})
	if err != nil {
		log.Fatal(err)
	}
	defer p.Close()
	classes, err := p.SelectClasses([]string{"3", "5-7"})
	fmt.Println(classes, err)
	_, err = p.SelectClasses([]string{"12"})
	fmt.Println(err)
	// Output:
	// [3 5 6 7] <nil>
	// class 12 is out of range: this model has classes 0..9
}
