package data

import (
	"context"
	"image"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestCaptioned opens a folder of captioned images.
func TestCaptioned(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "a"), 0o777); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a/0.png", "a/1.png"} {
		f, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := png.Encode(f, image.NewRGBA(image.Rect(0, 0, 4, 4))); err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	text := `{"file":"a/1.png","captions":["one","the one"],"mirror":true,"style":"x","thing":"1"}

{"file":"a/0.png","captions":["zero"]}
`
	if err := os.WriteFile(filepath.Join(dir, CaptionsFile), []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	s, list, err := OpenCaptioned(context.Background(), dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if s.Size != 4 || s.Channels != 3 || s.Len() != 2 || len(list) != 2 {
		t.Errorf("%d images of %d, %d channels, %d captions", s.Len(), s.Size, s.Channels, len(list))
	}
	if c := list[0]; c.File != "a/1.png" || len(c.Texts) != 2 || c.Thing != "1" || !c.Mirror || list[1].Mirror {
		t.Errorf("%+v", list)
	}
	dst := make([]float32, 3*4*4)
	if err := s.Read(1, dst); err != nil || dst[0] != -1 {
		t.Errorf("image 1 begins with %g, error %v", dst[0], err)
	}
	equal(t, "prompts", s.Prompts, []string{"one", "zero"})

	more := filepath.Join(dir, "more.jsonl")
	if err := os.WriteFile(more, []byte(`{"file":"a/0.png","captions":["nought"]}`), 0o666); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		path string
		want []string
	}{
		{dir, []string{"one", "zero"}},
		{more, []string{"nought"}},
	} {
		opened := mustOpen(t, test.path, Options{})
		equal(t, "prompts of "+test.path, opened.Prompts, test.want)
		equal(t, "labels of "+test.path, opened.Labels, []int32{-1, -1}[:len(test.want)])
	}
	both, list, err := OpenCaptioned(t.Context(), dir, Options{}, CaptionsFile, "more.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer both.Close()
	equal(t, "prompts of two files", both.Prompts, []string{"one", "zero", "nought"})
	equal(t, "lines of two files", len(list), 3)
	wantError(t, dir, Options{Split: "test"}, "has no splits")
	if _, _, err := OpenCaptioned(context.Background(), t.TempDir(), Options{}); err == nil {
		t.Error("a folder without captions opens")
	}
}

// TestCaptionsRefused checks what is said of lines that are no captions.
func TestCaptionsRefused(t *testing.T) {
	for text, want := range map[string]string{
		"":                                      "no images",
		`{"captions":["x"]}`:                    `line 1: no "file"`,
		`{"file":"../x.png","captions":["x"]}`:  "within the folder",
		`{"file":"x.png","captions":[]}`:        `has no "captions"`,
		`{"file":"x.png","captions":["x",""]}`:  "an empty caption",
		"\n{":                                   "line 2:",
		`{"file":"x.png","captions":"a string"`: "line 1:",
	} {
		if _, err := parseCaptions(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want %q", text, err, want)
		}
	}
}
