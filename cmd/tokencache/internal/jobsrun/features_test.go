package jobsrun

import (
	"context"
	"encoding/json"
	"errors"
	"image"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/tokencache/tokencache/eval"
	"github.com/tokencache/tokencache/models"
)

// noise is grey images of a seed.
func noise(count, side int, seed uint64) eval.Images {
	labels := make([]int32, count)
	for i := range labels {
		labels[i] = int32(i % 10)
	}
	return eval.Images{Count: count, Labels: labels, Image: func(i int) (image.Image, error) {
		m := image.NewGray(image.Rect(0, 0, side, side))
		random := rand.New(rand.NewPCG(seed, uint64(i)))
		for k := range m.Pix {
			m.Pix[k] = uint8(random.IntN(256))
		}
		return m, nil
	}}
}

// far has the tasks of features done by others, the last first.
func far(f *Features, fails int) Tasks {
	return func(ctx context.Context, of string, tasks []json.RawMessage, take func(int, []byte, error) error) error {
		if err := f.Check(of); err != nil {
			return err
		}
		for i := range slices.Backward(tasks) {
			result, err := f.Do(ctx, of, tasks[i])
			if i == fails {
				result, err = nil, errors.New("the disk is gone")
			}
			if err := take(i, result, err); err != nil {
				return err
			}
		}
		return nil
	}
}

// TestFeatures checks that an evaluation whose features others compute, in another order, is that
// of one process, bit for bit; and that a task without a result is an error that names its images.
func TestFeatures(t *testing.T) {
	net, err := models.Classifier(models.Default)
	if err != nil {
		t.Fatal(err)
	}
	sets := func(samples int, seed uint64) *Features {
		return &Features{
			Network:   net,
			Samples:   noise(samples, net.Size, seed),
			Reference: noise(20, net.Size, 2),
			Threads:   1,
		}
	}
	evaluate := func(f *Features) string {
		t.Helper()
		e, err := eval.Evaluate(t.Context(), f.Samples, eval.Reference{Images: f.Reference}, net, eval.Options{Threads: 1})
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	const many, few = featureImages + 70, 5
	want := evaluate(sets(many, 1))
	f := sets(many, 1)
	if err := f.Predict(t.Context(), far(sets(many, 1), -1)); err != nil {
		t.Fatal(err)
	}
	f.Samples.Image, f.Reference.Image = nil, nil // nobody reads a pixel again
	if got := evaluate(f); got != want {
		t.Errorf("by others: %s, want %s", got, want)
	}
	err = sets(few, 1).Predict(t.Context(), far(sets(few, 1), 0))
	if err == nil || !strings.Contains(err.Error(), "images 0 to 19: the disk is gone") {
		t.Errorf("a task that fails: error %v", err)
	}
	err = sets(few, 1).Predict(t.Context(), far(sets(few, 3), -1))
	if err == nil || !strings.Contains(err.Error(), "it has other images") {
		t.Errorf("workers with other images: error %v", err)
	}
	for _, task := range []string{`{"first":-1,"end":2}`, `{"first":0,"end":99999}`, `{"first":3,"end":3}`, `[]`} {
		if _, err := f.Do(t.Context(), "", json.RawMessage(task)); err == nil {
			t.Errorf("task %s: no error", task)
		}
	}
}
