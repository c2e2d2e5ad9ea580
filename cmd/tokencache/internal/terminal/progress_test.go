package terminal

import (
	"strings"
	"testing"
	"time"
)

// TestProgressLines checks that away from a terminal there is a line every half minute and no more,
// with what is done and what is left.
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
	want := "denoising: 0 %\ndenoising: 20 %, 1m20s left\ndenoising: 50 %, 50s left\ndenoising: 80 %, 20s left\n"
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
