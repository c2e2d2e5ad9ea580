package redundancy

import (
	"math"
	"slices"
	"testing"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/reuse"
)

// TestPositionsOfBatch checks that a policy that is recorded, whose images take their steps
// together, tells each image's prediction at the step of its state.
func TestPositionsOfBatch(t *testing.T) {
	p, err := tokencache.Open("../testdata/dit-tiny", tokencache.Options{VAE: "../testdata/vae-tiny", Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	policy, err := reuse.Parse("fora:n=2")
	if err != nil {
		t.Fatal(err)
	}
	var states, predictions [][2]int
	_, err = p.Generate(t.Context(), tokencache.Request{
		Classes:      []int{0, 1, 2},
		Sampling:     tokencache.Sampling{Steps: 3, Guidance: 2},
		Policy:       newRecorder(policy, 3, 3, true).policy(),
		OnState:      func(i, step int, _ []float32) { states = append(states, [2]int{i, step}) },
		OnPrediction: func(i, step int, _ []float32) { predictions = append(predictions, [2]int{i, step}) },
	})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(states, predictions) {
		t.Errorf("states of images at steps %v, predictions %v", states, predictions)
	}
}

// TestTextModel checks that what is watched and recorded of a text-to-image model is of the image's
// tokens alone, and that one share of a P-step's cost is the text's.
func TestTextModel(t *testing.T) {
	p, err := tokencache.Open("../testdata/minit2i-pipeline-tiny", tokencache.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	subjects, _, err := p.Subjects(t.Context(), []string{"a cat", "near the sea"})
	if err != nil {
		t.Fatal(err)
	}
	policy, err := reuse.Parse("tokencache:k=2,ratio=0.5,selection=per-block")
	if err != nil {
		t.Fatal(err)
	}
	o := Options{
		Request: tokencache.Request{Sampling: tokencache.Sampling{Sampler: "euler", Steps: 6, Guidance: 2}},
		Policy:  policy,
	}
	subjects.Cycle(&o.Request, 2)
	m := p.Shape()
	w, err := WatchUncached(t.Context(), p, o)
	if err != nil {
		t.Fatal(err)
	}
	if w.Tokens != m.Image() || m.Text == 0 || !(w.MeanChange() > 0) {
		t.Errorf("%d tokens watched, want the image's %d; mean change %g", w.Tokens, m.Image(), w.MeanChange())
	}
	r, err := RecordPolicy(t.Context(), p, o)
	if err != nil {
		t.Fatal(err)
	}
	if r.Tokens != m.Image() || len(r.ISteps) == 0 || len(r.ISteps) == r.Steps {
		t.Fatalf("%d tokens recorded, want %d; I-steps %v", r.Tokens, m.Image(), r.ISteps)
	}
	kept := math.Round(0.5*float64(m.Image())) / float64(m.Image())
	full := map[int]bool{}
	for _, step := range r.ISteps {
		full[step] = true
	}
	for step := range r.Steps {
		for block := range r.Blocks {
			if share := r.Share[block][step]; full[step] != (share > 0.99) || !full[step] && math.Abs(share-kept) > 1e-9 {
				t.Errorf("step %d, block %d: a share of %g of the image's tokens computed", step, block, share)
			}
		}
	}
	tokens, err := MeasureTokens(t.Context(), p, o, len(r.ISteps))
	if err != nil {
		t.Fatal(err)
	}
	n := float64(tokens.ISteps)
	if want := n + (6-n)*(0.5*float64(m.Image())+float64(m.Text))/float64(m.Tokens); tokens.Cost != want {
		t.Errorf("a cost of %g passes, want %g", tokens.Cost, want)
	}
}
