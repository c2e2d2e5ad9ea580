package shard

import (
	"fmt"
	"strconv"
	"strings"
)

// Span is the images from First to End-1 of a run.
type Span struct {
	First int `json:"first"`
	End   int `json:"end"`
}

// Len is the number of images.
func (s Span) Len() int { return s.End - s.First }

// Contains reports whether image i is one of them.
func (s Span) Contains(i int) bool { return s.First <= i && i < s.End }

// String names the images for people.
func (s Span) String() string {
	if s.Len() == 1 {
		return fmt.Sprint("image ", s.First)
	}
	return fmt.Sprintf("images %d to %d", s.First, s.End-1)
}

// Of returns the span of shard i of k, counted from 1, of a run of some images. The lengths of the
// k spans differ by one at most.
func Of(i, k, images int) Span { return Span{(i - 1) * images / k, i * images / k} }

// Parse reads a shard "i/k", of which the first is number first: 0 or 1. It returns i counted from
// 1.
func Parse(text string, first int) (i, k int, err error) {
	a, b, ok := strings.Cut(text, "/")
	if ok {
		if i, err = strconv.Atoi(a); err == nil {
			k, err = strconv.Atoi(b)
		}
	}
	if i += 1 - first; !ok || err != nil || i < 1 || i > k {
		return 0, 0, fmt.Errorf("shard %q: want i/K, i from %d to %s", text, first, []string{"K-1", "K"}[first])
	}
	return i, k, nil
}

// Spans divides a run into spans of size images, the last perhaps of fewer.
func Spans(images, size int) []Span {
	var spans []Span
	for first := 0; first < images; first += size {
		spans = append(spans, Span{first, min(first+size, images)})
	}
	return spans
}

// shardsOf returns the smallest number of shards of which all spans are one, and 0 if there is
// none.
func shardsOf(spans []Span, images int) int {
	if len(spans) == 0 {
		return 0
	}
	// A shard of n images is one of images/(n+1) to images/(n-1).
	n := spans[0].Len()
	most := images
	if n > 1 {
		most = min(most, images/(n-1)+1)
	}
	for k := max(1, images/(n+1)); k <= most; k++ {
		if all(spans, func(s Span) bool { return numberOf(s, k, images) > 0 }) {
			return k
		}
	}
	return 0
}

// numberOf returns which of k shards has exactly the span, counted from 1, or 0.
func numberOf(s Span, k, images int) int {
	for i := max(1, s.First*k/images); i <= min(k, s.First*k/images+2); i++ {
		if Of(i, k, images) == s {
			return i
		}
	}
	return 0
}

func all(spans []Span, ok func(Span) bool) bool {
	for _, s := range spans {
		if !ok(s) {
			return false
		}
	}
	return true
}
