package eval

import (
	"context"
	"encoding/json"
	"image"
	"math"
	"path/filepath"
	"testing"

	"github.com/tokencache/tokencache/internal/npz"
)

// slice returns the images from first to end-1.
func (s Images) slice(first, end int) Images {
	return Images{Count: end - first, Image: func(i int) (image.Image, error) { return s.Image(first + i) }}
}

// throughFile returns a part as an archive keeps it.
func throughFile(t *testing.T, p *Part) *Part {
	t.Helper()
	path := filepath.Join(t.TempDir(), "part.npz")
	if err := npz.Write(path, p.Put); err != nil {
		t.Fatal(err)
	}
	a, err := npz.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if PartNetwork(a) != p.Network {
		t.Errorf("network %q, want %q", PartNetwork(a), p.Network)
	}
	read, err := ReadPart(a, p.First, p.N, p.Of)
	if err != nil {
		t.Fatal(err)
	}
	return read
}

// TestParts checks that an evaluation from the parts of a set, with no pixel at hand, is that of
// the set, for parts smaller and larger than the features are wide.
func TestParts(t *testing.T) {
	n := tinyClassifier(t)
	samples, others := noise(150, 1, 0), noise(120, 2, 50)
	for i := range samples.Count {
		samples.Labels = append(samples.Labels, int32(i%3))
	}
	ctx, reference := context.Background(), Reference{Images: others}
	want, err := Evaluate(ctx, samples, reference, n, Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	var m Merger
	bounds := []int{0, 1, 3, 7, 50, 51, 149, 150}
	for i, end := range bounds[1:] {
		first := bounds[i]
		p, err := PredictPart(ctx, n, samples.slice(first, end), first, samples.Count, 1)
		if err != nil {
			t.Fatal(err)
		}
		if (p.pool == nil) != (end-first <= 4) {
			t.Errorf("%d images of 4 features: moments %v", end-first, p.pool)
		}
		if err := m.Add(throughFile(t, p)); err != nil {
			t.Fatal(err)
		}
	}
	known := Images{Count: samples.Count, Labels: samples.Labels, Known: predictions(t, &m)}
	got, err := Evaluate(ctx, known, reference, n, Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	checkEqual(t, got, want)
	if err := m.Add(&Part{First: 3, N: 1, Of: 150}); err == nil {
		t.Error("a part twice: no error")
	}
}

// checkEqual checks that all numbers of two evaluations are the same, bit for bit.
func checkEqual(t *testing.T, got, want *Evaluation) {
	t.Helper()
	a, errA := json.Marshal(got)
	b, errB := json.Marshal(want)
	if errA != nil || errB != nil || string(a) != string(b) {
		t.Errorf("got %s, want %s", a, b)
	}
}

// TestKeptByParts checks that parts keep, of a set of more images than have their features kept,
// those that the set keeps.
func TestKeptByParts(t *testing.T) {
	const of, limit, width = 1000, 90, 30
	whole := Images{Count: of}.kept(limit, width)
	for first := 0; first < of; first += 40 {
		part := Images{Count: 40, part: &setPart{first, of}}
		for i, keep := range part.kept(limit, width) {
			if keep != whole[first+i] {
				t.Fatalf("image %d: %v, want %v", first+i, keep, whole[first+i])
			}
		}
		small := Images{Count: 20, part: &setPart{first, of}}
		for i, keep := range small.kept(limit, width) {
			if !keep {
				t.Fatalf("image %d of a part of 20 with 30 features is not kept", first+i)
			}
		}
	}
}

// TestPartsOfInception joins made up outputs of Inception's kind, of parts whose moments are kept
// and of parts whose features are.
func TestPartsOfInception(t *testing.T) {
	const wide, deep = 6, 5
	whole := &Part{N: 40, Of: 40, Network: "n", Preprocessing: "adm"}
	for i := range whole.N {
		for j := range wide {
			whole.features = append(whole.features, float32((i*7+j*j*3)%11)+float32(i)/9)
		}
		for j := range deep {
			whole.spatialFeatures = append(whole.spatialFeatures, float32((i*5+j*3)%7))
		}
		for range InceptionClasses {
			whole.probabilities = append(whole.probabilities, 1.0/InceptionClasses)
		}
	}
	add := func(m *Merger, first, end int) {
		p := &Part{
			First:           first,
			N:               end - first,
			Of:              whole.Of,
			Network:         "n",
			Preprocessing:   "adm",
			features:        whole.features[first*wide : end*wide],
			spatialFeatures: whole.spatialFeatures[first*deep : end*deep],
			probabilities:   whole.probabilities[first*InceptionClasses : end*InceptionClasses],
		}
		if !keepsAll(p.N, wide) {
			p.pool, p.spatial = NewMoments(wide), NewMoments(deep)
			if p.pool.Add(p.features) != nil || p.spatial.Add(p.spatialFeatures) != nil {
				t.Fatal("moments")
			}
		}
		if err := m.Add(throughFile(t, p)); err != nil {
			t.Fatal(err)
		}
	}
	var one, many Merger
	add(&one, 0, 40)
	for _, s := range [][2]int{{0, 3}, {3, 20}, {20, 26}, {26, 40}} {
		add(&many, s[0], s[1])
	}
	want, got := predictions(t, &one), predictions(t, &many)
	if len(got.Features) != len(want.Features) || len(got.SpatialFeatures) != len(want.SpatialFeatures) ||
		len(got.Probabilities) != len(want.Probabilities) || got.Pool.N != 40 {
		t.Fatalf("sizes %d, %d, %d, %d", len(got.Features), len(got.SpatialFeatures), len(got.Probabilities), got.Pool.N)
	}
	for name, pair := range map[string][2]*Gaussian{
		"pool": {&got.Pool, &want.Pool}, "spatial": {got.Spatial, want.Spatial},
	} {
		for i := range pair[1].Mean {
			if math.Abs(pair[0].Mean[i]-pair[1].Mean[i]) > 1e-12 {
				t.Errorf("%s: mean %d: %g, want %g", name, i, pair[0].Mean[i], pair[1].Mean[i])
			}
			for j := range pair[1].Mean {
				if x, y := pair[0].Covariance.At(i, j), pair[1].Covariance.At(i, j); math.Abs(x-y) > 1e-12 {
					t.Errorf("%s: covariance %d, %d: %g, want %g", name, i, j, x, y)
				}
			}
		}
	}
}

// predictions returns what was joined.
func predictions(t *testing.T, m *Merger) *Predictions {
	t.Helper()
	p, err := m.Predictions()
	if err != nil {
		t.Fatal(err)
	}
	return p
}
