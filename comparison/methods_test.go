package comparison

import (
	"slices"
	"testing"

	"github.com/tokencache/tokencache/reuse"
)

// TestMethods checks that every rung of every ladder is a policy, and that names are not used
// twice.
func TestMethods(t *testing.T) {
	seen := map[string]bool{}
	for _, m := range allMethods() {
		t.Run(m.name, func(t *testing.T) {
			if seen[m.name] || seen[m.title] {
				t.Errorf("%s, %s: used twice", m.name, m.title)
			}
			seen[m.name], seen[m.title] = true, true
			if (len(m.ladder) == 0) != (m.name == learnedResidual || m.bundled != "" || m.isSolver() || m.calibrated != "") {
				t.Errorf("%d policies", len(m.ladder))
			}
			for _, text := range m.ladder {
				if _, err := reuse.Parse(text); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// TestQuick checks that a first comparison has methods alone, and none that must be calibrated.
func TestQuick(t *testing.T) {
	for _, name := range Quick() {
		if m := methodOf(name); name != fewerSteps && (m == nil || m.calibrated != "") {
			t.Errorf("%s: no method, or one that must be calibrated", name)
		}
	}
}

// TestSearchMethods checks that a search takes the methods that it tries by default.
func TestSearchMethods(t *testing.T) {
	names := SearchMethods()
	if err := CheckMethods(names); err != nil {
		t.Error(err)
	}
	if slices.Contains(names, "update-norm") || !slices.Contains(names, learnedResidual) ||
		!slices.Contains(names, "unipc3") || len(names) != len(allMethods())-4 {
		t.Errorf("%v", names)
	}
	for _, bad := range []string{"paper-v1", "steps=20", "fora:n=2", ""} {
		if CheckMethods([]string{bad}) == nil {
			t.Errorf("no error for %q", bad)
		}
	}
}

func TestFewer(t *testing.T) {
	for _, c := range []struct {
		plan  int
		speed float64
		want  int
	}{{50, 2, 25}, {50, 2.4, 21}, {250, 3, 83}, {4, 100, 1}} {
		if got := fewer(c.plan, c.speed); got != c.want {
			t.Errorf("%d steps at %gx: %d, want %d", c.plan, c.speed, got, c.want)
		}
	}
}

func TestSplitPolicies(t *testing.T) {
	for _, c := range []struct {
		text string
		want []string
	}{
		{"", nil},
		{" ", nil},
		{"fora", []string{"fora"}},
		{"fora,,toca,", []string{"fora", "toca"}},
		{"fora,toca", []string{"fora", "toca"}},
		{"fora toca", []string{"fora", "toca"}},
		{"taylorseer:n=2,order=1,fora:n=3", []string{"taylorseer:n=2,order=1", "fora:n=3"}},
		{"fora:n=3,steps=20", []string{"fora:n=3", "steps=20"}},
		{
			"taylorseer:n=2,order=1@unipc3:logsnr19,fora",
			[]string{"taylorseer:n=2,order=1@unipc3:logsnr19", "fora"},
		},
		{"steps=unipc3:logsnr19,steps=20", []string{"steps=unipc3:logsnr19", "steps=20"}},
		{" tome:ratio=0.5 toca:n=2,ratio=0.1 ", []string{"tome:ratio=0.5", "toca:n=2,ratio=0.1"}},
	} {
		t.Run(c.text, func(t *testing.T) {
			if got := SplitPolicies(c.text); !slices.Equal(got, c.want) {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

// TestLadderOf checks the settings that methods must have among theirs: TokenCache its defaults,
// SpeCa both its forms, TaylorSeer of higher orders more than one warm-up.
func TestLadderOf(t *testing.T) {
	for _, c := range []struct {
		method string
		has    func(p reuse.Policy) bool
	}{
		{"tokencache", func(p reuse.Policy) bool { return p.String() == reuse.NewTokenCache().String() }},
		{"speca", func(p reuse.Policy) bool { return !p.(*reuse.SpeCa).Reject }},
		{"speca-paper", func(p reuse.Policy) bool { return p.(*reuse.SpeCa).Reject && p.(*reuse.SpeCa).Min == 0 }},
		{"taylorseer3", func(p reuse.Policy) bool { return p.(*reuse.TaylorSeer).Warmup == 4 }},
		{"taylorseer3-warm", func(p reuse.Policy) bool { return p.(*reuse.TaylorSeer).Warmup == 8 }},
		{"taylorseer4", func(p reuse.Policy) bool { return p.(*reuse.TaylorSeer).Warmup == 5 }},
		{"taylorseer4-warm", func(p reuse.Policy) bool { return p.(*reuse.TaylorSeer).Warmup == 10 }},
	} {
		t.Run(c.method, func(t *testing.T) {
			for _, text := range methodOf(c.method).ladder {
				p, err := reuse.Parse(text)
				if err != nil {
					t.Fatal(err)
				}
				if c.has(p) {
					return
				}
			}
			t.Errorf("none of %q", methodOf(c.method).ladder)
		})
	}
}
