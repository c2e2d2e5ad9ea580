package tokencache_test

import (
	"slices"
	"testing"

	"github.com/tokencache/tokencache"
)

// TestDecode checks that latents become the pixels that Generate makes of them.
func TestDecode(t *testing.T) {
	p := open(t, 2)
	want := draw(t, p, tokencache.Request{Classes: []int{1}, Seed: 1, Sampling: tokencache.Sampling{Steps: 2}})[0]
	got, err := p.Decode(want.Latents)
	if err != nil {
		t.Fatal(err)
	}
	if got.Width != want.Width || !slices.Equal(got.Pixels, want.Pixels) {
		t.Error("the pixels differ from those of Generate")
	}
	if _, err := p.Decode(want.Latents[1:]); err == nil {
		t.Error("latents of the wrong size were decoded")
	}
}
