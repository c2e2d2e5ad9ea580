package terminal

import (
	"strings"
	"testing"
	"time"
)

// TestProgressLines checks that away from a terminal there is a line as soon as it can be told how
// long the whole takes, and then one every half minute, with what is done and what is left.
func TestProgressLines(t *testing.T) {
	var out strings.Builder
	p := NewProgress(&out, "denoising")
	now := p.shown
	p.now = func() time.Time { return now }
	for range 20 { // opening a model
		p.Set(0, 100)
		now = now.Add(2 * time.Second)
	}
	for done := range 101 {
		p.Set(float64(done), 100)
		now = now.Add(time.Second)
	}
	p.Finish()
	want := "denoising: 0 %\ndenoising: 4 %, 1m36s left\ndenoising: 34 %, 1m6s left\n" +
		"denoising: 64 %, 36s left\ndenoising: 94 %, 6s left\n"
	if out.String() != want {
		t.Errorf("%q, want %q", out.String(), want)
	}
	out.Reset()
	now = now.Add(time.Minute)
	p.Set(1, 0)
	if out.Len() > 0 {
		t.Errorf("%q of nothing in all", out.String())
	}
}
