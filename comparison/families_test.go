package comparison

import (
	"slices"
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

// TestQuick holds that a first look has families alone, and none that must be fitted.
func TestQuick(t *testing.T) {
	for _, name := range Quick() {
		if i := slices.IndexFunc(families, func(f family) bool { return f.name == name }); i < 0 || families[i].fitted {
			t.Errorf("%s: no family, or one that must be fitted", name)
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
