package report

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

func about(v, half float64) *Interval { return &Interval{v, v - half, v + half} }

// example is a comparison of a few methods at four speeds, with one cell that could not be made and text that HTML must not take for its own.
func example() *Comparison {
	c := &Comparison{
		Model: "fashion <script>", Fingerprint: "0123", Sampler: "ddim", Steps: "50", Guidance: 1.5, Seed: 1, Count: 256, Batch: 8, Threads: 2, Level: "avx512",
		Processor: "a processor", Date: "2026-11-24", Command: "tokencache compare --out x", Features: "fashion", Reference: "test", ReferenceN: 10000,
		RealFrechet: about(0.5, 0.1), Calibrations: []Calibration{{"SmoothCache", 75, "tokencache calibrate --method smoothcache"}},
	}
	c.Cells = append(c.Cells, Cell{Method: Uncached, Policy: "none", Images: 256, Speedup: 1, FLOPs: 1000, UncachedFLOPs: 1000, ISteps: 50,
		Frechet: about(0.6, 0.05), Agreement: about(0.88, 0.01), StepMillis: []float64{10, 10, 10}})
	for m, method := range []string{"TokenCache", "fewer steps", "FORA & others"} {
		for i, speed := range []float64{1.5, 2, 3, 4} {
			policy := fmt.Sprintf("m%d:n=%d", m, i)
			if method == "fewer steps" {
				policy = fmt.Sprintf("steps=%d", 50/(i+2))
			}
			c.Cells = append(c.Cells, Cell{
				Method: method, Policy: policy, Wanted: speed, Images: 256, WallSeconds: 10 / speed, UncachedWallSeconds: 10, Speedup: speed * (1 - 0.08*float64(m)),
				FLOPs: int64(1000 / speed), UncachedFLOPs: 1000, CacheBytes: int64(m * i * 1e6), ISteps: 20, PSteps: 30, PSNR: about(50-float64(8*m)-3*speed, 1), SSIM: about(0.9, 0.01),
				Frechet: about(0.6*(1+0.01*float64((m+1)*i)), 0.05), FrechetRatio: about(1+0.01*float64((m+1)*i), 0.02), Agreement: about(0.88-0.002*float64(m*i), 0.01),
				StepMillis: []float64{10, 2, 2}, StepFLOPs: []int64{300, 0, 30}, UncachedStepMillis: 9, UncachedStepFLOPs: 300,
			})
		}
	}
	c.Cells = append(c.Cells, Cell{Method: "DuCa", Policy: "duca:n=2", Wanted: 2, Error: "cache memory <too small>"})
	return c
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

// TestWrite holds that everything is written, that the page refers to nothing outside of itself and that what users named is escaped.
func TestWrite(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "out")
	c := example()
	var overlay bytes.Buffer
	m := image.NewGray(image.Rect(0, 0, 4, 4))
	m.SetGray(1, 1, color.Gray{200})
	if err := png.Encode(&overlay, m); err != nil {
		t.Fatal(err)
	}
	if err := c.Write(dir, sheet(), Picture{"tokens", overlay.Bytes()}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{ResultsFile, "results.csv", "sheet.png", PageFile, "frontier-psnr.svg", "frontier-psnr.png", "frontier-frechet.svg", "frontier-frechet.png", "step-time.svg", "step-time.png", "memory.svg", "memory.png"} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
	if m := readPNG(t, filepath.Join(dir, "frontier-psnr.png")); m.Bounds().Dx() < 1000 {
		t.Errorf("chart of %v", m.Bounds())
	}
	b, err := os.ReadFile(filepath.Join(dir, PageFile))
	if err != nil {
		t.Fatal(err)
	}
	page := string(b)
	for _, want := range []string{"fashion &lt;script&gt;", "FORA &amp; others", "cache memory &lt;too small&gt;", "Nearly the same pictures", "Balanced", "Least memory", "data:image/png;base64,", "prefers-color-scheme: dark", `name="viewport"`} {
		if !strings.Contains(page, want) {
			t.Errorf("the page has no %q", want)
		}
	}
	for _, refused := range []string{"http://", "https://", "src=\"/", "@import", "ZgotmplZ", "NaN", "fashion <script>", "%!"} {
		if strings.Contains(page, refused) {
			t.Errorf("the page has %q", refused)
		}
	}
	balanced(t, page)

	again, err := ReadComparison(filepath.Join(dir, ResultsFile))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(again, c) {
		t.Errorf("read back: %+v, want %+v", again, c)
	}
	table, err := os.Open(filepath.Join(dir, "results.csv"))
	if err != nil {
		t.Fatal(err)
	}
	defer table.Close()
	lines, err := csv.NewReader(table).ReadAll()
	if err != nil || len(lines) != 1+len(c.Cells) {
		t.Fatalf("CSV of %d lines (%v), want %d", len(lines), err, 1+len(c.Cells))
	}
	if lines[2][0] != "TokenCache" || lines[2][6] != "1.5" || lines[len(lines)-1][31] != "cache memory <too small>" {
		t.Errorf("CSV: %q, ... %q", lines[2], lines[len(lines)-1])
	}
}

// balanced holds that every tag that needs it is closed, in order.
func balanced(t *testing.T, page string) {
	page = regexp.MustCompile(`(?s)<script>.*?</script>|<style>.*?</style>|<!DOCTYPE[^>]*>`).ReplaceAllString(page, "")
	void := map[string]bool{"meta": true, "img": true, "br": true}
	var open []string
	for _, tag := range regexp.MustCompile(`<(/?)([a-zA-Z0-9]+)[^>]*>`).FindAllStringSubmatch(page, -1) {
		switch name := tag[2]; {
		case void[name]:
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

// TestOverhead holds that time beside arithmetic is told of full steps and of the others, and of policies alone that waste some.
func TestOverhead(t *testing.T) {
	c := example()
	for i := range c.Cells {
		cell := &c.Cells[i]
		v, shown := cell.overheadView()
		if weak := cell.Method == "FORA & others"; shown != weak {
			t.Errorf("%s %s of efficiency %.2f: shown %v", cell.Method, cell.Policy, cell.Efficiency(), shown)
		}
		if want := "1 of 10.0 ms, arithmetic 9.00 ms"; shown && v.Full != want {
			t.Errorf("full steps: %q, want %q", v.Full, want)
		}
		if want := "2 of 2.00 ms, arithmetic 0.45 ms"; shown && v.Other != want {
			t.Errorf("other steps: %q, want %q", v.Other, want)
		}
		if want := "22 % of the time in the other steps"; shown && !strings.HasPrefix(v.Most, want) {
			t.Errorf("most: %q, want %q", v.Most, want)
		}
	}
}

func TestFrontier(t *testing.T) {
	c := &Comparison{Cells: []Cell{
		{Method: Uncached, Policy: "none", Speedup: 1, PSNR: about(99, 0)},
		{Method: "a", Speedup: 2, PSNR: about(40, 1)},
		{Method: "b", Speedup: 2.5, PSNR: about(39, 1)},
		{Method: "c", Speedup: 2.4, PSNR: about(38, 1)}, // b is faster and better
		{Method: "d", Speedup: 3, PSNR: about(41, 1)},   // above a and b
		{Method: "e", Speedup: 4, Error: "no"},
		{Method: "f", Speedup: 5},
	}}
	if got := c.Frontier(PSNR); !reflect.DeepEqual(got, []int{4}) {
		t.Errorf("frontier %v, want cell 4", got)
	}
	c.Cells[4].Speedup = 1.5
	if got := c.Frontier(PSNR); !reflect.DeepEqual(got, []int{4, 1, 2}) {
		t.Errorf("frontier %v, want cells 4, 1, 2", got)
	}
}

func TestAdvice(t *testing.T) {
	c := example()
	a := c.Advice()
	if len(a) != 4 {
		t.Fatalf("%d pieces of advice, want 4", len(a))
	}
	// PSNR of TokenCache is 50-3*speed: 41 dB at 3x is the last of 40 dB or more.
	if cell := a[0].Cell; cell == nil || cell.Speedup != 3 || cell.Method != "TokenCache" {
		t.Errorf("nearly the same: %+v, want TokenCache at 3x", a[0].Cell)
	}
	if a[0].Command != "tokencache generate --policy m0:n=2 --model 'fashion <script>' --sampler ddim --steps 50 --cfg 1.5 --batch 8" {
		t.Errorf("command %s", a[0].Command)
	}
	if cell := a[1].Cell; cell == nil || cell.Speedup != 4 || cell.Method != "TokenCache" {
		t.Errorf("balanced: %+v, want TokenCache at 4x", a[1].Cell)
	}
	if text := strings.Join(a[1].Loss, "; "); !strings.Contains(text, "+3.0 %, +1.0 to +5.0") || !strings.Contains(text, "class agreement 88.0 % against 88.0 %, not told apart at 256 images") {
		t.Errorf("losses %s", text)
	}
	for i := range c.Cells {
		c.Cells[i].Frechet = nil
	}
	if a := c.Advice(); a[1].Cell != nil || a[1].Why != "The uncached model's Fréchet distance was not measured." || !strings.Contains(a[1].Command, "--policy none") {
		t.Errorf("without a distance: %+v", a[1])
	}
	if fewer := c.generate(&c.Cells[5]); !strings.Contains(fewer, "--policy none") || !strings.Contains(fewer, "--steps 25") {
		t.Errorf("fewer steps: %s", fewer)
	}
}

// TestReadComparison holds that files that are no results are refused with a reason.
func TestReadComparison(t *testing.T) {
	for text, want := range map[string]string{
		"null":                       "want an object",
		"{}{}":                       "more than one",
		`{"colour": 1}`:              "unknown field",
		`{"cells":[{"policy":"x"}]}`: "method is empty",
		`{"cells":[{"method":"a","policy":"x","wall_s":-1}]}`:                                "want no negative",
		`{"cells":[{"method":"a","policy":"x","frechet":{"value":1e300,"low":0,"high":0}}]}`: "want a finite number",
	} {
		path := filepath.Join(t.TempDir(), ResultsFile)
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadComparison(path); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v, want %q and the file's name", text, err, want)
		}
	}
	if _, err := ReadComparison(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("no file: no error")
	}
}
