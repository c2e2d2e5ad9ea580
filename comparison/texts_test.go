package comparison

import (
	"testing"

	"github.com/tokencache/tokencache/reuse"
)

// TestTextsParse checks that every policy that comparisons and searches name is one, with no
// parameter that has no effect.
func TestTextsParse(t *testing.T) {
	var texts []string
	for _, m := range methods {
		texts = append(texts, m.ladder...)
	}
	for _, s := range onSolvers {
		texts = append(texts, s.policy)
	}
	for _, row := range crossing() {
		for _, c := range row {
			if texts = append(texts, c.ladder...); c.planned != "" {
				texts = append(texts, c.planned+",steps=list,i=0+3+7")
			}
		}
	}
	if len(texts) < 100 {
		t.Fatalf("%d policies", len(texts))
	}
	for _, text := range texts {
		if _, err := reuse.Parse(text); err != nil {
			t.Error(err)
		}
	}
}
