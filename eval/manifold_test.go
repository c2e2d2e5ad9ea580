package eval

import (
	"math"
	"testing"
)

// TestPrecisionRecallReference compares with the definition evaluated in float64: radii, who lies
// in them, and the shares for several k.
func TestPrecisionRecallReference(t *testing.T) {
	type shares struct{ Precision, Recall float64 }
	var expected map[string]struct {
		K3  shares  `json:"exact_float64"`
		K1  *shares `json:"exact_float64_k1"`
		K5  *shares `json:"exact_float64_k5"`
		K10 *shares `json:"exact_float64_k10"`
	}
	r := openRecorded(t, "features", &expected)
	for name, e := range expected {
		real, shape := arrayOf[float32](r, name+".real")
		fake, _ := arrayOf[float32](r, name+".fake")
		width := shape[1]
		for k, want := range map[int]*shares{1: e.K1, 3: &e.K3, 5: e.K5, 10: e.K10} {
			if want == nil {
				continue
			}
			good, found, err := PrecisionRecall(real, fake, width, k)
			if err != nil {
				t.Fatal(err)
			}
			p, err1 := BootstrapShare(good, 1)
			q, err2 := BootstrapShare(found, 1)
			if err1 != nil || err2 != nil || p.Value != want.Precision || q.Value != want.Recall {
				t.Errorf("%s, k %d: precision %v, recall %v, errors %v and %v, want %g and %g",
					name, k, p, q, err1, err2, want.Precision, want.Recall)
			}
			if p.Value < p.Low || p.Value > p.High {
				t.Errorf("%s, k %d: precision %g outside of its interval %v", name, k, p.Value, p)
			}
		}
		for _, side := range []struct{ of, radii, others, flags string }{{"real", "radii2_real", "fake", "fake_in_real"}, {"fake", "radii2_fake", "real", "real_in_fake"}} {
			of, _ := arrayOf[float32](r, name+"."+side.of)
			others, _ := arrayOf[float32](r, name+"."+side.others)
			radii, _ := arrayOf[float64](r, name+"."+side.radii)
			flags, _ := arrayOf[uint8](r, name+"."+side.flags)
			m, err := NewManifold(of, width, ManifoldNeighbours)
			if err != nil {
				t.Fatal(err)
			}
			for i, want := range radii {
				if !(math.Abs(m.Radii[i]-want) <= 1e-11*want) {
					t.Fatalf("%s.%s: %g of image %d, want %g", name, side.radii, m.Radii[i], i, want)
				}
			}
			in, err := m.Contains(others)
			if err != nil {
				t.Fatal(err)
			}
			for i, want := range flags {
				if in[i] != (want == 1) {
					t.Errorf("%s.%s: %v for image %d", name, side.flags, in[i], i)
				}
			}
		}
	}
}

func TestManifoldRefuses(t *testing.T) {
	nan := float32(math.NaN())
	if _, err := NewManifold([]float32{1, 2, 3}, 1, 3); err == nil {
		t.Error("no error for 3 neighbours among 3 images")
	}
	if _, err := NewManifold([]float32{1, 2, 3}, 2, 1); err == nil {
		t.Error("no error for half an image")
	}
	if _, err := NewManifold([]float32{1, nan, 3}, 1, 1); err == nil {
		t.Error("no error for a feature that is no number")
	}
	m, err := NewManifold([]float32{1, 2, 3}, 1, 1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Contains([]float32{nan}); err == nil {
		t.Error("no error for a sample that is no number")
	}
	if _, _, err := PrecisionRecall([]float32{1, 2, 3}, []float32{1}, 1, 1); err == nil {
		t.Error("no error for one sample")
	}
}

// TestInceptionScoreReference compares with the ADM evaluator's arithmetic in float64.
func TestInceptionScoreReference(t *testing.T) {
	var expected map[string]map[string]struct {
		Exact *float64 `json:"adm_code_on_float64_copy"`
		Zero  *float64 `json:"with_0log0_eq_0_float64"`
	}
	r := openRecorded(t, "inception_score", &expected)
	checked := 0
	for name, splits := range expected {
		p, shape := arrayOf[float32](r, name)
		for key, e := range splits {
			split, ok := map[string]int{"split_5000": 5000, "split_100": 100, "split_128": 128, "split_1": 1}[key]
			want := e.Exact
			if want == nil {
				want = e.Zero
			}
			if !ok || want == nil {
				t.Fatalf("%s: what is %s?", name, key)
			}
			got, err := InceptionScore(p, shape[1], split)
			if err != nil || !(math.Abs(got-*want) <= 1e-12**want) {
				t.Errorf("%s, %s: score %.16g, error %v, want %.16g", name, key, got, err, *want)
			}
			checked++
		}
	}
	if checked < 12 {
		t.Errorf("%d scores compared", checked)
	}
	for _, bad := range [][]float32{nil, {1}, {float32(math.NaN()), 0}, {-0.5, 1.5}} {
		if _, err := InceptionScore(bad, 2, 10); err == nil {
			t.Errorf("no error for probabilities %v", bad)
		}
	}
	logits := []float32{1000, 1000, 0, float32(math.Log(3))}
	Softmax(logits, logits, 2)
	for i, want := range []float32{0.5, 0.5, 0.25, 0.75} {
		if math.Abs(float64(logits[i]-want)) > 1e-7 {
			t.Errorf("softmax %v", logits)
		}
	}
}
