package eval

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestCaptionKey(t *testing.T) {
	for text, want := range map[string]string{
		"red heart":                              "red heart",
		"a red heart":                            "red heart",
		"An octopus":                             "octopus",
		"the  moon ":                             "moon",
		"Red heart, 3d style":                    "red heart",
		"a red heart,3D style.":                  "red heart",
		"noto style, red heart":                  "red heart",
		"noto style, a red heart":                "red heart",
		"an ear, medium-light skin tone":         "ear, medium-light skin tone",
		"3d style, ear, dark skin tone":          "ear, dark skin tone",
		"an ear, dark skin tone, noto style":     "ear, dark skin tone",
		"noto style":                             "noto style",
		"a":                                      "a",
		"":                                       "",
		"anchor":                                 "anchor",
		"keycap *":                               "keycap *",
		"two, three style, four style, 3d style": "two, three style, four style",
	} {
		t.Run(text, func(t *testing.T) {
			if got := CaptionKey(text); got != want {
				t.Errorf("%q, want %q", got, want)
			}
		})
	}
}

// captioned is tinyClassifier with captions: of classes a and b, which share one, and c, which has
// none.
func captioned(t *testing.T) *Classifier {
	t.Helper()
	c := tinyClassifier(t).ClassifierConfig
	c.Captions = [][]string{{"red heart", "heart"}, {"blue heart", "heart"}, nil}
	n, err := NewClassifier(c, formulaSource{})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestRetrieval checks which images count as recognised, and which are left out.
func TestRetrieval(t *testing.T) {
	n := captioned(t)
	p := &Predictions{Classes: []int32{0, 1, 1, 0, 2, 0, 0}}
	prompts := []string{"a red heart, 3d style", "Red Heart", "noto style, heart", "heart", "blue heart", "a dog", ""}
	r, err := n.RetrievalOf(p, prompts)
	if err != nil {
		t.Fatal(err)
	}
	if r.N != 5 || r.Share.Value != 3.0/5 || r.Share.Low > r.Share.Value || r.Share.High < r.Share.Value {
		t.Errorf("%+v, want 3 of 5", r)
	}
	if r.Unknown != 2 || r.First != "a dog" {
		t.Errorf("left out are %d, the first %q", r.Unknown, r.First)
	}
	if _, err := n.RetrievalOf(p, prompts[1:]); err == nil {
		t.Error("6 prompts of 7 images: no error")
	}
}

// TestEvaluatePrompts checks that an evaluation, its forms, and Retrieve say the same of samples with
// prompts, and that nothing is said where it cannot be.
func TestEvaluatePrompts(t *testing.T) {
	n, plain := captioned(t), tinyClassifier(t)
	samples, reference := noise(30, 1, 0), Reference{Images: noise(20, 2, 0)}
	p, err := n.Predict(context.Background(), graph(t), samples, nil)
	if err != nil {
		t.Fatal(err)
	}
	names := []string{"a red heart", "blue heart", "heart"}
	for _, class := range p.Classes {
		samples.Prompts = append(samples.Prompts, names[class])
	}
	samples.Prompts[3], samples.Prompts[4] = "a cat", "a dog"
	r, err := n.Retrieve(t.Context(), samples, 1)
	if err != nil || r.N != 28 {
		t.Fatalf("%+v, error %v", r, err)
	}
	e, err := Evaluate(t.Context(), samples, reference, n, Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	if e.Retrieval == nil || *e.Retrieval != *r {
		t.Errorf("evaluated %+v, retrieved %+v", e.Retrieval, r)
	}
	if !slices.ContainsFunc(e.Notes, func(s string) bool {
		return strings.Contains(s, `2 of 30 samples`) && strings.Contains(s, `"a cat"`)
	}) {
		t.Errorf("notes %q", e.Notes)
	}
	text, err := json.Marshal(e)
	if err != nil || !strings.Contains(string(text), `"prompt_retrieval_n":28`) ||
		!strings.Contains(string(text), `"prompt_retrieval_low":`) {
		t.Errorf("JSON %s, error %v", text, err)
	}
	var b strings.Builder
	if err := e.WriteText(&b); err != nil || !strings.Contains(b.String(), "prompt retrieval  ") ||
		!strings.Contains(b.String(), "(28 prompts)") {
		t.Errorf("text %s, error %v", b.String(), err)
	}
	if few := samples.Spread(5); len(few.Prompts) != 5 || few.Prompts[4] != samples.Prompts[spread(30, 5)[4]] {
		t.Errorf("prompts of 5 of the samples: %q", few.Prompts)
	}

	e, err = Evaluate(t.Context(), samples, reference, plain, Options{Threads: 1})
	if err != nil || e.Retrieval != nil {
		t.Errorf("by a classifier without captions: %+v, error %v", e.Retrieval, err)
	}
	if _, err := plain.Retrieve(t.Context(), samples, 1); !errors.Is(err, ErrNoCaptions) {
		t.Errorf("error %v, want %v", err, ErrNoCaptions)
	}
	samples.Prompts = slices.Repeat([]string{"a cat"}, 30)
	e, err = Evaluate(t.Context(), samples, reference, n, Options{Threads: 1})
	if err != nil || e.Retrieval != nil || len(e.Notes) == 0 {
		t.Errorf("of unknown prompts: %+v, notes %q, error %v", e.Retrieval, e.Notes, err)
	}
}

// TestClassifierWidths checks networks of other numbers of widths, down to one pixel.
func TestClassifierWidths(t *testing.T) {
	for _, widths := range [][]int{{3, 5}, {4, 4, 4}, {2, 3, 4, 5}, {2, 3, 4, 5, 6}} {
		c := tinyClassifier(t).ClassifierConfig
		c.Widths = widths
		n, err := NewClassifier(c, formulaSource{})
		if err != nil {
			t.Fatal(err)
		}
		p, err := n.Predict(t.Context(), graph(t), noise(3, 1, 0), nil)
		if d := widths[len(widths)-1]; err != nil || len(p.Features) != 3*d || len(p.Pool.Mean) != d {
			t.Errorf("widths %v: %d features, error %v", widths, len(p.Features), err)
		}
		if !c.possible() || len(c.Tensors()) != 4*len(widths) {
			t.Errorf("widths %v: %d tensors", widths, len(c.Tensors()))
		}
	}
	for _, c := range []ClassifierConfig{
		{Size: 8, Channels: 1, Widths: []int{4}, Names: []string{"a", "b"}},
		{Size: 8, Channels: 1, Widths: []int{4, 4, 4, 4, 4, 4, 4}, Names: []string{"a", "b"}},
		{Size: 8, Channels: 1, Widths: []int{4, 4}, Names: []string{"a", "b"}, Captions: [][]string{{"a"}}},
	} {
		if c.possible() {
			t.Errorf("%+v is possible", c)
		}
	}
}
