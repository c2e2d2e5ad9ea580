package report

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/tokencache/tokencache/reuse"
)

// crossed is a comparison of two policies in three number formats, of which one cell failed.
func crossed() *Results {
	r := &Results{Model: "m", DType: "f32", Count: 4}
	cell := func(method, policy, dtype string, speed, fewer, psnr float64) Cell {
		c := Cell{
			Method:        method,
			Policy:        policy,
			DType:         dtype,
			Images:        4,
			Cost:          reuse.Cost{FLOPs: 1000, UncachedFLOPs: int64(1000 * fewer)},
			Speedup:       speed,
			PSNRUncached:  dBAbout(psnr),
			PSNRConverged: dBAbout(psnr - 10),
			Frechet:       about(0.6, 0.05),
		}
		if method != Uncached || dtype != "" {
			c.FrechetRatio = about(1.01, 0.02)
		}
		return c
	}
	r.Cells = []Cell{
		cell(Uncached, "none", "", 1, 1, 100),
		cell(Uncached, "none", "bf16", 1.8, 1, 60),
		cell(Uncached, "none", "int8", 2.9, 1, 45),
		cell("FORA", "fora:n=2", "", 1.9, 2, 40),
		cell("FORA", "fora:n=2", "bf16", 3.4, 2, 39.5),
		{Method: "FORA", Policy: "fora:n=2", DType: "int8", Error: "broken"},
		cell("FORA", "fora:n=3", "", 2.8, 3, 35),
		cell("FORA", "fora:n=3", "bf16", 5.1, 3, 34.9),
		cell("FORA", "fora:n=3", "int8", 8, 3, 34.2),
	}
	return r
}

// TestPrecisionTable checks the crossing as text: a row for each policy, a column for each number
// format, and of the base no PSNR to itself.
func TestPrecisionTable(t *testing.T) {
	got := crossed().precisionTable()
	if want := []string{"policy", "f32", "bf16", "int8"}; !reflect.DeepEqual(got.Head, want) {
		t.Errorf("head %q, want %q", got.Head, want)
	}
	want := [][]string{
		{"uncached", "1.00×; – / 90.0", "1.80×; 60.0 / 50.0; +1.0 %, −1.0 to +3.0",
			"2.90×; 45.0 / 35.0; +1.0 %, −1.0 to +3.0"},
		{"FORA: fora:n=2", "1.90×; 40.0 / 30.0; +1.0 %, −1.0 to +3.0", "3.40×; 39.5 / 29.5; +1.0 %, −1.0 to +3.0", "–"},
		{"FORA: fora:n=3", "2.80×; 35.0 / 25.0; +1.0 %, −1.0 to +3.0", "5.10×; 34.9 / 24.9; +1.0 %, −1.0 to +3.0",
			"8.00×; 34.2 / 24.2; +1.0 %, −1.0 to +3.0"},
	}
	if !reflect.DeepEqual(got.Rows, want) {
		t.Errorf("rows\n%q\nwant\n%q", got.Rows, want)
	}
	var b strings.Builder
	if err := crossed().WriteTables(&b); err != nil || !strings.Contains(b.String(), "## Cache × precision") {
		t.Errorf("%v; tables\n%s", err, b.String())
	}
	one := crossed()
	one.Cells = one.Cells[:1]
	if got := one.precisionTable(); got != nil {
		t.Errorf("of one format: %+v", got)
	}
}

// TestPrecisionFile checks that results.json says the number format of every cell, has the
// crossing, and is read back as it was.
func TestPrecisionFile(t *testing.T) {
	r := crossed()
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Cells []struct {
			Method string `json:"method"`
			DType  string `json:"dtype"`
		} `json:"cells"`
		Precision []precisionFile `json:"cache_x_precision"`
	}
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	for i, c := range got.Cells {
		want := r.Cells[i].DType
		if want == "" {
			want = "f32"
		}
		if c.DType != want || c.Method != r.Cells[i].Method {
			t.Errorf("cell %d: %+v, want %s in %s", i, c, r.Cells[i].Method, want)
		}
	}
	if len(got.Precision) != 3 || got.Precision[2].Cells["int8"].Speedup != 8 ||
		got.Precision[2].Cells["int8"].PSNRUncached.Mean != 34.2 || len(got.Precision[1].Cells) != 2 {
		t.Errorf("crossing %+v", got.Precision)
	}
	var again Results
	if err := json.Unmarshal(b, &again); err != nil || !reflect.DeepEqual(again.Cells, r.Cells) {
		t.Errorf("%v; read back %+v", err, again.Cells)
	}
}

// TestPrecisionCells checks that cells of other number formats are series of their own, that the
// uncached model is one of them there, and that time which the format saves is no sign of a busy
// machine.
func TestPrecisionCells(t *testing.T) {
	r := crossed()
	r.MarkDisturbed()
	for i := range r.Cells {
		if r.Cells[i].Disturbed != "" {
			t.Errorf("cell %d: %s", i, r.Cells[i].Disturbed)
		}
	}
	var names []string
	for _, s := range r.series() {
		names = append(names, s.Name)
	}
	want := []string{"uncached, bf16", "uncached, int8", "FORA", "FORA, bf16", "FORA, int8"}
	if !reflect.DeepEqual(names, want) {
		t.Errorf("series %q, want %q", names, want)
	}
	if got := r.generate(&r.Cells[4]); !strings.Contains(got, "--policy fora:n=2 --model m --dtype bf16") {
		t.Errorf("command %s", got)
	}
	if got := r.generate(nil); strings.Contains(got, "--dtype") {
		t.Errorf("command %s", got)
	}
	if p := r.precisionPanels(); len(p) != 2 || p[0].of(&r.Cells[0]) != nil || p[1].of(&r.Cells[0]) == nil {
		t.Errorf("panels %+v", p)
	}
	if err := r.Write(t.TempDir(), nil); err != nil {
		t.Error(err)
	}
}
