package vae

import (
	"context"
	"errors"
	"math"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tokencache/tokencache/checkpoint"
	"github.com/tokencache/tokencache/internal/formula"
	"github.com/tokencache/tokencache/internal/kernel"
	"github.com/tokencache/tokencache/tensor"
)

const testdata = "../testdata"

// tolerance bounds the largest error in units of the reference's root mean square. One convolution
// sums up to 4608 products: rounding makes it wrong by some sqrt(4608)*2^-24 = 4e-6 of its size, in
// either program; sixty of them, one after another, by sqrt(2*60) times that, 4e-5; the largest of
// 50,000 errors is some standard deviations more.
const tolerance = 1e-4

// near compares got with a reference.
func near(t *testing.T, what string, want, got []float32) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d numbers, want %d", what, len(got), len(want))
	}
	var squares, worst float64
	for i, w := range want {
		squares += float64(w) * float64(w)
		if d := math.Abs(float64(got[i]) - float64(w)); d > worst || math.IsNaN(d) {
			worst = d
		}
	}
	worst /= math.Sqrt(squares / float64(len(want)))
	t.Logf("%s: error %.2g", what, worst)
	if !(worst <= tolerance) {
		t.Errorf("%s: error %.2g of the reference's root mean square, want at most %.2g", what, worst, tolerance)
	}
}

// cases reads tensors of a file of references.
type cases struct {
	t *testing.T
	f *checkpoint.File
}

func openCases(t *testing.T, path string) cases {
	t.Helper()
	f, err := checkpoint.Open(filepath.Join(testdata, path))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return cases{t, f}
}

// get returns a tensor [samples, channels, height, width] as [samples, channels*height*width].
func (c cases) get(name string) (x *tensor.Tensor, height, width int) {
	c.t.Helper()
	v, err := c.f.Float32(name)
	if err != nil {
		c.t.Fatal(err)
	}
	info, _ := c.f.Lookup(name)
	return tensor.FromSlice(v, info.Shape[0], len(v)/info.Shape[0]), info.Shape[2], info.Shape[3]
}

func newGraph(t testing.TB, workers int) *tensor.Graph {
	p := tensor.NewPool(workers)
	t.Cleanup(p.Close)
	return tensor.NewGraph(p)
}

func decode(t *testing.T, a Autoencoder, workers int, z *tensor.Tensor, h, w int) []float32 {
	t.Helper()
	x, err := a.Decode(newGraph(t, workers), z, h, w)
	if err != nil {
		t.Fatal(err)
	}
	return x.Flat()
}

func encode(t *testing.T, a Autoencoder, workers int, x *tensor.Tensor, h, w int) Posterior {
	t.Helper()
	p, err := a.Encode(newGraph(t, workers), x, h, w)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// numbers returns the elements of both tensors of p.
func numbers(p Posterior) []float32 {
	all := slices.Clone(p.Mean.Flat())
	if p.LogVar != nil {
		all = append(all, p.LogVar.Flat()...)
	}
	return all
}

// same checks that all elements are equal. cmp.Diff alone takes seconds for images.
func same(t *testing.T, what string, want, got []float32) {
	t.Helper()
	if !slices.Equal(want, got) {
		t.Errorf("%s: -want +got\n%s", what, cmp.Diff(want, got))
	}
}

func mustOpen(t *testing.T, path string) Autoencoder {
	t.Helper()
	a, err := Open(filepath.Join(testdata, path))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// checkKL compares an AutoencoderKL with a file of references.
func checkKL(t *testing.T, a Autoencoder, c cases) {
	z, h, w := c.get("z")
	want, _, _ := c.get("decoded")
	one := decode(t, a, 1, z, h, w)
	near(t, "decoded", want.Flat(), one)
	same(t, "decoded by 2 workers", one, decode(t, a, 2, z, h, w))
	image, h, w := c.get("image")
	mean, _, _ := c.get("mean")
	logvar, _, _ := c.get("logvar")
	p := encode(t, a, 1, image, h, w)
	near(t, "mean", mean.Flat(), p.Mean.Flat())
	near(t, "logvar", logvar.Flat(), p.LogVar.Flat())
	same(t, "encoded by 2 workers", numbers(p), numbers(encode(t, a, 2, image, h, w)))
}

// checkTiny compares a tiny autoencoder with references whose images are in [0,1].
func checkTiny(t *testing.T, a Autoencoder, c cases, image, encoded, latent, decoded string) {
	x, h, w := c.get(image)
	for i, v := range x.Data {
		x.Data[i] = 2*v - 1
	}
	want, _, _ := c.get(encoded)
	p := encode(t, a, 1, x, h, w)
	near(t, encoded, want.Flat(), p.Mean.Flat())
	if p.LogVar != nil {
		t.Error("a tiny autoencoder's latents are certain, got a variance")
	}
	same(t, "encoded by 2 workers", numbers(p), numbers(encode(t, a, 2, x, h, w)))
	z, h, w := c.get(latent)
	want, _, _ = c.get(decoded)
	one := decode(t, a, 1, z, h, w)
	same(t, "decoded by 2 workers", one, decode(t, a, 2, z, h, w))
	for i, v := range one {
		one[i] = (v + 1) / 2
	}
	near(t, decoded, want.Flat(), one)
}

func TestKL(t *testing.T) {
	c := openCases(t, "vae-tiny/cases.safetensors")
	fingerprint := mustOpen(t, "vae-tiny").Spec().Fingerprint // of whatever file
	if len(fingerprint) < 32 {
		t.Errorf("fingerprint %q", fingerprint)
	}
	for _, path := range []string{
		"vae-tiny",
		"vae-tiny/diffusion_pytorch_model.safetensors",
		"vae-tiny/diffusion_pytorch_model.legacy.bin",
	} {
		t.Run(filepath.Base(path), func(t *testing.T) {
			a := mustOpen(t, path)
			want := Spec{
				Name:           "AutoencoderKL",
				ImageChannels:  3,
				LatentChannels: 4,
				Downscale:      8,
				ScaleFactor:    0.18215,
				Parameters:     a.Spec().Parameters,
				Fingerprint:    fingerprint,
			}
			if diff := cmp.Diff(want, a.Spec()); diff != "" {
				t.Error("-want +got\n", diff)
			}
			checkKL(t, a, c)
		})
	}
}

func TestTiny(t *testing.T) {
	c := openCases(t, "taesd/taef2_cases.safetensors")
	fingerprint := mustOpen(t, "taesd").Spec().Fingerprint // of whatever file
	if len(fingerprint) < 32 {
		t.Errorf("fingerprint %q", fingerprint)
	}
	for _, path := range []string{"taesd", "taesd/taef2_encoder.pth", "taesd/taef2_decoder.pth"} {
		t.Run(filepath.Base(path), func(t *testing.T) {
			a := mustOpen(t, path)
			want := Spec{
				Name:           "tiny autoencoder",
				ImageChannels:  3,
				LatentChannels: 32,
				Downscale:      8,
				ScaleFactor:    1,
				Parameters:     a.Spec().Parameters,
				Fingerprint:    fingerprint,
			}
			if diff := cmp.Diff(want, a.Spec()); diff != "" {
				t.Error("-want +got\n", diff)
			}
			for _, size := range []string{"small.", "large."} {
				checkTiny(t, a, c, size+"image", size+"latent", size+"latent", size+"decoded")
			}
		})
	}
}

// TestBF16 checks decoders whose convolutions are bfloat16: their images are near those in float32
// and other ones, the same for any number of workers and next to any other sample; the encoder is
// float32, and so is all of an autoencoder of a model in int8.
func TestBF16(t *testing.T) {
	for _, test := range []struct {
		path, cases, latents string
		psnr                 float64 // dB, at least, of images in [-1,1]
	}{
		{"vae-tiny", "vae-tiny/cases.safetensors", "z", 50},
		{"taesd", "taesd/taef2_cases.safetensors", "small.latent", 45},
	} {
		t.Run(test.path, func(t *testing.T) {
			z, h, w := openCases(t, test.cases).get(test.latents)
			exact := mustOpen(t, test.path)
			narrow, err := OpenAs(t.Context(), filepath.Join(testdata, test.path), tensor.BF16)
			if err != nil {
				t.Fatal(err)
			}
			if exact.Spec().Narrow != 0 || narrow.Spec().Narrow < 10 ||
				narrow.Spec().Fingerprint != exact.Spec().Fingerprint {
				t.Errorf("%+v, in float32 %+v", narrow.Spec(), exact.Spec())
			}
			want, got := decode(t, exact, 2, z, h, w), decode(t, narrow, 2, z, h, w)
			same(t, "1 worker", got, decode(t, narrow, 1, z, h, w))
			alone := tensor.FromSlice(slices.Clone(z.Row(0)), 1, z.Cols)
			same(t, "a sample alone", got[:len(got)/z.Rows], decode(t, narrow, 1, alone, h, w))
			var squares float64
			for i, v := range want {
				d := float64(got[i] - v)
				squares += d * d
			}
			if psnr := 10 * math.Log10(4*float64(len(want))/squares); !(psnr >= test.psnr && psnr < 90) {
				t.Errorf("PSNR to float32 of %.1f dB, want %g or more", psnr, test.psnr)
			} else {
				t.Logf("PSNR to float32 of %.1f dB", psnr)
			}
			image := tensor.FromSlice(slices.Clone(want[:len(want)/z.Rows]), 1, len(want)/z.Rows)
			side := exact.Spec().Downscale
			same(t, "encoded", numbers(encode(t, exact, 1, image, h*side, w*side)),
				numbers(encode(t, narrow, 1, image, h*side, w*side)))
			whole, err := OpenAs(t.Context(), filepath.Join(testdata, test.path), tensor.INT8)
			if err != nil {
				t.Fatal(err)
			}
			same(t, "of a model in int8", want, decode(t, whole, 2, z, h, w))
		})
	}
}

func formulaSource(wants []checkpoint.Want) *formula.Source {
	src := new(formula.Source)
	for _, w := range wants {
		src.Add(w.Name, w.Shape...)
	}
	return src
}

func TestFullSizeKL(t *testing.T) {
	switch {
	case testing.Short():
		t.Skip("takes seconds")
	case kernel.ActiveLevel() == kernel.Generic:
		t.Skip("at level generic 150 billion operations take a minute; the reduced autoencoder runs the same code")
	case raceDetector:
		t.Skip("filling 84 million weights takes a minute under the race detector; TestKL runs the same code")
	}
	config := StableDiffusion()
	m, err := NewKL(config, formulaSource(config.Tensors()))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := m.Spec().Parameters, int64(83_653_863); got != want {
		t.Errorf("%d parameters, want %d", got, want)
	}
	checkKL(t, m, openCases(t, "synthetic/sd-vae.safetensors"))
}

func TestFullSizeTiny(t *testing.T) {
	config := TinyConfig{LatentChannels: 4, Width: 64, ScaleFactor: 1}
	src := formulaSource(config.Tensors())
	m, err := NewTiny(config, src, src)
	if err != nil {
		t.Fatal(err)
	}
	checkTiny(t, m, openCases(t, "synthetic/taesd-4ch.safetensors"), "image", "latent", "z", "decoded")
}

func TestPosteriorSample(t *testing.T) {
	g := newGraph(t, 1)
	mean := tensor.FromSlice([]float32{1, 2, 3, 4}, 2, 2)
	noise := []float32{1, -1, 0.5, 0}
	p := Posterior{
		Mean:   mean,
		LogVar: tensor.FromSlice([]float32{0, float32(2 * math.Ln2), float32(-2 * math.Ln2), 5}, 2, 2),
	}
	if diff := cmp.Diff([]float32{2, 0, 3.25, 4}, p.Sample(g, noise).Flat()); diff != "" {
		t.Error("-want +got\n", diff)
	}
	p.LogVar = nil
	if diff := cmp.Diff(mean.Flat(), p.Sample(g, noise).Flat()); diff != "" {
		t.Error("of certain latents: -want +got\n", diff)
	}
}

func TestDiffusionLatents(t *testing.T) {
	s := Spec{ScaleFactor: 0.5, ShiftFactor: 0.25}
	x := []float32{-1, 0, 4}
	s.ToDiffusion(x)
	if diff := cmp.Diff([]float32{-0.625, -0.125, 1.875}, x); diff != "" {
		t.Error("-want +got\n", diff)
	}
	s.FromDiffusion(x)
	if diff := cmp.Diff([]float32{-1, 0, 4}, x); diff != "" {
		t.Error("back: -want +got\n", diff)
	}
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for _, path := range []string{"vae-tiny", "taesd"} {
		a := mustOpen(t, path)
		g := newGraph(t, 2)
		g.SetContext(ctx)
		latents := a.Spec().LatentChannels * 4 * 4
		if _, err := a.Decode(g, zeros(latents), 4, 4); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: decode: got error %v, want %v", path, err, context.Canceled)
		}
		if _, err := a.Encode(g, zeros(3*16*16), 16, 16); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: encode: got error %v, want %v", path, err, context.Canceled)
		}
	}
}

// TestMemory checks that memory for activations does not grow with the number of samples, and that
// running again takes none.
func TestMemory(t *testing.T) {
	a := mustOpen(t, "vae-tiny")
	const side, samples = 8, 16
	n := a.Spec().LatentChannels * side * side
	run := func(g *tensor.Graph, samples int) int64 {
		g.Reset()
		if _, err := a.Decode(g, tensor.FromSlice(make([]float32, samples*n), samples, n), side, side); err != nil {
			t.Fatal(err)
		}
		return g.Bytes()
	}
	g := newGraph(t, 2)
	one := run(g, 1)
	if again := run(g, 1); again != one {
		t.Errorf("the second run took %d bytes, the first %d", again, one)
	}
	images := int64(samples * 3 * 64 * 64 * 4)
	if many := run(newGraph(t, 2), samples); many > 2*one+images {
		t.Errorf("%d samples take %d bytes, one takes %d and the images %d", samples, many, one, images)
	}
}

// nothing gives weights of zero.
type nothing struct{}

func (nothing) Read(string, []float32) error { return nil }

// TestMemoryOfLargeImages checks the memory that 512 pixels take. A cancelled run takes its memory
// and computes nothing.
func TestMemoryOfLargeImages(t *testing.T) {
	m, err := NewKL(StableDiffusion(), nothing{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	const side = 64
	// The widest level is 512*512 pixels by 256 channels and twice 128.
	limit := int64(600 << 20)
	g := newGraph(t, 2)
	g.SetContext(ctx)
	if _, err := m.Decode(g, zeros(4*side*side), side, side); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if g.Bytes() > limit {
		t.Errorf("decoding takes %d MB, want at most %d", g.Bytes()>>20, limit>>20)
	}
	g = newGraph(t, 2)
	g.SetContext(ctx)
	if _, err := m.Encode(g, zeros(3*64*side*side), 8*side, 8*side); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if g.Bytes() > limit {
		t.Errorf("encoding takes %d MB, want at most %d", g.Bytes()>>20, limit>>20)
	}
}

func BenchmarkDecode(b *testing.B) {
	config := StableDiffusion()
	m, err := NewKL(config, formulaSource(config.Tensors()))
	if err != nil {
		b.Fatal(err)
	}
	for _, bench := range []struct {
		name string
		side int
	}{{"256px", 32}, {"512px", 64}} {
		b.Run(bench.name, func(b *testing.B) {
			g := newGraph(b, 0)
			z := tensor.FromSlice(make([]float32, 4*bench.side*bench.side), 1, 4*bench.side*bench.side)
			formula.Unit("input.z", z.Data)
			for b.Loop() {
				g.Reset()
				if _, err := m.Decode(g, z, bench.side, bench.side); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(g.FLOPs())/b.Elapsed().Seconds()*1e-9, "GFLOP/s")
			b.ReportMetric(float64(g.Bytes())/1e6, "MB-activations")
		})
	}
}

// zeros returns one row of n zeros.
func zeros(n int) *tensor.Tensor { return tensor.FromSlice(make([]float32, n), 1, n) }
