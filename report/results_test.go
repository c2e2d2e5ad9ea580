package report

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/tokencache/tokencache/diffusion"
	"github.com/tokencache/tokencache/eval"
	"github.com/tokencache/tokencache/reuse"
)

// dBAbout is the fidelity of images whose PSNR is v in the mean.
func dBAbout(v float64) *eval.Fidelity { return &eval.Fidelity{Mean: v, P5: v - 2, Min: v - 5} }

func about(v, half float64) *eval.Estimate {
	return &eval.Estimate{Value: v, Low: v - half, High: v + half}
}

// example is a comparison of a few methods at four speeds, with one cell that failed and text that
// HTML must not take for markup.
func example() *Results {
	r := &Results{
		Model:       "fashion <script>",
		Fingerprint: "0123",
		Sampling: diffusion.Sampling{
			Sampler:       "ddim",
			Steps:         50,
			Guidance:      1.5,
			GuidancePower: 2,
		},
		Seed:         7,
		Count:        256,
		Batch:        8,
		Threads:      2,
		Level:        "avx512",
		Processor:    "a processor",
		Date:         "2026-11-24",
		Command:      "tokencache compare --out x",
		Features:     "fashion",
		Reference:    "test",
		ReferenceN:   10000,
		RealFrechet:  about(0.5, 0.1),
		Converged:    &Converged{Images: 256, Evaluations: 197, Error: 2e-3, PSNRHalf: dBAbout(80)},
		Calibrations: []Calibration{{"SmoothCache", 75, "tokencache calibrate --method smoothcache"}},
	}
	r.Cells = append(r.Cells, Cell{
		Method:        Uncached,
		Policy:        "none",
		Images:        256,
		Cost:          reuse.Cost{FLOPs: 1000, UncachedFLOPs: 1000, ISteps: 50},
		NFE:           50,
		Speedup:       1,
		PSNRUncached:  &eval.Fidelity{Mean: 100, P5: 100, Min: 100, Identical: 256},
		PSNRConverged: dBAbout(37.5),
		Frechet:       about(0.6, 0.05),
		Agreement:     about(0.88, 0.01),
		StepMillis:    []float64{10, 10, 10},
	})
	for m, method := range []string{"TokenCache", "fewer steps", "FORA & others"} {
		for i, speed := range []float64{1.5, 2, 3, 4} {
			r.Cells = append(r.Cells, exampleCell(m, i, method, speed))
		}
	}
	r.Cells = append(r.Cells, Cell{Method: "DuCa", Policy: "duca:n=2", Wanted: 2, Error: "cache memory <too small>"})
	return r
}

// exampleCell is cell i of method m. PSNR falls by 3 dB for each times of speed.
func exampleCell(m, i int, method string, speed float64) Cell {
	policy := fmt.Sprintf("m%d:n=%d", m, i)
	var sampling *diffusion.Sampling
	if method == "fewer steps" {
		policy = fmt.Sprintf("steps=dpm++:logsnr%d", 50/(i+2))
		sampling = &diffusion.Sampling{Sampler: "dpm++", Steps: 50 / (i + 2), Spacing: "logsnr", Guidance: 1.5}
	}
	worse := 1 + 0.01*float64((m+1)*i)
	return Cell{
		Method: method,
		Policy: policy,
		Wanted: speed,
		Images: 256,
		Cost: reuse.Cost{
			ISteps:        20,
			PSteps:        30,
			HalfSteps:     4 * m,
			FLOPs:         int64(1000 / speed),
			UncachedFLOPs: 1000,
			CacheBytes:    int64(m * i * 1e6),
		},
		NFE:                 50 / speed,
		WallSeconds:         10 / speed,
		UncachedWallSeconds: 10,
		Speedup:             speed * (1 - 0.08*float64(m)),
		Sampling:            sampling,
		Best:                sampling != nil,
		PSNRUncached:        dBAbout(50 - float64(8*m) - 3*speed),
		PSNRConverged:       dBAbout(40 - float64(m) - speed),
		SSIM:                about(0.9, 0.01),
		Frechet:             about(0.6*worse, 0.05),
		FrechetRatio:        about(worse, 0.02),
		Agreement:           about(0.88-0.002*float64(m*i), 0.01),
		StepMillis:          []float64{10, 2, 2},
		StepFLOPs:           []int64{300, 0, 30},
		UncachedStepMillis:  9,
		UncachedStepFLOPs:   300,
	}
}

func sheet() []SheetRow {
	var images []image.Image
	for i := range 4 {
		m := image.NewGray(image.Rect(0, 0, 28, 28))
		for p := range m.Pix {
			m.Pix[p] = uint8(60*i + p%28)
		}
		images = append(images, m)
	}
	return []SheetRow{{Title: "uncached", Images: images}, {Title: "TokenCache", Note: "2x", Images: images}}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// written writes the example with an overlay and returns the folder.
func written(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "out")
	var overlay bytes.Buffer
	m := image.NewGray(image.Rect(0, 0, 4, 4))
	m.SetGray(1, 1, color.Gray{200})
	if err := png.Encode(&overlay, m); err != nil {
		t.Fatal(err)
	}
	if err := example().Write(dir, sheet(), Image{"tokens", overlay.Bytes()}); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestWrite checks that all files are written, with the numbers that they were given.
func TestWrite(t *testing.T) {
	dir, r := written(t), example()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	want := []string{
		"frontier-converged.png", "frontier-converged.svg", "frontier-frechet.png", "frontier-frechet.svg",
		"frontier-psnr.png", "frontier-psnr.svg",
		"memory.png", "memory.svg", "pareto-narrow.svg", "pareto.png", "pareto.svg",
		PageFile, "results.csv", ResultsFile, "sheet.png",
		"step-time.png", "step-time.svg", TablesFile,
	}
	if !slices.Equal(names, want) {
		t.Errorf("files %q, want %q", names, want)
	}
	var again *Results
	if err := json.Unmarshal(read(t, filepath.Join(dir, ResultsFile)), &again); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(again, r) {
		t.Errorf("read back: %+v, want %+v", again, r)
	}
	lines, err := csv.NewReader(bytes.NewReader(read(t, filepath.Join(dir, "results.csv")))).ReadAll()
	if err != nil || len(lines) != 1+len(r.Cells) {
		t.Fatalf("CSV of %d lines (%v), want %d", len(lines), err, 1+len(r.Cells))
	}
	last := lines[len(lines)-1]
	at := func(line []string, column string) string { return line[slices.Index(lines[0], column)] }
	for _, want := range []struct {
		line          []string
		column, value string
	}{
		{lines[1], "psnr_uncached_identical", "256"},
		{lines[1], "psnr_converged_mean", "37.5"},
		{lines[2], "method", "TokenCache"},
		{lines[2], "speedup", "1.5"},
		{lines[2], "psnr_uncached_mean", "45.5"},
		{lines[2], "psnr_uncached_min", "40.5"},
		{lines[2], "psnr_converged_p5", "36.5"},
		{lines[2], "best_solver", "false"},
		{lines[6], "best_solver", "true"},
		{last, "psnr_uncached_mean", ""},
		{last, "error", "cache memory <too small>"},
	} {
		if got := at(want.line, want.column); got != want.value {
			t.Errorf("CSV, %s of %s: %q, want %q", want.column, want.line[1], got, want.value)
		}
	}
}

// TestHalfSteps checks that half steps are in every form of the report.
func TestHalfSteps(t *testing.T) {
	r := example()
	r.Cells = r.Cells[:2]
	r.Cells[1].HalfSteps, r.Cells[1].NFE = 13, 25
	dir := t.TempDir()
	if err := r.Write(dir, nil); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{
		ResultsFile:   `"half_steps": 13,`,
		"results.csv": ",13,false,25,,\n",
		PageFile:      "13 of them half",
	} {
		if !strings.Contains(string(read(t, filepath.Join(dir, file))), want) {
			t.Errorf("%s: no %q", file, want)
		}
	}
}

// TestPage checks that the page refers to nothing outside of itself and that what users named is
// escaped.
func TestPage(t *testing.T) {
	page := string(read(t, filepath.Join(written(t), PageFile)))
	for _, want := range []string{
		"fashion &lt;script&gt;", "FORA &amp; others", "cache memory &lt;too small&gt;",
		"Nearly the same images", "Balanced", "Least memory",
		"PSNR to uncached", "PSNR to converged", "min 40.5", "best solver",
		"of the first 256 images, by 197 evaluations; half of them give the same within 80.0 dB, 75.0 for the worst",
		"data:image/png;base64,", "prefers-color-scheme: dark", `name="viewport"`, "<svg",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page has no %q", want)
		}
	}
	for _, refused := range []string{
		"http://", "https://", "src=\"/", "@import", "ZgotmplZ", "NaN", "fashion <script>", "%!", "&lt;svg",
	} {
		if strings.Contains(page, refused) {
			t.Errorf("the page has %q", refused)
		}
	}
	checkBalanced(t, page)
	for _, s := range example().series() {
		if n := strings.Count(page, `data-g="`+s.id()+`"`); n != 3 {
			t.Errorf("%s is in %d legends, want 3", s.Name, n)
		}
	}
}

// checkBalanced checks that every element that needs it is closed, in order.
func checkBalanced(t *testing.T, page string) {
	t.Helper()
	unparsed := regexp.MustCompile(`(?s)<script>.*?</script>|<style>.*?</style>|<!DOCTYPE[^>]*>`)
	page = unparsed.ReplaceAllString(page, "")
	void := map[string]bool{"meta": true, "img": true, "br": true}
	var open []string
	for _, tag := range regexp.MustCompile(`<(/?)([a-zA-Z0-9]+)[^>]*?(/?)>`).FindAllStringSubmatch(page, -1) {
		switch name := tag[2]; {
		case void[name], tag[3] == "/":
		case tag[1] == "":
			open = append(open, name)
		case len(open) == 0 || open[len(open)-1] != name:
			t.Fatalf("%s closes, but open are %q", tag[0], open)
		default:
			open = open[:len(open)-1]
		}
	}
	if len(open) != 0 {
		t.Errorf("never closed: %q", open)
	}
}

// TestOverhead checks that time apart from arithmetic is told for full steps and for the others,
// and only of policies that waste some.
func TestOverhead(t *testing.T) {
	r := example()
	for i := range r.Cells {
		cell := &r.Cells[i]
		v, shown := cell.overheadView()
		if weak := cell.Method == "FORA & others"; shown != weak {
			t.Errorf("%s %s of efficiency %.2f: shown %v", cell.Method, cell.Policy, cell.Efficiency(), shown)
		}
		if !shown {
			continue
		}
		if want := "1 of 10.0 ms, arithmetic 9.00 ms"; v.Full != want {
			t.Errorf("full steps: %q, want %q", v.Full, want)
		}
		if want := "2 of 2.00 ms, arithmetic 0.45 ms"; v.Other != want {
			t.Errorf("other steps: %q, want %q", v.Other, want)
		}
		if want := "22 % of the time in the other steps"; !strings.HasPrefix(v.Most, want) {
			t.Errorf("most: %q, want %q", v.Most, want)
		}
	}
}

func TestFrontier(t *testing.T) {
	r := &Results{Cells: []Cell{
		{Method: Uncached, Policy: "none", Speedup: 1, PSNRUncached: dBAbout(99)},
		{Method: "a", Speedup: 2, PSNRUncached: dBAbout(40)},
		{Method: "b", Speedup: 2.5, PSNRUncached: dBAbout(39)},
		{Method: "c", Speedup: 2.4, PSNRUncached: dBAbout(38)}, // b is faster and better
		{Method: "d", Speedup: 3, PSNRUncached: dBAbout(41)},   // above a and b
		{Method: "e", Speedup: 4, Error: "no"},
		{Method: "f", Speedup: 5},
	}}
	if got := r.Frontier(PSNR); !slices.Equal(got, []int{4}) {
		t.Errorf("frontier %v, want cell 4", got)
	}
	r.Cells[4].Speedup = 1.5
	if got := r.Frontier(PSNR); !slices.Equal(got, []int{4, 1, 2}) {
		t.Errorf("frontier %v, want cells 4, 1, 2", got)
	}
}

func TestAdvice(t *testing.T) {
	r := example()
	a := r.Advice()
	if len(a) != 4 {
		t.Fatalf("%d pieces of advice, want 4", len(a))
	}
	// PSNR of TokenCache is 50-3*speed: 41 dB at 3x is the last of 40 dB or more.
	if cell := a[0].Cell; cell == nil || cell.Speedup != 3 || cell.Method != "TokenCache" {
		t.Errorf("nearly the same: %+v, want TokenCache at 3x", a[0].Cell)
	}
	want := "tokencache generate --policy m0:n=2 --model 'fashion <script>' --sampler ddim --steps 50 " +
		"--guidance 1.5 --guidance-power 2 --seed 7 --batch 8"
	if a[0].Command != want {
		t.Errorf("command %s, want %s", a[0].Command, want)
	}
	if cell := a[1].Cell; cell == nil || cell.Speedup != 4 || cell.Method != "TokenCache" {
		t.Errorf("balanced: %+v, want TokenCache at 4x", a[1].Cell)
	}
	loss := strings.Join(a[1].Loss, "; ")
	for _, want := range []string{
		"PSNR to the uncached images 38.0 dB, 33.0 for the worst",
		"PSNR to the converged solution 36.0 dB, 31.0 for the worst, against 37.5 of the uncached model",
		"+3.0 %, +1.0 to +5.0", "class agreement 88.0 % against 88.0 %, not told apart at 256 images",
	} {
		if !strings.Contains(loss, want) {
			t.Errorf("losses %s, want %s", loss, want)
		}
	}
	fewer := r.generate(&r.Cells[5])
	if !strings.Contains(fewer, "--policy none") || !strings.Contains(fewer, "--sampler dpm++ --steps logsnr25") {
		t.Errorf("fewer steps: %s", fewer)
	}
	for i := range r.Cells {
		r.Cells[i].Frechet = nil
	}
	balanced := r.Advice()[1]
	if balanced.Cell != nil || balanced.Why != "The uncached model's Fréchet distance was not measured." ||
		!strings.Contains(balanced.Command, "--policy none") {
		t.Errorf("without a distance: %+v", balanced)
	}
}

// TestMiddle checks that of each method the cell nearest to the median speed-up is taken.
func TestMiddle(t *testing.T) {
	var got []float64
	for _, cell := range example().Middle() {
		got = append(got, cell.Wanted)
	}
	// The speed-ups are 1.5 2 3 4, 1.38 1.84 2.76 3.68 and 1.26 1.68 2.52 3.36: their median is
	// 2.26.
	if want := []float64{2, 2, 3}; !slices.Equal(got, want) {
		t.Errorf("cells at %v, want %v", got, want)
	}
}

// TestWriteRefuses checks that numbers that no measurement gives are refused with a reason, before
// anything is written.
func TestWriteRefuses(t *testing.T) {
	for _, c := range []struct {
		name string
		cell Cell
		want string
	}{
		{"no method", Cell{Policy: "x"}, "method is empty"},
		{"negative", Cell{Method: "a", WallSeconds: -1}, "wall_s is -1: want no negative number"},
		{"negative step", Cell{Method: "a", StepMillis: []float64{1, -2}}, "step_ms is -2"},
		{"no number", Cell{Method: "a", PSNRConverged: dBAbout(math.NaN())},
			"psnr_converged mean is NaN: want a finite number"},
		{"too large", Cell{Method: "a", Frechet: &eval.Estimate{High: 1e300}}, "frechet high is 1e+300: want a finite number"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "out")
			err := (&Results{Cells: []Cell{c.cell}}).Write(dir, nil)
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), dir) {
				t.Errorf("%v, want %q and the folder", err, c.want)
			}
			if _, err := os.Stat(dir); err == nil {
				t.Error("the folder was made")
			}
		})
	}
}

// TestNoConverged checks that results without a converged solution say why, and have no chart of
// it.
func TestNoConverged(t *testing.T) {
	r := example()
	const why = "no converged solution: sampler ddpm adds noise at every step"
	r.Converged = &Converged{None: why}
	for i := range r.Cells {
		r.Cells[i].PSNRConverged = nil
	}
	dir := t.TempDir()
	if err := r.Write(dir, nil); err != nil {
		t.Fatal(err)
	}
	page := string(read(t, filepath.Join(dir, PageFile)))
	if !strings.Contains(page, "N"+why[1:]+", so that there is no PSNR to one.") {
		t.Error("the page does not say why")
	}
	if strings.Contains(page, "PSNR to the converged solution against speed-up") {
		t.Error("the page has a chart of it")
	}
	if file := string(read(t, filepath.Join(dir, ResultsFile))); strings.Contains(file, "psnr_converged") ||
		!strings.Contains(file, `"none": "`+why) {
		t.Error("results.json has a PSNR to it, or does not say why there is none")
	}
}
