package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"

	"github.com/tokencache/tokencache/internal/atomicfile"
)

// Uncached is the Method of the cell that every other one is compared with: all of the model, at every step.
const Uncached = "uncached"

// Comparison is what compare measured.
type Comparison struct {
	Model         string        `json:"model"`
	Fingerprint   string        `json:"fingerprint"`
	Sampler       string        `json:"sampler"`
	Steps         string        `json:"steps"`
	Guidance      float64       `json:"guidance"`
	Seed          uint64        `json:"seed"`
	Count         int           `json:"count"`
	Batch         int           `json:"batch"`
	Threads       int           `json:"threads"`
	Level         string        `json:"cpu_level"`
	Processor     string        `json:"processor"`
	Date          string        `json:"date"`
	Command       string        `json:"command"`
	Features      string        `json:"features"`
	Reference     string        `json:"reference"`
	ReferenceN    int           `json:"reference_n"`
	RealFrechet   *Interval     `json:"real_frechet,omitempty"`
	RealAgreement *Interval     `json:"real_agreement,omitempty"`
	Cells         []Cell        `json:"cells"`
	Calibrations  []Calibration `json:"calibrations,omitempty"`
}

// Interval is a value with its 95 % interval.
type Interval struct {
	Value float64 `json:"value"`
	Low   float64 `json:"low"`
	High  float64 `json:"high"`
}

// Calibration is a one-time cost.
type Calibration struct {
	Method  string  `json:"method"`
	Seconds float64 `json:"seconds"`
	Command string  `json:"command"`
}

// Cell is a policy that was measured.
type Cell struct {
	Method              string    `json:"method"`
	Policy              string    `json:"policy"`
	Wanted              float64   `json:"wanted,omitempty"`
	Images              int       `json:"images"`
	WallSeconds         float64   `json:"wall_s"`
	UncachedWallSeconds float64   `json:"uncached_wall_s"`
	Speedup             float64   `json:"speedup"`
	FLOPs               int64     `json:"flops"`
	UncachedFLOPs       int64     `json:"uncached_flops"`
	CacheBytes          int64     `json:"cache_bytes"`
	ISteps              int       `json:"i_steps"`
	PSteps              int       `json:"p_steps"`
	StepsTaken          int       `json:"steps_taken"`
	PSNR                *Interval `json:"psnr_db,omitempty"`
	SSIM                *Interval `json:"ssim,omitempty"`
	Frechet             *Interval `json:"frechet,omitempty"`
	FrechetRatio        *Interval `json:"frechet_ratio,omitempty"` // to the uncached images', over the same resampled images
	Agreement           *Interval `json:"class_agreement,omitempty"`
	StepMillis          []float64 `json:"step_ms,omitempty"`    // of each step of a batch
	StepFLOPs           []int64   `json:"step_flops,omitempty"` // likewise
	UncachedStepMillis  float64   `json:"uncached_step_ms,omitempty"`
	UncachedStepFLOPs   int64     `json:"uncached_step_flops,omitempty"`
	Error               string    `json:"error,omitempty"`
	Note                string    `json:"note,omitempty"`
}

// Names of files in a comparison's folder.
const (
	ResultsFile = "results.json"
	PageFile    = "report.html"
)

// FLOPReduction is how many times fewer operations than the uncached model a cell needed, or 0 if that is not known.
func (c *Cell) FLOPReduction() float64 {
	if c.FLOPs <= 0 || c.UncachedFLOPs <= 0 {
		return 0
	}
	return float64(c.UncachedFLOPs) / float64(c.FLOPs)
}

// Efficiency is how much of the saved arithmetic became saved time, Speedup/FLOPReduction, or 0 if that is not known.
func (c *Cell) Efficiency() float64 {
	if r := c.FLOPReduction(); r > 0 {
		return c.Speedup / r
	}
	return 0
}

// made reports whether a cell is one of a policy and has numbers.
func (c *Cell) made() bool { return c.Method != Uncached && c.Error == "" && c.Speedup > 0 }

// baseline returns the cell of the uncached model, or nil.
func (c *Comparison) baseline() *Cell {
	for i := range c.Cells {
		if c.Cells[i].Method == Uncached && c.Cells[i].Error == "" {
			return &c.Cells[i]
		}
	}
	return nil
}

// Measure is a quality that cells are compared by.
type Measure int

const (
	PSNR    Measure = iota // dB, higher is better
	Frechet                // lower is better
)

// of returns a cell's quality, or nil if it was not measured.
func (m Measure) of(c *Cell) *Interval {
	if m == PSNR {
		return c.PSNR
	}
	return c.Frechet
}

// better reports whether quality a is better than b.
func (m Measure) better(a, b float64) bool {
	if m == PSNR {
		return a > b
	}
	return a < b
}

// Frontier returns the indices, by rising speed-up, of the cells with a policy that no other one dominates: none is at least as fast and as good, and one of the
// two better. Intervals play no part in it.
func (c *Comparison) Frontier(m Measure) []int {
	var all, front []int
	for i := range c.Cells {
		if cell := &c.Cells[i]; cell.made() && m.of(cell) != nil {
			all = append(all, i)
		}
	}
	for _, i := range all {
		if !c.dominated(i, all, m) {
			front = append(front, i)
		}
	}
	c.bySpeed(front)
	return front
}

func (c *Comparison) dominated(i int, by []int, m Measure) bool {
	s, q := c.Cells[i].Speedup, m.of(&c.Cells[i]).Value
	for _, j := range by {
		os, oq := c.Cells[j].Speedup, m.of(&c.Cells[j]).Value
		if os >= s && !m.better(q, oq) && (os > s || m.better(oq, q)) {
			return true
		}
	}
	return false
}

// Picture is one with a title that the report shows as it is.
type Picture struct {
	Title string
	PNG   []byte
}

// Write makes the folder if need be and writes all of the report into it: results.json and results.csv, the charts that there are numbers for (frontier-psnr,
// frontier-frechet, step-time and memory, each as .svg and .png), sheet.png if there are pictures, and report.html, which contains all of them and refers to no other
// file. Each file is written whole or not at all, the results first.
func (c *Comparison) Write(dir string, sheet []SheetRow, pictures ...Picture) error {
	if err := c.check(); err != nil {
		return fmt.Errorf("report %s: %w", dir, err)
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	if err := atomicfile.Write(filepath.Join(dir, ResultsFile), c.writeJSON); err != nil {
		return err
	}
	if err := atomicfile.Write(filepath.Join(dir, "results.csv"), c.writeCSV); err != nil {
		return err
	}
	if err := c.writeCharts(dir); err != nil {
		return err
	}
	if err := writeSheet(filepath.Join(dir, "sheet.png"), sheet); err != nil {
		return err
	}
	return atomicfile.Write(filepath.Join(dir, PageFile), func(w io.Writer) error { return c.writeHTML(w, sheet, pictures) })
}

func (c *Comparison) writeJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(c)
}

// maxResults is the most bytes that a file of results may have; a thousand cells of a thousand timed steps are less.
const maxResults = 32 << 20

// ReadComparison reads the results of an earlier comparison. Fields that it does not know are refused: they would be lost if the results were written again.
func ReadComparison(path string) (*Comparison, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err // names the path
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxResults+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	if len(data) > maxResults {
		return nil, fmt.Errorf("read %s: more than %d MiB: not a file of results", path, maxResults>>20)
	}
	c, err := parseComparison(data)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return c, nil
}

func parseComparison(data []byte) (*Comparison, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	var c *Comparison
	if err := d.Decode(&c); err != nil {
		return nil, err
	}
	if c == nil {
		return nil, errors.New("null: want an object of results")
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("more than one JSON value: want one object of results")
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	return c, nil
}

// check refuses numbers that no measurement gives, which JSON could not hold or the charts not show.
func (c *Comparison) check() error {
	numbers := []named{{"guidance", c.Guidance}}
	numbers = append(numbers, c.RealFrechet.named("real_frechet")...)
	numbers = append(numbers, c.RealAgreement.named("real_agreement")...)
	if err := finite(numbers); err != nil {
		return err
	}
	for i := range c.Cells {
		if err := c.Cells[i].check(); err != nil {
			return fmt.Errorf("cell %d (%s %s): %w", i, c.Cells[i].Method, c.Cells[i].Policy, err)
		}
	}
	for _, cal := range c.Calibrations {
		if err := finite([]named{{"seconds", cal.Seconds}}); err != nil {
			return fmt.Errorf("calibration of %s: %w", cal.Method, err)
		}
	}
	return nil
}

func (c *Cell) check() error {
	if c.Method == "" {
		return errors.New("method is empty: want the name of a family of policies")
	}
	numbers := []named{
		{"wall_s", c.WallSeconds}, {"uncached_wall_s", c.UncachedWallSeconds}, {"speedup", c.Speedup}, {"wanted", c.Wanted},
		{"uncached_step_ms", c.UncachedStepMillis}, {"uncached_step_flops", float64(c.UncachedStepFLOPs)},
		{"flops", float64(c.FLOPs)}, {"uncached_flops", float64(c.UncachedFLOPs)}, {"cache_bytes", float64(c.CacheBytes)}, {"images", float64(c.Images)},
	}
	for _, ms := range c.StepMillis {
		numbers = append(numbers, named{"step_ms", ms})
	}
	for _, flops := range c.StepFLOPs {
		numbers = append(numbers, named{"step_flops", float64(flops)})
	}
	for _, n := range numbers {
		if n.value < 0 {
			return fmt.Errorf("%s is %g: want no negative number", n.name, n.value)
		}
	}
	numbers = append(numbers, c.PSNR.named("psnr_db")...)
	numbers = append(numbers, c.SSIM.named("ssim")...)
	numbers = append(numbers, c.Frechet.named("frechet")...)
	numbers = append(numbers, c.FrechetRatio.named("frechet_ratio")...)
	numbers = append(numbers, c.Agreement.named("class_agreement")...)
	return finite(numbers)
}

// named is a number and what it is called in the file.
type named struct {
	name  string
	value float64
}

// largest is the greatest number that the charts can scale without overflow.
const largest = 1e100

func finite(numbers []named) error {
	for _, n := range numbers {
		if !(math.Abs(n.value) <= largest) {
			return fmt.Errorf("%s is %g: want a finite number, at most %g", n.name, n.value, float64(largest))
		}
	}
	return nil
}

func (v *Interval) named(name string) []named {
	if v == nil {
		return nil
	}
	return []named{{name, v.Value}, {name + " low", v.Low}, {name + " high", v.High}}
}

// overlaps reports whether two intervals have a point in common.
func (v *Interval) overlaps(other *Interval) bool {
	return v.Low <= other.High && other.Low <= v.High
}
