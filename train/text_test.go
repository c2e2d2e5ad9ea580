package train

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tokencache/tokencache/checkpoint"
	"github.com/tokencache/tokencache/data"
)

// plainImages are images of one value each.
type plainImages []float32

func (p plainImages) Len() int { return len(p) }

func (p plainImages) Read(i int, dst []float32) error {
	for j := range dst {
		dst[j] = p[i]
	}
	return nil
}

var plainCaptions = []data.Captions{
	{File: "0", Texts: []string{"black", "a black image"}},
	{File: "1", Texts: []string{"white", "a white image"}, Mirror: true},
}

// newText returns the training of a tiny text-to-image model on a black and a white image.
func newText(t *testing.T, o TextOptions) *Text {
	t.Helper()
	m, err := NewTextModel(TextModelOptions{
		Width:      16,
		Depth:      2,
		Heads:      1,
		Patch:      4,
		TextDepth:  1,
		TextTokens: 4,
		Vocabulary: 80,
		Seed:       3,
	}, 8, plainCaptions)
	if err != nil {
		t.Fatal(err)
	}
	task, err := NewText(m, plainImages{-1, 1}, plainCaptions, o)
	if err != nil {
		t.Fatal(err)
	}
	return task
}

// TestTextLearns checks that a model learns which image a word means.
func TestTextLearns(t *testing.T) {
	task := newText(t, TextOptions{Seed: 1, Dropout: 0.1})
	s := Settings{Steps: 60, Batch: 16, Micro: 8, LR: 5e-3, Schedule: "constant", Clip: 1}
	l, err := NewLoop(task, newGraph(t, 2), "", s)
	if err != nil {
		t.Fatal(err)
	}
	var errors []float64
	l.OnStep = func(r StepStats) { errors = append(errors, r.Measures["mse"]) }
	if err := l.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if first, last := errors[0], errors[len(errors)-1]; !(first > 0.9 && last < 0.2) {
		t.Errorf("mean squared error %.3f at first, %.3f at the end", first, last)
	}
}

// TestTextGradients checks the gradients of embedding, mask token and the text's own blocks against
// differences of the loss.
func TestTextGradients(t *testing.T) {
	task := newText(t, TextOptions{Seed: 2, Dropout: 0.3})
	g := newGraph(t, 2)
	for _, p := range task.Params() { // the output begins with zeros, which let no gradient through
		if strings.HasSuffix(p.Name, "final_layer.linear.weight") {
			for i := range p.Value {
				p.Value[i] = float32(math.Sin(float64(i))) / 4
			}
		}
	}
	task.Changed()
	loss := func() float64 {
		sums, err := task.Accumulate(g, 0, 6, 1)
		if err != nil {
			t.Fatal(err)
		}
		return sums[0]
	}
	for _, p := range task.Params() {
		name := strings.TrimPrefix(p.Name, "model.net.")
		if !slices.Contains([]string{"txt_tokens.weight", "mask_token", "txt_preamble_blocks.0.mlp.w2.weight"}, name) {
			continue
		}
		ZeroGrads(task.Params())
		task.Changed()
		loss()
		best, grad := 0, slices.Clone(p.Grad)
		for i, v := range grad {
			if math.Abs(float64(v)) > math.Abs(float64(grad[best])) {
				best = i
			}
		}
		const h = 1e-2
		at := func(d float32) float64 {
			kept := p.Value[best]
			p.Value[best] += d
			task.Changed()
			l := loss()
			p.Value[best] = kept
			return l
		}
		got := (at(h) - at(-h)) / (2 * h)
		if want := float64(grad[best]); want == 0 || math.Abs(got-want) > 0.02*math.Abs(want) {
			t.Errorf("%s[%d]: gradient %g, difference of losses %g", name, best, want, got)
		}
	}
}

// TestTextTimes checks the distribution of the times of examples: MiniT2I's, and another one.
func TestTextTimes(t *testing.T) {
	for _, test := range []struct {
		options   TextOptions
		mean, std float64
	}{
		{TextOptions{Seed: 6}, -0.8, 0.8},
		{TextOptions{Seed: 6, TimeMean: 0.5, TimeStd: 1.1}, 0.5, 1.1},
	} {
		task := newText(t, test.options)
		task.allocate(1)
		const n = 4000
		sum, squares := 0.0, 0.0
		for i := range n {
			if err := task.example(0, int64(i)); err != nil {
				t.Fatal(err)
			}
			at := float64(task.batch.T[0])
			z := (math.Log(at/(1-at)) - test.mean) / test.std
			sum, squares = sum+z/n, squares+z*z/n
		}
		if math.Abs(sum) > 4/math.Sqrt(n) || math.Abs(squares-1) > 4*math.Sqrt(2./n) {
			t.Errorf("%+v: normalised times have mean %g and mean square %g", test.options, sum, squares)
		}
	}
	o := TextOptions{TimeStd: -1}
	if err := o.check(); err == nil || !strings.Contains(err.Error(), "standard deviation -1: want finite numbers") {
		t.Errorf("error %v", err)
	}
}

// TestTextExamples checks that an example is the same whatever the batch, and that captions and
// images belong together.
func TestTextExamples(t *testing.T) {
	task := newText(t, TextOptions{Seed: 4, Dropout: 0.2, Flip: true})
	task.allocate(3)
	whole := newText(t, TextOptions{Seed: 4, Dropout: 0.2, Flip: true})
	whole.allocate(9)
	none, of := 0, map[any]float32{}
	for i := range 9 {
		if err := whole.example(i, int64(i)); err != nil {
			t.Fatal(err)
		}
		if err := task.example(i%3, int64(i)); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(task.batch.X.Row(i%3), whole.batch.X.Row(i)) || task.batch.T[i%3] != whole.batch.T[i] {
			t.Errorf("example %d depends on the batch", i)
		}
		if c := whole.batch.Cond[i]; c == whole.none {
			none++
		} else if v, seen := of[c]; seen && v != whole.images[i][0] {
			t.Errorf("example %d has the caption of another image", i)
		} else {
			of[c] = whole.images[i][0]
		}
	}
	if none == 0 || len(of) < 3 {
		t.Errorf("%d of 9 examples without caption, %d captions", none, len(of))
	}
}

// TestTextResumes checks that a run that was stopped ends in the same bits, and that its file tells
// the model's configuration and tokenizer.
func TestTextResumes(t *testing.T) {
	a, b := t.TempDir(), t.TempDir()
	note := TextNote{Options: TextOptions{Seed: 5, Dropout: 0.2}}
	run := func(dir string, steps int, resume bool) *Run[TextNote] {
		t.Helper()
		r, err := NewRun(dir, steady, note)
		if resume {
			r, err = ResumeRun[TextNote](dir)
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := r.SetSteps(steps); err != nil {
			t.Fatal(err)
		}
		l, err := r.Loop(newText(t, r.Note.Options), newGraph(t, 2))
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		return r
	}
	run(a, 4, false)
	run(b, 2, false)
	run(b, 4, true)
	for _, name := range []string{StateFile, ModelFile} {
		x, err1 := os.ReadFile(filepath.Join(a, name))
		y, err2 := os.ReadFile(filepath.Join(b, name))
		if err1 != nil || err2 != nil || !bytes.Equal(x, y) {
			t.Errorf("%s differs (%v, %v)", name, err1, err2)
		}
	}
	f, err := checkpoint.Open(filepath.Join(a, ModelFile))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if f.Metadata()[checkpoint.ConfigKey] == "" || f.Metadata()[checkpoint.TokenizerKey] == "" {
		t.Errorf("metadata %v", f.Metadata())
	}
}
