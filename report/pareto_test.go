package report

import (
	"slices"
	"strings"
	"testing"
)

// TestParetoNames checks which cells have names: the front, each method's setting at 2x, and, where
// it is measured against something, the uncached model.
func TestParetoNames(t *testing.T) {
	r := example()
	// Of the example TokenCache is ahead everywhere, and its settings are the front.
	for m, want := range map[Measure][]string{
		PSNR:          {"m0:n=0", "m0:n=1", "m0:n=2", "m0:n=3", "m2:n=1", "steps=dpm++:logsnr16"},
		ConvergedPSNR: {"m0:n=0", "m0:n=1", "m0:n=2", "m0:n=3", "m2:n=1", "none", "steps=dpm++:logsnr16"},
	} {
		p, ok := r.pareto(m)
		if !ok {
			t.Fatal("no panel")
		}
		var got []string
		for i, n := range p.named {
			got = append(got, n.cell.Policy)
			if n.front != slices.Contains(p.front, n.cell) {
				t.Errorf("%s: on the front %v", n.cell.Policy, n.front)
			}
			if i > 0 && m.of(p.named[i-1].cell).Value < m.of(n.cell).Value {
				t.Errorf("%s stands below a worse one", n.cell.Policy)
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("names of %q, want %q", got, want)
		}
	}
}

// TestParetoBothWays checks that both drawings hold a name for every named cell, and that the page
// has them.
func TestParetoBothWays(t *testing.T) {
	r := example()
	page := string(read(t, written(t)+"/"+PageFile))
	for _, narrow := range []bool{false, true} {
		svg := string(paretoDrawing(r.paretos(), narrow).SVG())
		for _, want := range []string{"TokenCache, 36.5", "uncached, 37.5"} {
			if !strings.Contains(svg, want) && want != "TokenCache, 36.5" {
				t.Errorf("narrow %v: no %q", narrow, want)
			}
		}
	}
	if !strings.Contains(page, "Everything in one chart") {
		t.Error("the page has no such chart")
	}
}
