package comparison

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// fakeLab has the outcomes of every rung of its arms, by title, and a clock of its own.
type fakeLab struct {
	onFew, onMany, unseen map[string][]float64 // PSNR of each rung
	fewer                 map[string][]float64 // FLOPs
	wall                  map[string][]float64 // speed
	broken                map[string]error

	few                       int
	trials, clocked, verified []string
	foretold                  []string
	said                      []string
	work                      float64
}

func (l *fakeLab) trial(_ context.Context, a *arm, at, images int) (outcome, error) {
	err := l.broken[a.title]
	if err == nil {
		err = l.broken[fmt.Sprintf("%s %d", a.title, at)]
	}
	if err != nil {
		return outcome{}, err
	}
	l.trials = append(l.trials, fmt.Sprintf("%s %d %d", a.title, at, images))
	psnr := l.onMany
	if images == l.few && l.onFew[a.title] != nil {
		psnr = l.onFew
	}
	return outcome{fewer: l.fewer[a.title][at], psnr: psnr[a.title][at]}, nil
}

func (l *fakeLab) clock(_ context.Context, a *arm, at int) (float64, error) {
	l.clocked = append(l.clocked, fmt.Sprintf("%s %d", a.title, at))
	return l.speed(a, at), nil
}

func (l *fakeLab) speed(a *arm, at int) float64 {
	if wall := l.wall[a.title]; wall != nil {
		return wall[at]
	}
	return l.fewer[a.title][at]
}

func (l *fakeLab) verify(_ context.Context, a *arm, at int) (outcome, error) {
	l.verified = append(l.verified, fmt.Sprintf("%s %d", a.title, at))
	psnr := l.unseen[a.title]
	if psnr == nil {
		psnr = l.onMany[a.title]
	}
	return outcome{fewer: l.fewer[a.title][at], speed: l.speed(a, at), psnr: psnr[at]}, nil
}

func (l *fakeLab) say(format string, args ...any) {
	l.said = append(l.said, fmt.Sprintf(format, args...))
}

func (l *fakeLab) passed(work float64) { l.work += work }

func (l *fakeLab) ahead(_ context.Context, next []*pick, images int) error {
	for _, p := range next {
		l.foretold = append(l.foretold, fmt.Sprintf("%s %d %d", p.title, p.at, images))
	}
	return nil
}

// arms returns the arms of the lab in the order of their titles.
func (l *fakeLab) arms() []*arm {
	var list []*arm
	for title, rungs := range l.fewer {
		a := &arm{title: title}
		for i := range rungs {
			a.rungs = append(a.rungs, rung{policy: fmt.Sprintf("%s:%d", title, i)})
		}
		list = append(list, a)
	}
	slices.SortFunc(list, func(a, b *arm) int { return strings.Compare(a.title, b.title) })
	return list
}

// hunting runs a hunt of a target in the lab.
func (l *fakeLab) hunting(t *testing.T, target string) (*hunt, *pick) {
	t.Helper()
	parsed, err := ParseTarget(target)
	if err != nil {
		t.Fatal(err)
	}
	l.few = 4
	h := &hunt{lab: l, target: parsed, few: l.few, many: 16}
	best, err := h.run(t.Context(), l.arms(), func(*arm) float64 { return 1 })
	if err != nil {
		t.Fatal(err)
	}
	for _, trial := range l.foretold { // what is made ahead must be needed
		if !slices.Contains(l.trials, trial) && len(l.broken) == 0 {
			t.Errorf("trial %s was announced and not made", trial)
		}
	}
	return h, best
}

// TestNextSetting is the fault that the search had: of two methods the nearer one missed the speed
// by the clock, and the other won instead of the nearer one's next setting.
func TestNextSetting(t *testing.T) {
	lab := func() *fakeLab {
		return &fakeLab{
			fewer:  map[string][]float64{"near": {2, 3, 3.4, 4.1}, "far": {2, 3, 4, 5}},
			wall:   map[string][]float64{"near": {1.9, 2.7, 2.95, 3.6}, "far": {2, 2.95, 3.9, 4.9}},
			onMany: map[string][]float64{"near": {45, 39.2, 37, 33}, "far": {35, 28.9, 25, 20}},
		}
	}
	l := lab()
	_, best := l.hunting(t, "speed=3x")
	if best == nil || best.title != "near" || best.at != 3 {
		t.Fatalf("found %+v, want the nearer method's last setting", best)
	}
	for _, want := range []string{"near 1", "near 2", "near 3", "far 1", "far 2"} {
		if !slices.Contains(l.clocked, want) {
			t.Errorf("the clock saw %q, not %s", l.clocked, want)
		}
	}

	l = lab()
	l.wall["near"][3] = 2.99 // not 3
	h, best := l.hunting(t, "speed=3x")
	if best == nil || best.title != "far" || best.at != 2 {
		t.Errorf("found %+v, want the only method that is fast enough", best)
	}
	if len(h.slow) != 1 || !strings.HasPrefix(h.slow[0], "near cannot reach 3x: its fastest setting computes 4.10") ||
		!strings.Contains(h.slow[0], "2.99 times as fast in wall-clock") {
		t.Errorf("cannot reach the speed: %q", h.slow)
	}

	l = lab()
	h, best = l.hunting(t, "speed=8x")
	if best != nil || len(h.slow) != 2 || len(l.clocked) > 0 {
		t.Errorf("at 8x: found %+v, too slow are %q, timed %q; no setting has so few FLOPs", best, h.slow, l.clocked)
	}
}

// TestHunt checks the search for what is good: which setting of which arm wins, and which
// candidates unseen images are spent on.
func TestHunt(t *testing.T) {
	for _, c := range []struct {
		name, target string
		lab          fakeLab
		want         string // arm and rung; "": none
		verified     []string
	}{
		{
			name:   "the fastest that is good",
			target: "psnr>=40",
			lab: fakeLab{
				fewer:  map[string][]float64{"a": {1.5, 2, 3, 4}, "b": {2, 3.5, 5}},
				onMany: map[string][]float64{"a": {50, 45, 41, 38}, "b": {44, 40, 36}},
			},
			want:     "b 1",
			verified: []string{"b 1"},
		},
		{
			name:   "many images correct few, both ways",
			target: "psnr>=40",
			lab: fakeLab{
				fewer:  map[string][]float64{"a": {1.5, 2, 3, 4}, "b": {1.5, 2, 3, 4, 5}},
				onFew:  map[string][]float64{"a": {50, 45, 41, 40}, "b": {45, 43, 39, 38, 35}},
				onMany: map[string][]float64{"a": {50, 39, 38, 37}, "b": {45, 43, 42, 41, 36}},
			},
			want:     "b 3",
			verified: []string{"b 3"},
		},
		{
			name:   "the clock decides, not FLOPs",
			target: "psnr>=40",
			lab: fakeLab{
				fewer:  map[string][]float64{"a": {3}, "b": {3.2}},
				wall:   map[string][]float64{"a": {2.9}, "b": {2.5}},
				onMany: map[string][]float64{"a": {42}, "b": {42}},
			},
			want:     "a 0",
			verified: []string{"a 0"},
		},
		{
			name:   "the next candidate where unseen images miss",
			target: "psnr>=40",
			lab: fakeLab{
				fewer:  map[string][]float64{"a": {2, 4}, "b": {3}},
				onMany: map[string][]float64{"a": {44, 40.1}, "b": {42}},
				unseen: map[string][]float64{"a": {44, 39.9}, "b": {41}},
			},
			want:     "b 0",
			verified: []string{"a 1", "b 0"},
		},
		{
			name:   "the slower setting where unseen images miss",
			target: "psnr>=40",
			lab: fakeLab{
				fewer:  map[string][]float64{"a": {3, 4}, "b": {2}},
				onMany: map[string][]float64{"a": {44, 40.1}, "b": {42}},
				unseen: map[string][]float64{"a": {43, 39.9}},
			},
			want:     "a 0",
			verified: []string{"a 1", "a 0"},
		},
		{
			name:   "none on unseen images",
			target: "psnr>=40",
			lab: fakeLab{
				fewer:  map[string][]float64{"a": {3}, "b": {2}},
				onMany: map[string][]float64{"a": {41}, "b": {42}},
				unseen: map[string][]float64{"a": {39}, "b": {38}},
			},
			verified: []string{"a 0", "b 0"},
		},
		{
			name:   "both bounds",
			target: "psnr>=40,speed=2x",
			lab: fakeLab{
				fewer:  map[string][]float64{"a": {2, 3}, "b": {1.5, 2.5}, "c": {2.2}},
				onMany: map[string][]float64{"a": {43, 40}, "b": {60, 50}, "c": {39}},
			},
			want:     "b 1",
			verified: []string{"b 1"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			h, best := c.lab.hunting(t, c.target)
			got := ""
			if best != nil {
				got = fmt.Sprintf("%s %d", best.title, best.at)
			}
			if got != c.want || !slices.Equal(c.lab.verified, c.verified) {
				t.Errorf("found %q, verified %q; want %q and %q", got, c.lab.verified, c.want, c.verified)
			}
			if best == nil && len(h.missed) == 0 {
				t.Error("nothing says what was near")
			}
			if c.lab.work < float64(len(c.lab.fewer)) {
				t.Errorf("work of %g is told, of %d arms", c.lab.work, len(c.lab.fewer))
			}
		})
	}
}

// TestHuntIsCheap checks that a long ladder is not climbed step by step, that arms which cannot
// lead cost few trials, and that what fails ends its own arm alone.
func TestHuntIsCheap(t *testing.T) {
	l := &fakeLab{fewer: map[string][]float64{}, onMany: map[string][]float64{}, broken: map[string]error{
		"broken": errors.New("no such thing"),
	}}
	for n := range 20 {
		title := fmt.Sprintf("arm %02d", n)
		for i := range 32 {
			l.fewer[title] = append(l.fewer[title], 1+float64(i)/8)
			l.onMany[title] = append(l.onMany[title], 60-float64(i)-float64(n))
		}
	}
	l.fewer["broken"], l.onMany["broken"] = []float64{2}, []float64{50}
	_, best := l.hunting(t, "psnr>=40")
	if best == nil || best.title != "arm 00" || best.at != 20 {
		t.Fatalf("found %+v", best)
	}
	first, late := 0, 0
	for _, trial := range l.trials {
		switch {
		case strings.HasPrefix(trial, "arm 00") && strings.HasSuffix(trial, " 4"):
			first++
		case strings.HasPrefix(trial, "arm 10"):
			late++
		}
	}
	if first > 6 || late > 3 {
		t.Errorf("%d trials of the best arm on few images, %d of one that cannot lead; want 6 and 3 at most", first, late)
	}
	if len(l.verified) != 1 || len(l.clocked) > finalists {
		t.Errorf("verified %q, timed %q", l.verified, l.clocked)
	}
	if !slices.ContainsFunc(l.said, func(s string) bool { return s == "broken is left out: no such thing" }) {
		t.Errorf("said %q", l.said)
	}
}

// TestHuntGoesOn checks that candidates behind the first ones are tried where all of these fail, on
// many images, by the clock or on unseen images, and how many are tried on unseen images at most.
func TestHuntGoesOn(t *testing.T) {
	lab := func() *fakeLab {
		l := &fakeLab{
			fewer:  map[string][]float64{},
			wall:   map[string][]float64{},
			onMany: map[string][]float64{},
			unseen: map[string][]float64{},
		}
		for n := range 12 {
			title := fmt.Sprintf("arm %02d", n)
			l.fewer[title], l.wall[title] = []float64{3}, []float64{3}
			l.onMany[title] = []float64{50 - float64(n)/10}
		}
		return l
	}
	l := lab()
	for n := range 11 {
		l.wall[fmt.Sprintf("arm %02d", n)] = []float64{2.9}
	}
	h, best := l.hunting(t, "speed=3x")
	if best == nil || best.title != "arm 11" || len(h.slow) != 11 {
		t.Errorf("found %+v, too slow are %q; want the only one that is fast enough", best, h.slow)
	}
	l = lab()
	for n := range 12 {
		l.unseen[fmt.Sprintf("arm %02d", n)] = []float64{40}
	}
	l.unseen["arm 06"] = []float64{46}
	if _, best = l.hunting(t, "psnr>=45,speed=2x"); best == nil || best.title != "arm 06" || len(l.verified) != 7 {
		t.Errorf("found %+v, verified %q; want the seventh", best, l.verified)
	}
	l.unseen["arm 06"], l.verified = []float64{40}, nil
	if _, best = l.hunting(t, "psnr>=45,speed=2x"); best != nil || len(l.verified) != maxVerified {
		t.Errorf("found %+v, verified %q; want none of %d", best, l.verified, maxVerified)
	}
}

// TestHuntEnds checks that the end of the context ends a search at once.
func TestHuntEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	l := &fakeLab{fewer: map[string][]float64{"a": {2}}, onMany: map[string][]float64{"a": {50}}}
	l.broken = map[string]error{"a": ctx.Err()}
	h := &hunt{lab: l, target: Target{psnr: 40}, few: 4, many: 16}
	if _, err := h.run(ctx, l.arms(), func(*arm) float64 { return 1 }); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want that it was cancelled", err)
	}
}

// TestCalibratedArms checks that few policies are calibrated: where a speed is wanted the first is
// for it, and where quality is bounded the first is for the slowest speed that would lead.
func TestCalibratedArms(t *testing.T) {
	for _, c := range []struct {
		target string
		first  string
		want   int // rung
	}{{"psnr>=40", "b 2 4", 3}, {"speed=2x", "b 0 4", 1}} {
		l := &fakeLab{
			fewer:  map[string][]float64{"a": {1.5, 2, 3}, "b": {1.95, 2, 3, 4, 5}},
			onMany: map[string][]float64{"a": {45, 41, 30}, "b": {60, 59, 48, 42, 30}},
			few:    4,
		}
		arms := l.arms()
		arms[1].calibrated = "learned"
		for i := range arms[1].rungs {
			arms[1].rungs[i].speed = l.fewer["b"][i]
		}
		target, err := ParseTarget(c.target)
		if err != nil {
			t.Fatal(err)
		}
		h := &hunt{lab: l, target: target, few: 4, many: 16}
		l.fewer["a"][1] = 2.5
		l.broken = map[string]error{"b 4": errors.New("too fast")} // which ends its ladder, not the arm
		best, err := h.run(t.Context(), arms, func(*arm) float64 { return 1 })
		if err != nil || best == nil || best.title != "b" || best.at != c.want {
			t.Fatalf("%s: found %+v (%v), want rung %d of b", c.target, best, err, c.want)
		}
		i := slices.IndexFunc(l.trials, func(s string) bool { return s[0] == 'b' })
		if l.trials[i] != c.first {
			t.Errorf("%s: the first calibration is %s of %q, want %s", c.target, l.trials[i], l.trials, c.first)
		}
	}
}

// TestOnePerFamily checks that of a family's candidates with equal FLOPs the one of highest PSNR stays,
// in the place of the first.
func TestOnePerFamily(t *testing.T) {
	candidate := func(family string, fewer, psnr float64) *pick {
		return &pick{arm: &arm{family: family}, outcome: outcome{fewer: fewer, psnr: psnr}}
	}
	a, b, c := candidate("unipc3", 4, 40), candidate("dpm++", 4, 41), candidate("unipc3", 4, 42)
	d, e, f := candidate("", 3, 50), candidate("", 3, 50), candidate("unipc3", 3, 60)
	if got, want := onePerFamily([]*pick{a, b, c, d, e, f}), []*pick{c, b, d, e}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
