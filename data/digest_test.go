package data

import (
	"path/filepath"
	"testing"
)

// TestDigest checks that a digest changes with the images and what is said of them, and not with
// where they are.
func TestDigest(t *testing.T) {
	const classes = 3
	makeSet := func(change func(dir string)) *Set {
		t.Helper()
		dir := t.TempDir()
		for i := range 6 {
			write(t, dir, string(rune('a'+i%classes))+"/"+string(rune('0'+i))+".png", pngFile(t, colourful(4+i)))
		}
		if change != nil {
			change(dir)
		}
		return mustOpen(t, dir, Options{Size: 4})
	}
	digest := func(s *Set, captions ...Captions) string {
		t.Helper()
		d, err := s.Digest(captions)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	first := digest(makeSet(nil))
	for _, c := range []struct {
		name   string
		change func(dir string)
		same   bool
	}{
		{"another place", nil, true},
		{"a file that is no image", func(dir string) { write(t, dir, "a/notes.txt", []byte("x")) }, true},
		{"one more image", func(dir string) { write(t, dir, "a/x.png", pngFile(t, colourful(4))) }, false},
		{"one more class", func(dir string) { write(t, dir, "d/x.png", pngFile(t, colourful(4))) }, false},
		{"other pixels", func(dir string) { write(t, dir, "a/0.png", pngFile(t, colourful(9))) }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := digest(makeSet(c.change)); (got == first) != c.same {
				t.Errorf("digest %s, was %s", got, first)
			}
		})
	}
	if digest(makeSet(nil), Captions{Texts: []string{"a"}}) == digest(makeSet(nil), Captions{Texts: []string{"b"}}) {
		t.Error("captions do not count")
	}
	s := makeSet(func(dir string) { write(t, dir, filepath.Join("a", "0.png"), hugePNG(4, 4)) })
	if _, err := s.Digest(nil); err == nil {
		t.Error("a broken image: no error")
	}
}
