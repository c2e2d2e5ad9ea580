package comparison

import (
	"testing"

	"github.com/tokencache/tokencache/reuse"
)

// TestFamilies holds that every rung of every ladder is a policy, and that names are not used twice.
func TestFamilies(t *testing.T) {
	seen := map[string]bool{}
	for _, f := range families {
		if seen[f.name] || seen[f.title] {
			t.Errorf("%s, %s: twice", f.name, f.title)
		}
		seen[f.name], seen[f.title] = true, true
		if (len(f.ladder) == 0) != (f.name == shippedFamily || f.name == stepsFamily || f.fitted) {
			t.Errorf("%s has %d policies", f.name, len(f.ladder))
		}
		for _, text := range f.ladder {
			if _, err := reuse.Parse(text); err != nil {
				t.Errorf("%s: %v", f.name, err)
			}
		}
	}
}

func TestFewer(t *testing.T) {
	for _, c := range []struct {
		plan  int
		speed float64
		want  string
	}{{50, 2, "25"}, {50, 2.4, "21"}, {250, 3, "83"}, {4, 100, "1"}} {
		if got := fewer(c.plan, c.speed); got != c.want {
			t.Errorf("%d steps at %gx: %s, want %s", c.plan, c.speed, got, c.want)
		}
	}
}
