package eval

import (
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tokencache/tokencache/checkpoint"
	"github.com/tokencache/tokencache/internal/formula"
	"github.com/tokencache/tokencache/internal/raster"
	"github.com/tokencache/tokencache/tensor"
)

// inceptionSource gives the weights that the recorded values were made with: a formula over names.
type inceptionSource map[string][]int

func newInceptionSource() inceptionSource {
	s := inceptionSource{}
	for _, w := range InceptionTensors() {
		s[w.Name] = w.Shape
	}
	return s
}

func (s inceptionSource) Read(name string, dst []float32) error {
	offset, scale := 0.0, 0.1
	switch {
	case len(s[name]) >= 2:
		scale = math.Sqrt(3/float64(len(dst)/s[name][0])) * 1.4
	case strings.HasSuffix(name, "bn.weight"):
		offset = 1
	case strings.HasSuffix(name, "running_var"):
		offset, scale = 1, 0.2
	}
	formula.Uniform(name, offset, scale, dst)
	return nil
}

// TestInceptionReference compares with pytorch-fid, and with a port of the ADM evaluator's graph,
// both in float64.
func TestInceptionReference(t *testing.T) {
	var params map[string]struct {
		Shape  []int
		First3 []float64
		Last   float64
	}
	r := openRecorded(t, "inception", &params)
	src := newInceptionSource()
	for name, want := range params {
		if !slices.Equal(src[name], want.Shape) {
			t.Fatalf("tensor %s: shape %v, want %v", name, src[name], want.Shape)
		}
		n := 1
		for _, d := range want.Shape {
			n *= d
		}
		x := make([]float32, n)
		if err := src.Read(name, x); err != nil {
			t.Fatal(err)
		}
		for i, v := range want.First3 {
			if x[i] != float32(v) {
				t.Fatalf("tensor %s: element %d is %g, want %g", name, i, x[i], v)
			}
		}
		if x[n-1] != float32(want.Last) {
			t.Fatalf("tensor %s: the last element is %g, want %g", name, x[n-1], want.Last)
		}
	}
	net, err := NewInception(src, ADM)
	if err != nil {
		t.Fatal(err)
	}
	pool := tensor.NewPool(0)
	defer pool.Close()
	g := tensor.NewGraph(pool)
	compared := 0
	for _, name := range r.arrays.Names() {
		base, ok := strings.CutSuffix(name, ".pool")
		if !ok {
			continue
		}
		set, way, _ := strings.Cut(base, ".")
		if net.preprocessing, err = ParsePreprocessing(way); err != nil {
			t.Fatal(err)
		}
		images := recordedPictures(r, set+".input")
		g.Reset()
		x := tensor.Images{X: g.New(len(images)*InceptionSize*InceptionSize, 3), Height: InceptionSize, Width: InceptionSize}
		for i, m := range images {
			if err := net.preprocessing.prepare(x.X.Data[i*InceptionSize*InceptionSize*3:], m); err != nil {
				t.Fatal(err)
			}
		}
		checkRows(t, r, base, net.preprocessing, x)
		features, spatial, logits := net.Forward(g, x)
		near := func(what string, got []float32, tolerance float64) {
			if !slices.Contains(r.arrays.Names(), base+"."+what) {
				return
			}
			want, shape := arrayOf[float32](r, base+"."+what)
			if len(got) != len(want) {
				t.Fatalf("%s: %d of %s, want %v", base, len(got), what, shape)
			}
			worst := 0.0
			for i := range want {
				worst = max(worst, math.Abs(float64(got[i]-want[i])))
			}
			if !(worst <= tolerance) {
				t.Errorf("%s: %s is up to %.3g off, want at most %g", base, what, worst, tolerance)
			}
			t.Logf("%s: %s is up to %.3g off", base, what, worst)
			compared++
		}
		near("pool", features.Flat(), 1e-5)
		near("spatial", spatial.Flat(), 2e-5)
		near("logits", logits.Flat(), 2e-5)
		Softmax(logits.Flat(), logits.Flat(), InceptionClasses)
		near("softmax", logits.Flat(), 1e-7)
	}
	if compared < 8 {
		t.Errorf("%d arrays compared", compared)
	}
}

// checkRows compares the rows of prepared images that were recorded, with ADM's preparation every
// 23rd.
func checkRows(t *testing.T, r *recorded, base string, p Preprocessing, x tensor.Images) {
	if !slices.Contains(r.arrays.Names(), base+".rows") {
		return
	}
	const tolerance = 3e-7 // of numbers in [-1,1]: five roundings
	every, scale, shift := 23, float32(1), float32(0)
	if p == PyTorchFID {
		every, scale, shift = 13, 2, -1 // recorded before the last step
	}
	want, shape := arrayOf[float32](r, base+".rows") // [images, 3, rows, 299]
	for i, v := range want {
		column, row, c, image := i%shape[3], i/shape[3]%shape[2]*every, i/shape[3]/shape[2]%3, i/shape[3]/shape[2]/3
		got := x.X.Row((image*InceptionSize+row)*InceptionSize + column)[c]
		if math.Abs(float64(got-(v*scale+shift))) > tolerance {
			t.Fatalf("%s: prepared pixel %d, %d of channel %d is %g, want %g", base, row, column, c, got, v*scale+shift)
		}
	}
}

// recordedPictures are images of an array [n, 3, height, width].
func recordedPictures(r *recorded, name string) []*raster.Image {
	x, shape := arrayOf[uint8](r, name)
	var list []*raster.Image
	h, w := shape[2], shape[3]
	for i := range shape[0] {
		m := &raster.Image{Height: h, Width: w, Channels: 3, Pix: make([]uint8, 3*h*w)}
		for c := range 3 {
			for at := range h * w {
				m.Pix[at*3+c] = x[(i*3+c)*h*w+at]
			}
		}
		list = append(list, m)
	}
	return list
}

func TestOpenInceptionRefuses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "w.safetensors")
	c := checkpoint.Content{Tensors: []checkpoint.Info{{Name: "fc.weight", DType: checkpoint.F32, Shape: []int{2, 2}}}, Read: func(string, []float32) error { return nil }}
	if err := checkpoint.WriteSafetensors(path, c); err != nil {
		t.Fatal(err)
	}
	f, err := checkpoint.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if IsInception(f) {
		t.Error("taken for Inception")
	}
	if _, err := OpenInception(f, ADM); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("error %v, want one that names the file", err)
	}
	if _, err := ParsePreprocessing("bicubic"); err == nil {
		t.Error("no error for an unknown preprocessing")
	}
	for _, m := range []*raster.Image{{Height: 1, Width: 1, Channels: 2, Pix: make([]uint8, 2)}, {Height: 1, Width: 1, Channels: 3, Pix: make([]uint8, 2)}, {Channels: 1}} {
		if err := ADM.prepare(make([]float32, InceptionSize*InceptionSize*3), m); err == nil {
			t.Errorf("no error for %+v", m)
		}
	}
}

// TestInceptionTensors holds the list against the numbers of pytorch-fid's file.
func TestInceptionTensors(t *testing.T) {
	n, elements := 0, 0
	for _, w := range InceptionTensors() {
		size := 1
		for _, d := range w.Shape {
			size *= d
		}
		n, elements = n+1, elements+size
	}
	if n != 472 || elements != 23885392 {
		t.Errorf("%d tensors of %d elements, want 472 of 23885392", n, elements)
	}
}
