package redundancy

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/tokencache/tokencache/dit"
	"github.com/tokencache/tokencache/reuse"
	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
)

// TestHeld checks what tokens that come first hold: of five tokens, each is a fifth.
func TestHeld(t *testing.T) {
	var h held
	h.add([]float32{2, 8, 0, 4, 6}, []int32{1, 4, 3, 0, 2})
	for _, c := range []struct{ of, want float64 }{
		{0, 0}, {0.05, 0.1}, {0.1, 0.2}, {0.2, 0.4}, {0.25, 0.4 + 0.3/4}, {0.4, 0.7}, {0.6, 0.9}, {0.8, 1}, {1, 1},
		{0.225, 0.4 + 0.3/8}, // between two points of the grid
	} {
		if got := h.share(c.of); math.Abs(got-c.want) > 1e-9 {
			t.Errorf("the first %g hold %g, want %g", c.of, got, c.want)
		}
	}
	h.add([]float32{20, 0, 0, 0, 0}, []int32{1, 2, 3, 4, 0}) // the last holds all
	if got := h.share(0.8); got != 0.5 {
		t.Errorf("with another sample the first 0.8 hold %g, want 0.5", got)
	}
	if got := new(held).share(0.5); got != 0 {
		t.Errorf("without error: %g, want 0", got)
	}
}

// TestNewton checks that forecasts of order n are exact for polynomials of degree n, at unequal
// distances.
func TestNewton(t *testing.T) {
	at := []int32{2, 9, 0, 7}
	for n := 1; n <= len(at); n++ {
		for degree := range n {
			got := 0.0
			for i, q := range at[:n] {
				got += float64(newton(at[:n], i, 13)) * math.Pow(float64(q), float64(degree))
			}
			if want := math.Pow(13, float64(degree)); math.Abs(got-want) > 1e-4*want {
				t.Errorf("%d terms, degree %d: %g, want %g", n, degree, got, want)
			}
		}
	}
}

// TestEvenly checks that as many I-steps as asked for are 0, 1 and evenly spread from there.
func TestEvenly(t *testing.T) {
	for _, c := range []struct {
		n, steps int
		want     []int
	}{
		{2, 8, []int{0, 1}},
		{3, 8, []int{0, 1, 4}},
		{4, 8, []int{0, 1, 3, 5}},
		{8, 8, []int{0, 1, 2, 3, 4, 5, 6, 7}},
		{2, 3, []int{0, 1}},
		{10, 50, []int{0, 1, 6, 11, 17, 22, 28, 33, 39, 44}},
		{26, 50, []int{0, 1, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30, 32, 34, 36, 38, 40, 42, 44, 46, 48}},
	} {
		if got := places(evenly(c.n, c.steps)); !slices.Equal(got, c.want) {
			t.Errorf("%d of %d: %v, want %v", c.n, c.steps, got, c.want)
		}
	}
}

// TestEvenlyCounts checks the number of I-steps for all that there can be.
func TestEvenlyCounts(t *testing.T) {
	for _, steps := range []int{3, 5, 8, 10, 50, 250} {
		for n := 2; n <= steps; n++ {
			if got := len(places(evenly(n, steps))); got != n {
				t.Errorf("%d of %d: %d I-steps", n, steps, got)
			}
		}
	}
}

func places(full []bool) []int {
	var list []int
	for p, is := range full {
		if is {
			list = append(list, p)
		}
	}
	return list
}

// TestProbeEnds checks a probe against policies that are known: computing all tokens, or examining
// only, is the uncached run bit for bit; computing none is TokenCache's forecast of whole steps.
func TestProbeEnds(t *testing.T) {
	for _, arch := range []dit.Arch{dit.ArchDiT, dit.ArchMDTv2} {
		m := model(t, arch)
		first, second := inputs(m, 2, 1, 0.1), inputs(m, 1, 2, 0.1)
		plain := run(t, m, reuse.None{}, first, second)
		full := evenly(4, 8)
		for name, p := range map[string]*probe{
			"examined": {full: full, order: 1, tally: newTally(m.Depth, 8)},
			"all":      {full: full, order: 2, share: 1, rank: ByError},
		} {
			for i, out := range run(t, m, p, first, second) {
				if !slices.Equal(out, plain[i]) {
					t.Errorf("%s, %s: step %d is not the uncached model's", arch, name, i)
				}
			}
		}
		known := run(t, m, parse(t, "tokencache:ratio=0,order=1,steps=list,i=0+1+3+5"), first, second)
		for i, out := range run(t, m, &probe{full: full, order: 1}, first, second) {
			for j, v := range out {
				// The sum of forecasts against the forecast of the sum, of numbers around 1.
				if math.Abs(float64(v-known[i][j])) > 1e-4 {
					t.Fatalf("%s: step %d: %g, want %g", arch, i, v, known[i][j])
				}
			}
		}
	}
}

// TestTally checks the tallied errors against their definition, from updates that are all kept, for
// the oracle and for the ranking by norm.
func TestTally(t *testing.T) {
	m := model(t, dit.ArchMDTv2)
	batches := inputs(m, 2, 3, 0.1)
	p := &probe{full: evenly(4, 8), order: 1, tally: newTally(m.Depth, 8)} // I-steps 0, 1, 3, 5
	run(t, m, p, batches)
	updates := keptUpdates(t, m, batches)
	n, d := m.Tokens(), m.Hidden
	for step, past := range map[int][2]int{2: {1, 0}, 4: {3, 1}, 6: {5, 3}, 7: {5, 3}} {
		for block := range m.Depth {
			all, oracle, norm := 0.0, 0.0, 0.0
			for s := range 2 {
				errors, changes := make([]float64, n), make([]float64, n)
				for i := range n {
					for j := range d {
						at := (s*n+i)*d + j
						a, b := float64(updates[past[0]][block][at]), float64(updates[past[1]][block][at])
						slope := (a - b) / float64(past[0]-past[1])
						e := float64(updates[step][block][at]) - a - slope*float64(step-past[0])
						errors[i], changes[i] = errors[i]+e*e, changes[i]+(a-b)*(a-b)
					}
					all += errors[i]
				}
				oracle += topSum(errors, errors, n/4)
				norm += topSum(errors, changes, n/4)
			}
			for by, want := range map[Ranking]float64{ByError: oracle / all, ByNorm: norm / all} {
				h := p.tally.of[by][block*8+step]
				if got := h.share(0.25); math.Abs(got-want) > 1e-3 {
					t.Errorf("step %d, block %d: the first quarter by %s holds %g, want %g", step, block, by, got, want)
				}
			}
		}
	}
	if h := p.tally.sum(ByError, func(_, step int) bool { return p.full[step] }); h.all != 0 {
		t.Errorf("errors of %g at I-steps", h.all)
	}
	if random := p.tally.sum(ByChance, everywhere).share(0.5); math.Abs(random-0.5) > 0.1 {
		t.Errorf("a random half holds %g, want about a half", random)
	}
}

// topSum sums the values of the count indices that come first by another list.
func topSum(values, by []float64, count int) float64 {
	index := make([]int, len(values))
	for i := range index {
		index[i] = i
	}
	slices.SortFunc(index, func(a, b int) int {
		switch {
		case by[a] > by[b]:
			return -1
		case by[a] < by[b]:
			return 1
		}
		return a - b
	})
	sum := 0.0
	for _, i := range index[:count] {
		sum += values[i]
	}
	return sum
}

// TestOracle checks that a closed run keeps the tokens whose forecasts miss most, in each block,
// given what the run itself has made so far.
func TestOracle(t *testing.T) {
	m := model(t, dit.ArchDiT)
	n, d := m.Tokens(), m.Hidden
	position, checked := -1, 0
	past := make([][]known, m.Depth*n) // of each block and token
	var computed []float32
	p := &probe{full: evenly(4, 8), order: 1, share: 0.25, rank: ByError}
	observed := reuse.Observe(p, reuse.Observer{
		Begin:    func(*tensor.Graph, *seam.Batch, []int) { position++ },
		Computed: func(_ seam.Site, _, y *seam.Tokens) { computed = slices.Clone(y.X.Flat()) },
		Site: func(site seam.Site, in, out *seam.Tokens) {
			best, worst, count := math.Inf(1), 0.0, 0
			for i := range n {
				of := &past[site.Block*n+i]
				update := make([]float32, d)
				for j := range update {
					update[j] = computed[i*d+j] - in.X.Row(i)[j]
				}
				kept := slices.Equal(out.X.Row(i), computed[i*d:(i+1)*d])
				if !p.full[position] {
					e := forecastError(*of, position, update)
					if kept {
						best, count = min(best, e), count+1
					} else {
						worst = max(worst, e)
					}
				}
				if kept {
					*of = append(*of, known{position, update})
				}
			}
			if p.full[position] {
				return
			}
			if count != n/4 || best < worst*(1-1e-3) {
				t.Errorf("step %d, block %d: %d tokens kept, of errors from %g; others up to %g",
					position, site.Block, count, best, worst)
			}
			checked++
		},
	})
	run(t, m, observed, inputs(m, 1, 4, 0.1))
	if checked != 4*m.Depth {
		t.Errorf("%d blocks checked, want %d", checked, 4*m.Depth)
	}
}

// known is what was computed of a token at a position.
type known struct {
	position int
	update   []float32
}

// forecastError returns the squared error of the line through the last two updates.
func forecastError(past []known, position int, update []float32) float64 {
	a, b := past[len(past)-1], past[len(past)-2]
	age := float32(position-a.position) / float32(a.position-b.position)
	sum := 0.0
	for j, v := range update {
		sum += sq(v - a.update[j] - age*(a.update[j]-b.update[j]))
	}
	return sum
}

// TestHalvesTogether checks that guidance's two halves of an image keep the same tokens, and that
// others are chosen on their own.
func TestHalvesTogether(t *testing.T) {
	m := model(t, dit.ArchDiT)
	batches := inputs(m, 3, 5, 0.1)
	for _, b := range batches {
		b.Unconditional = []int{2, -1, -1}
	}
	var computed []float32
	others := 0
	p := &probe{full: evenly(4, 8), order: 1, share: 0.25, rank: ByError}
	run(t, m, reuse.Observe(p, reuse.Observer{
		Computed: func(_ seam.Site, _, y *seam.Tokens) { computed = slices.Clone(y.X.Flat()) },
		Site: func(_ seam.Site, _, out *seam.Tokens) {
			n, d := m.Tokens(), m.Hidden
			kept := func(sample, i int) bool {
				row := sample*n + i
				return slices.Equal(out.X.Row(row), computed[row*d:(row+1)*d])
			}
			for i := range n {
				if kept(0, i) != kept(2, i) {
					t.Errorf("token %d is kept in one half alone", i)
				}
				if kept(0, i) != kept(1, i) {
					others++
				}
			}
		},
	}), batches)
	if others == 0 {
		t.Error("another image always keeps the same tokens")
	}
}

func TestAdvice(t *testing.T) {
	number := func(x float64) *float64 { return &x }
	with := func(oracle, best float64) *Tokens {
		study := &Tokens{
			Ratio:      0.25,
			ISteps:     18,
			BreakEven:  number(0.63),
			OracleGain: number(oracle),
			Rankings: []RankingResult{
				{Ranking: ByError, Gain: number(oracle)},
				{Ranking: ByLastError, Gain: number(best)},
				{Ranking: ByNorm, Gain: number(best - 1)},
				{Ranking: ByChance, Gain: number(best - 2)},
			},
			tally: newTally(1, 50),
		}
		study.tally.of[ByError][3].add([]float32{4, 3, 2, 1}, []int32{0, 1, 2, 3})
		return study
	}
	none := with(0, 0)
	none.BreakEven = nil
	for _, c := range []struct {
		t    *Tokens
		want string
	}{
		{with(-1.5, -2), "Do not compute tokens at P-steps, compute more steps: the worst 25 % of a block's tokens " +
			"hold 40 % of the squared forecast error, where 63 % is needed, and even an oracle that computes the worst " +
			"ones stays 1.5 dB below more I-steps at the same cost."},
		{with(2, 1), "ranked by last-error they gain 1.0 dB over more I-steps at the same cost, of the 2.0 dB"},
		{with(2, -1), "an oracle gains 2.0 dB over more I-steps at the same cost, but ranked by last-error they lose 1.0 dB."},
		{none, "At 18 I-steps of 50 so few steps are left"},
	} {
		if got := c.t.Advice(); !strings.Contains(got, c.want) {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
	}
}
