package report

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/tokencache/tokencache/diffusion"
	"github.com/tokencache/tokencache/eval"
	"github.com/tokencache/tokencache/reuse"
)

// equalExample has two settings of method a, of which the slower at 2x is the better one, a solver
// that is better to the solution with more steps and to the uncached images with fewer, and one that
// is never fast enough.
func equalExample() *Results {
	cell := func(method, policy string, speed, nfe, uncached, converged float64, solver bool) Cell {
		c := Cell{
			Method:        method,
			Policy:        policy,
			Speedup:       speed,
			NFE:           nfe,
			Cost:          reuse.Cost{FLOPs: int64(100 * nfe), UncachedFLOPs: 5000},
			PSNRUncached:  &eval.Fidelity{Mean: uncached, P5: uncached - 2, Min: uncached - 4},
			PSNRConverged: &eval.Fidelity{Mean: converged, P5: converged - 2, Min: converged - 4},
			FrechetRatio:  &eval.Estimate{Value: 1.02, Low: 1.01, High: 1.03},
			Frechet:       about(0.51, 0.1),
			Agreement:     about(0.881, 0.01),
		}
		if solver {
			c.Sampling = &diffusion.Sampling{}
		}
		return c
	}
	base := cell(Uncached, "none", 1, 50, 100, 38, false)
	base.Frechet = about(0.5, 0.1)
	return &Results{
		Model:  "m",
		Speeds: []float64{2},
		Cells: []Cell{
			base,
			cell("a", "a:n=2", 1.9, 26.1, 49, 37, false),
			cell("a", "a:n=3", 2.5, 18, 43, 36, false),
			cell("a", "a:n=4", 3.1, 14, 44, 35, false), // better than a slower one
			cell("solver", "steps=s:25", 2.0, 25, 38, 52, true),
			cell("solver", "steps=s:15", 3.3, 15, 40, 45, true),
			cell("slow", "slow:n=9", 1.7, 28, 60, 38, false),
			{Method: "failed", Policy: "failed", Error: "no"},
		},
	}
}

func TestEqual(t *testing.T) {
	r := equalExample()
	policies := func(l Level) []string {
		var list []string
		for _, c := range l.Cells {
			list = append(list, c.Policy)
		}
		for _, lack := range l.Lacks {
			list = append(list, "lacks "+lack.Has.Policy)
		}
		return list
	}
	for name, c := range map[string]struct {
		levels []Level
		target float64
		want   []string
	}{
		"time": {r.EqualTime(), 2, []string{"a:n=4", "steps=s:25", "lacks slow:n=9"}},
		// 26.1 are 4 % more than 25, and 28 are 12 %.
		"nfe": {r.EqualNFE(), 25, []string{"a:n=2", "steps=s:25", "lacks slow:n=9"}},
	} {
		if len(c.levels) != 1 || c.levels[0].Target != c.target || !slices.Equal(policies(c.levels[0]), c.want) {
			t.Errorf("%s: %+v, want %q at %g", name, c.levels, c.want, c.target)
		}
	}
	r.Speeds = nil
	if len(r.EqualTime())+len(r.EqualNFE()) != 0 {
		t.Error("levels of no speed")
	}
	r.Cells[1].Wanted = 3
	if got := r.EqualTime(); len(got) != 1 || got[0].Target != 3 {
		t.Errorf("%+v, want the speed that a cell was made for", got)
	}
}

// TestEqualNeedsNFE checks that results of before there was NFE have no table of it.
func TestEqualNeedsNFE(t *testing.T) {
	r := equalExample()
	for i := range r.Cells {
		r.Cells[i].NFE = 0
	}
	if r.EqualNFE() != nil || len(r.equalTables()) != 1 {
		t.Error("a table of NFE that is not known")
	}
}

func TestWriteTables(t *testing.T) {
	r := equalExample()
	r.Cells[3].Disturbed = "busy"
	r.Axes = []AxesTable{{
		Speed:    2,
		Computed: []string{"uniform"},
		Rest:     []string{"held", "Taylor", "lost", "other"},
		Cells:    [][]AxesCell{{{Policy: "a:n=2"}, {Why: "not expressible"}, {Policy: "failed"}, {Why: "not expressible"}}},
	}}
	var b strings.Builder
	if err := r.WriteTables(&b); err != nil {
		t.Fatal(err)
	}
	text := strings.Join(strings.Fields(b.String()), " ")
	for _, want := range []string{
		"## At equal wall-clock time",
		"### At least 2 times as fast as the uncached model",
		"| uncached | none | 50.0 | 1.00× | 1.00× | – | 38.0 / 36.0 / 34.0 | 0.5 | – | 88.1 % |",
		"| a | a:n=4 | 14.0 | 3.57× | 3.10×† | 44.0 / 42.0 / 40.0 | 35.0 / 33.0 / 31.0 | 0.51 | +2.0 % (+1.0 to +3.0) | 88.1 % |",
		"No setting there: slow (at most 1.70×, slow:n=9).",
		"### At most 25.0 evaluations (and 5 % more)",
		"No setting there: slow (at least 28.0, slow:n=9).",
		"† measured on a busy machine (of 1)",
		"--retime",
		"| uniform | 49.0 / 37.0 (26.1) | (a) | – | (a) |",
		"(a) not expressible.",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
	widths := map[int]bool{}
	for line := range strings.SplitSeq(b.String(), "\n") {
		if strings.HasPrefix(line, "| a ") || strings.HasPrefix(line, "| method") && len(widths) == 0 {
			widths[len([]rune(line))] = true
		}
	}
	if len(widths) == 0 {
		t.Error("no rows")
	}
}

// TestEqualFile checks that results.json has the tables, by the names of cells.
func TestEqualFile(t *testing.T) {
	b, err := json.Marshal(equalExample())
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		EqualTime []levelFile `json:"equal_time"`
		EqualNFE  []levelFile `json:"equal_nfe"`
	}
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	if len(got.EqualTime) != 1 || got.EqualTime[0].Cells[0] != (cellName{"a", "a:n=4", ""}) ||
		len(got.EqualNFE) != 1 || got.EqualNFE[0].Lacks[0] != (cellName{"slow", "slow:n=9", ""}) {
		t.Errorf("%+v", got)
	}
}

// TestMarkDisturbed checks that a time that FLOPs contradict is marked, next to what was noticed
// before, once, and that failures are told from speeds that a method does not have.
func TestMarkDisturbed(t *testing.T) {
	r := equalExample()
	r.Cells[2].Speedup = 3    // of 2.78 times fewer FLOPs
	r.Cells[3].Speedup = 3.72 // of 3.57
	r.Cells[4].Speedup, r.Cells[4].Disturbed = 2.2, "busy"
	r.Cells = append(r.Cells, Cell{Method: "slow", Error: "not at 9x", Unreachable: true})
	for range 2 {
		r.MarkDisturbed()
	}
	for i, want := range []string{"", "", "3.00× as fast with 2.78× fewer FLOPs", "", "busy; 2.20× as fast with 2.00× fewer FLOPs"} {
		if got := r.Cells[i].Disturbed; got != want {
			t.Errorf("cell %d: %q, want %q", i, got, want)
		}
	}
	if f := r.Failed(); len(f) != 1 || f[0].Method != "failed" {
		t.Errorf("failed: %+v", f)
	}
}
