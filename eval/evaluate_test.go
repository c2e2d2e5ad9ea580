package eval

import (
	"context"
	"encoding/json"
	"errors"
	"image"
	"image/color"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/tokencache/tokencache/internal/formula"
	"github.com/tokencache/tokencache/tensor"
)

// formulaSource gives weights by their names.
type formulaSource struct{}

func (formulaSource) Read(name string, dst []float32) error {
	formula.Uniform(name, 0, 0.5, dst)
	return nil
}

// tinyClassifier is a classifier of grey images of 8 pixels a side in 3 classes, with 4 features.
func tinyClassifier(t *testing.T) *Classifier {
	t.Helper()
	n, err := NewClassifier(ClassifierConfig{
		Size:     8,
		Channels: 1,
		Widths:   []int{4, 4, 4},
		Names:    []string{"a", "b", "c"},
		Arch:     ClassifierArch,
	}, formulaSource{})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// noise is a set of count random grey images of 8 pixels a side, brighter by shift.
func noise(count int, seed uint64, shift uint8) Images {
	return Images{Count: count, Image: func(i int) (image.Image, error) {
		r := rand.New(rand.NewPCG(seed, uint64(i)))
		m := image.NewGray(image.Rect(0, 0, 8, 8))
		for k := range m.Pix {
			m.Pix[k] = uint8(r.IntN(200)) + shift
		}
		return m, nil
	}}
}

// TestEvaluate checks that a set is at distance 0 from itself and away from another, that
// statistics stand for the images they are of, and that labels are compared with predictions.
func TestEvaluate(t *testing.T) {
	n := tinyClassifier(t)
	samples, others := noise(150, 1, 0), noise(120, 2, 50)
	evaluate := func(samples Images, r Reference) *Evaluation {
		t.Helper()
		e, err := Evaluate(context.Background(), samples, r, n, Options{Threads: 1})
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	same := evaluate(samples, Reference{Images: samples})
	if same.N != 150 || same.ReferenceN != 150 || same.Width != 4 || same.Network != n.Identity() {
		t.Errorf("%+v", same)
	}
	if same.Frechet.Value > 1e-9 || same.Agreement != nil || same.SpatialFrechet != nil || len(same.Notes) > 0 {
		t.Errorf("a set against itself: %+v", same)
	}
	away := evaluate(samples, Reference{Images: others})
	if e := away.Frechet; !(e.Value > 1e-3 && 0 <= e.Low && e.Low <= e.Value && e.Value <= e.High) {
		t.Errorf("Fréchet distance %+v", e)
	}
	if again := evaluate(samples, Reference{Statistics: away.Reference}); again.Frechet != away.Frechet {
		t.Errorf("of statistics %+v, of their images %+v", again.Frechet, away.Frechet)
	}
	p, err := n.Predict(context.Background(), graph(t), samples, nil)
	if err != nil {
		t.Fatal(err)
	}
	labelled := samples
	labelled.Labels = slices.Clone(p.Classes)
	labelled.Labels[0], labelled.Labels[1], labelled.Labels[2] = -1, (p.Classes[1]+1)%3, (p.Classes[2]+1)%3
	if a := evaluate(labelled, Reference{Images: others}).Agreement; a == nil || a.Value != 147.0/149 {
		t.Errorf("agreement %+v, want 147 of 149", a)
	}
	if e := evaluate(samples.Spread(4), Reference{Images: others}); len(e.Notes) != 1 || e.N != 4 {
		t.Errorf("notes %q of %d samples", e.Notes, e.N)
	}
}

// TestEvaluateRefuses checks what cannot be evaluated.
func TestEvaluateRefuses(t *testing.T) {
	n := tinyClassifier(t)
	small := Images{Count: 2, Image: func(int) (image.Image, error) { return image.NewGray(image.Rect(0, 0, 7, 8)), nil }}
	colour := Images{Count: 2, Image: func(int) (image.Image, error) { return image.NewRGBA(image.Rect(0, 0, 8, 8)), nil }}
	broken := Images{Count: 2, Image: func(int) (image.Image, error) { return nil, errors.New("broken file") }}
	other := &Statistics{Network: "another", Pool: Gaussian{N: 5, Mean: make([]float64, 4)}}
	good := Reference{Images: noise(10, 1, 0)}
	mislabelled := noise(10, 1, 0)
	mislabelled.Labels = []int32{-1, 2, 99, 0, 0, 0, 0, 0, 0, 0}
	for _, c := range []struct {
		name      string
		samples   Images
		reference Reference
		want      string
	}{
		{"size", small, good, "samples: image 0: 8 x 7 pixels and 1 channels, want 8 x 8 and 1"},
		{"channels", colour, good, "samples: image 0: 8 x 8 pixels and 3 channels"},
		{"file", broken, good, "samples: image 0: broken file"},
		{"reference", noise(10, 1, 0), Reference{Images: broken}, "reference: image 0: broken file"},
		{"network", noise(10, 1, 0), Reference{Statistics: other}, "features of different networks"},
		{"labels", mislabelled, good, "samples: image 2 has class 99, and the classifier knows classes 0 to 2"},
		{"too few", noise(1, 1, 0), good, "of 1 images: want at least 2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Evaluate(context.Background(), c.samples, c.reference, n, Options{Threads: 1})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
}

// TestEvaluateStops checks that no image is read after ctx has ended.
func TestEvaluateStops(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	reads, images := 0, noise(100, 1, 0)
	samples := Images{Count: 100, Image: func(i int) (image.Image, error) {
		if reads++; reads == 3 {
			cancel()
		}
		return images.Image(i)
	}}
	_, err := Evaluate(ctx, samples, Reference{Images: noise(10, 2, 0)}, tinyClassifier(t), Options{})
	if !errors.Is(err, context.Canceled) || reads != 3 {
		t.Errorf("error %v after %d images, want 3", err, reads)
	}
}

// TestEvaluationJSON checks that the JSON has an estimate's interval in keys next to its own, and
// leaves out what was not measured.
func TestEvaluationJSON(t *testing.T) {
	e := &Evaluation{
		N:             2,
		Frechet:       Estimate{1 - 1e-16, 0.5 + 1e-15, 2}, // as images in another order may give
		Precision:     &Estimate{0.5, 0.25, 0.75},
		Preprocessing: "adm",
		Features:      "f",
		Network:       "n",
		Width:         8,
	}
	want := `{"n":2,"frechet":1,"frechet_low":0.5,"frechet_high":2,` +
		`"precision":0.5,"precision_low":0.25,"precision_high":0.75,"preprocess":"adm",` +
		`"reference_n":0,"features":"f","network":"n","feature_width":8}`
	if got, err := json.Marshal(e); err != nil || string(got) != want {
		t.Errorf("%s (%v), want %s", got, err, want)
	}
	e.Frechet.Value = math.NaN()
	if _, err := json.Marshal(e); err == nil {
		t.Error("no error for a value that JSON cannot hold")
	}
}

// TestSpread checks that numbers rise within bounds, and that every tenth of them is met.
func TestSpread(t *testing.T) {
	for _, c := range []struct{ n, count int }{
		{1000, 200}, {200, 20}, {1000, 1000}, {7, 3}, {10, 0}, {5, 9}, {1000, 100},
	} {
		list := spread(c.n, c.count)
		if !slices.IsSorted(list) || list[len(list)-1] >= c.n || len(slices.Compact(slices.Clone(list))) != len(list) {
			t.Errorf("%d of %d: %v", c.count, c.n, list)
		}
		classes := map[int]int{}
		for _, i := range list {
			classes[i%10]++
		}
		if len(list) >= 20 && len(classes) != 10 {
			t.Errorf("%d of %d: only classes %v", c.count, c.n, classes)
		}
	}
}

// opaque is an image of no type that the standard library has.
type opaque struct{ image.Image }

// TestPixelsOf checks that the pixels of images of any type, and of parts of images, are right.
func TestPixelsOf(t *testing.T) {
	grey := image.NewGray(image.Rect(0, 0, 4, 3))
	colours := image.NewNRGBA(image.Rect(0, 0, 4, 3))
	for y := range 3 {
		for x := range 4 {
			v := uint8(10*y + x)
			grey.SetGray(x, y, color.Gray{Y: v})
			colours.SetNRGBA(x, y, color.NRGBA{R: v, G: v + 100, B: v + 200, A: 255})
		}
	}
	part := image.Rect(1, 1, 3, 3)
	rgb := []uint8{11, 111, 211, 12, 112, 212, 21, 121, 221, 22, 122, 222}
	for name, c := range map[string]struct {
		m    image.Image
		want []uint8
	}{
		"grey":  {grey.SubImage(part), []uint8{11, 12, 21, 22}},
		"NRGBA": {colours.SubImage(part), rgb},
		"other": {opaque{colours.SubImage(part)}, rgb},
	} {
		p := pixelsOf(c.m)
		if p.Height != 2 || p.Width != 2 || !slices.Equal(p.Pix, c.want) {
			t.Errorf("%s: %+v, want %v", name, p, c.want)
		}
	}
}

func graph(t *testing.T) *tensor.Graph {
	pool := tensor.NewPool(1)
	t.Cleanup(pool.Close)
	return tensor.NewGraph(pool)
}
