package train

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tokencache/tokencache/data"
	"github.com/tokencache/tokencache/eval"
)

// TestClassesOf checks which images are of one class, and what the class is called.
func TestClassesOf(t *testing.T) {
	for _, test := range []struct {
		name  string
		lines []data.Captions
		want  CaptionClasses
	}{
		{
			"things",
			[]data.Captions{
				{Thing: "2764", Texts: []string{"a heavy heart, 3d style", "red heart", "heart, 3d style"}},
				{Thing: "1f499", Texts: []string{"heart", "a blue heart"}, Mirror: true},
				{Thing: "2764", Texts: []string{"noto style, heavy heart", "love"}},
			},
			CaptionClasses{
				Names:    []string{"love", "blue heart"},
				Captions: [][]string{{"heavy heart", "red heart", "heart", "love"}, {"heart", "blue heart"}},
				Labels:   []int32{0, 1, 0},
				Mirror:   []bool{false, true, false},
			},
		},
		{
			"first captions",
			[]data.Captions{
				{Texts: []string{"An Octopus, noto style"}},
				{Texts: []string{"octopus, 3d style", "squid"}},
				{Texts: []string{"squid"}},
				{Thing: "octopus", Texts: []string{"."}},
			},
			CaptionClasses{
				Names:    []string{"octopus", "squid", ""},
				Captions: [][]string{{"octopus", "squid"}, {"squid"}, {}},
				Labels:   []int32{0, 0, 1, 2},
				Mirror:   make([]bool, 4),
			},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			if d := cmp.Diff(test.want, ClassesOf(test.lines)); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}

// still distorts nothing.
var still = Distortion{Scale: 1, Contrast: 1}

// ramp is a channel whose pixels rise by 0.02 to the right and 0.05 downwards around 0.
func ramp(size int) []float32 {
	x := make([]float32, size*size)
	for i := range x {
		x[i] = 0.02*(float32(i%size)-float32(size-1)/2) + 0.05*(float32(i/size)-float32(size-1)/2)
	}
	return x
}

// TestDistort checks each kind of change of a channel on which it can be told: turned, scaled and
// moved, a plane stays one, of other slopes, and goes on at its edges as they are.
func TestDistort(t *testing.T) {
	const size = 16
	x := ramp(size)
	at := func(m []float32, row, col int) float64 { return float64(m[row*size+col]) }
	slopes := func(m []float32) (right, down float64) {
		return at(m, 8, 8) - at(m, 8, 7), at(m, 8, 8) - at(m, 7, 8)
	}
	distorted := func(d Distortion, shift int) []float32 {
		before := slices.Clone(x)
		out := d.distort(x, 1, size, shift, newRand("test", 7))
		if !slices.Equal(x, before) {
			t.Error("the image itself is changed")
		}
		return out
	}
	if got := distorted(still, 0); !slices.Equal(got, x) {
		t.Error("nothing to change, and the image differs")
	}
	right, down := slopes(distorted(Distortion{Scale: 2, Contrast: 1}, 0))
	if scale := 0.02 / right; !(scale > 0.5 && scale < 2 && math.Abs(scale-1) > 0.01) ||
		math.Abs(down/right-2.5) > 1e-3 {
		t.Errorf("scaled, slopes of %g and %g", right, down)
	}
	right, down = slopes(distorted(Distortion{Scale: 1, Contrast: 1, Turn: 40}, 0))
	angle := (math.Atan2(down, right) - math.Atan2(0.05, 0.02)) * 180 / math.Pi
	if length := math.Hypot(right, down); math.Abs(length-math.Hypot(0.02, 0.05)) > 1e-5 ||
		!(math.Abs(angle) > 1 && math.Abs(angle) < 40) {
		t.Errorf("turned by %g degrees, slopes of %g and %g", angle, right, down)
	}
	moved := distorted(still, 4)
	right, down = slopes(moved)
	change := at(moved, 8, 8) - at(x, 8, 8)
	if math.Abs(right-0.02) > 1e-5 || math.Abs(down-0.05) > 1e-5 || change == 0 || math.Abs(change) > 4*0.07 {
		t.Errorf("moved, slopes of %g and %g, change of %g", right, down, change)
	}
	if low, high := slices.Min(moved), slices.Max(moved); low < slices.Min(x)-1e-6 || high > slices.Max(x)+1e-6 {
		t.Errorf("moved, pixels of %g to %g", low, high)
	}
	right, down = slopes(distorted(Distortion{Scale: 1, Contrast: 3}, 0))
	if ratio := right / 0.02; !(ratio > 1.0/3 && ratio < 3 && math.Abs(ratio-1) > 0.01) || math.Abs(down/right-2.5) > 1e-3 {
		t.Errorf("another contrast, slopes of %g and %g", right, down)
	}
	bright := distorted(Distortion{Scale: 1, Contrast: 1, Brightness: 0.2}, 0)
	if change := at(bright, 8, 8) - at(x, 8, 8); change == 0 || math.Abs(change) > 0.2 ||
		math.Abs(at(bright, 3, 5)-at(x, 3, 5)-change) > 1e-6 {
		t.Errorf("brighter by %g", change)
	}
	noisy, sum := distorted(Distortion{Scale: 1, Contrast: 1, Noise: 0.2}, 0), 0.0
	for i, v := range noisy {
		sum += math.Pow(float64(v-x[i]), 2)
	}
	if deviation := math.Sqrt(sum / (size * size)); !(deviation > 1e-3 && deviation < 0.2*1.2) {
		t.Errorf("noise of deviation %g", deviation)
	}
	dot := make([]float32, size*size)
	dot[5*size+5] = 1
	soft := (&Distortion{Scale: 1, Contrast: 1, Blur: 1}).distort(dot, 1, size, 0, newRand("test", 7))
	share := 9 * at(soft, 4, 5)
	if !(share > 0 && share < 1) || math.Abs(at(soft, 5, 5)-(1-share*8/9)) > 1e-6 || at(soft, 5, 7) != 0 {
		t.Errorf("blurred, %g next to a pixel of %g", at(soft, 4, 5), at(soft, 5, 5))
	}
	white := slices.Repeat([]float32{1}, size*size)
	all := CaptionedExamples().Distort
	for _, v := range all.distort(white, 1, size, 5, newRand("test", 7)) {
		if !(v >= -1 && v <= 1) {
			t.Fatalf("a pixel of %g", v)
		}
	}
}

// things are ten images of five things, of 8 pixels a side.
func things() (*noiseImages, CaptionClasses) {
	images := &noiseImages{}
	var lines []data.Captions
	for i := range 10 {
		r := newRand("thing", uint64(i/2))
		x := make([]float32, 3*8*8)
		for k := range x {
			x[k] = float32(2*r.Float64() - 1)
		}
		images.images = append(images.images, x)
		lines = append(lines, data.Captions{Texts: []string{fmt.Sprint("thing ", i/2)}, Mirror: i%2 == 0})
	}
	return images, ClassesOf(lines)
}

func newThings(t *testing.T) *ClassifierTask {
	t.Helper()
	images, classes := things()
	o := CaptionedExamples()
	o.Shift = 1 // of 8 pixels
	task, err := NewClassifierTask(eval.ClassifierConfig{
		Size:     8,
		Channels: 3,
		Widths:   []int{8, 16, 16},
		Names:    classes.Names,
		Captions: classes.Captions,
	}, images, classes.Labels, classes.Mirror, o)
	if err != nil {
		t.Fatal(err)
	}
	return task
}

// TestCaptionedClassifier checks that the loss of captioned things falls, that a run in two parts is
// the run in one, bit for bit, and that the file knows the captions.
func TestCaptionedClassifier(t *testing.T) {
	settings := Settings{Batch: 10, Micro: 5, LR: 3e-3, Schedule: "constant", Clip: 1, EMA: 0.9}
	dirs := []string{t.TempDir(), t.TempDir()}
	var losses []float64
	for i, parts := range [][]int{{40}, {13, 40}} {
		for k, steps := range parts {
			settings.Steps = steps
			l, err := NewLoop(newThings(t), newGraph(t, 1+i), dirs[i], settings)
			if err != nil {
				t.Fatal(err)
			}
			if k > 0 {
				if err := l.Resume(); err != nil {
					t.Fatal(err)
				}
			}
			if i == 0 {
				l.OnStep = func(s StepStats) { losses = append(losses, s.Measures["loss"]) }
			}
			if err := l.Run(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	if first, last := losses[0], losses[len(losses)-1]; !(last < 0.7*first) {
		t.Errorf("loss %g at first, %g at last", first, last)
	}
	one, err1 := os.ReadFile(filepath.Join(dirs[0], ModelFile))
	two, err2 := os.ReadFile(filepath.Join(dirs[1], ModelFile))
	if err1 != nil || err2 != nil || !bytes.Equal(one, two) {
		t.Errorf("a resumed run differs (%v, %v)", err1, err2)
	}
	net, err := eval.ReadClassifier(filepath.Join(dirs[0], ModelFile))
	if err != nil {
		t.Fatal(err)
	}
	_, classes := things()
	if d := cmp.Diff(classes.Captions, net.Captions); d != "" {
		t.Errorf("captions (-want +got):\n%s", d)
	}
}

// TestMirror checks that only images that may be mirrored are.
func TestMirror(t *testing.T) {
	task := newThings(t)
	task.options.Shift, task.options.Distort = 0, &still
	x := task.data.(*noiseImages).images[0]
	flipped := slices.Clone(x)
	data.FlipHorizontal(flipped, 3, 8)
	for i, want := range []bool{true, false} {
		mirrored := 0
		for k := range uint64(40) {
			switch got := task.augment(slices.Clone(x), i, k); {
			case slices.Equal(got, flipped):
				mirrored++
			case !slices.Equal(got, x):
				t.Fatal("neither the image nor its mirror image")
			}
		}
		if (mirrored > 5 && mirrored < 35) != want || !want && mirrored > 0 {
			t.Errorf("image %d: mirrored %d times of 40", i, mirrored)
		}
	}
}

// TestClassifierRefuses checks what no classifier can be trained on.
func TestClassifierRefuses(t *testing.T) {
	images, classes := things()
	c := eval.ClassifierConfig{Size: 8, Channels: 3, Widths: []int{4, 4}, Names: classes.Names}
	one, wide := c, c
	one.Names, wide.Widths = classes.Names[:1], []int{4}
	for _, test := range []struct {
		name   string
		config eval.ClassifierConfig
		labels []int32
		mirror []bool
		want   string
	}{
		{"labels", c, classes.Labels[:3], nil, "3 labels"},
		{"mirror", c, classes.Labels, []bool{true}, "1 settings of mirroring for 10 images"},
		{"class", c, slices.Repeat([]int32{9}, 10), nil, "class 9: want 0..4"},
		{"one class", one, make([]int32, 10), nil, "classifier of 1 classes"},
		{"widths", wide, classes.Labels, nil, "widths [4]"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := NewClassifierTask(test.config, images, test.labels, test.mirror, CaptionedExamples())
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q", err, test.want)
			}
		})
	}
}
