package shard

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestOf checks that the shards of a run are its images in order, each once, that their lengths
// differ by one at most, and that their number can be told from some of them.
func TestOf(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		images := rapid.IntRange(1, 2000).Draw(t, "images")
		k := rapid.IntRange(1, images).Draw(t, "k")
		at := 0
		var spans []Span
		for i := 1; i <= k; i++ {
			s := Of(i, k, images)
			if s.First != at || s.Len() < images/k || s.Len() > images/k+1 {
				t.Fatalf("shard %d/%d of %d: %+v, want it from %d on", i, k, images, s, at)
			}
			if numberOf(s, k, images) != i {
				t.Fatalf("%+v is number %d of %d of %d, want %d", s, numberOf(s, k, images), k, images, i)
			}
			at = s.End
			spans = append(spans, s)
		}
		if at != images {
			t.Fatalf("%d shards of %d images end at %d", k, images, at)
		}
		found := shardsOf(spans, images)
		if found < 1 || !slices.Equal(spans, allOf(found, images)) {
			t.Fatalf("%d shards of %d images are taken for %d", k, images, found)
		}
	})
}

func allOf(k, images int) []Span {
	var spans []Span
	for i := 1; i <= k; i++ {
		spans = append(spans, Of(i, k, images))
	}
	return spans
}

func TestParse(t *testing.T) {
	for _, test := range []struct {
		text  string
		first int
		i, k  int
		fails string
	}{
		{"1/1", 1, 1, 1, ""},
		{"3/16", 1, 3, 16, ""},
		{"0/16", 0, 1, 16, ""},
		{"15/16", 0, 16, 16, ""},
		{"0/16", 1, 0, 0, `shard "0/16": want i/K, i from 1 to K`},
		{"16/16", 0, 0, 0, `shard "16/16": want i/K, i from 0 to K-1`},
		{"17/16", 1, 0, 0, `shard "17/16": want i/K, i from 1 to K`},
		{"3", 1, 0, 0, `shard "3": want i/K, i from 1 to K`},
		{"a/b", 1, 0, 0, `shard "a/b": want i/K, i from 1 to K`},
		{"1/-4", 1, 0, 0, `shard "1/-4": want i/K, i from 1 to K`},
	} {
		t.Run(test.text, func(t *testing.T) {
			i, k, err := Parse(test.text, test.first)
			text := ""
			if err != nil {
				text = err.Error()
			}
			if i != test.i || k != test.k || text != test.fails {
				t.Errorf("got %d, %d, %q, want %d, %d, %q", i, k, text, test.i, test.k, test.fails)
			}
		})
	}
}
