package report

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/tokencache/tokencache/internal/atomicfile"
)

// Uncached is the Method of the cell that every other one is compared with: the whole model at
// every step.
const Uncached = "uncached"

// Results is what a comparison of cache methods measured: its settings and its cells. It is what
// results.json holds.
type Results struct {
	Model         string        `json:"model"`
	Fingerprint   string        `json:"fingerprint"` // of the weights
	Sampler       string        `json:"sampler"`
	Steps         string        `json:"steps"` // as the sampler takes them, such as "50"
	Guidance      float64       `json:"guidance"`
	Seed          uint64        `json:"seed"`
	Count         int           `json:"count"` // images of each policy
	Batch         int           `json:"batch"` // images denoised together
	Threads       int           `json:"threads"`
	Level         string        `json:"cpu_level"` // of the kernels
	Processor     string        `json:"processor"`
	Date          string        `json:"date"`
	Command       string        `json:"command"`
	Features      string        `json:"features"`                 // the network that evaluates images
	Reference     string        `json:"reference"`                // the real images
	ReferenceN    int           `json:"reference_n"`              // their number
	RealFrechet   *Interval     `json:"real_frechet,omitempty"`   // between real images
	RealAgreement *Interval     `json:"real_agreement,omitempty"` // share, 0 to 1
	Cells         []Cell        `json:"cells"`
	Calibrations  []Calibration `json:"calibrations,omitempty"`
}

// Interval is a value with its 95 % interval.
type Interval struct {
	Value float64 `json:"value"`
	Low   float64 `json:"low"`
	High  float64 `json:"high"`
}

// overlaps reports whether two intervals have a point in common.
func (v *Interval) overlaps(other *Interval) bool {
	return v.Low <= other.High && other.Low <= v.High
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
	Wanted              float64   `json:"wanted,omitempty"` // speed-up that the policy was made for
	Images              int       `json:"images"`
	WallSeconds         float64   `json:"wall_s"` // median time of the denoising loop of the timed images
	UncachedWallSeconds float64   `json:"uncached_wall_s"`
	Speedup             float64   `json:"speedup"`
	FLOPs               int64     `json:"flops"` // of the timed images
	UncachedFLOPs       int64     `json:"uncached_flops"`
	CacheBytes          int64     `json:"cache_bytes"`
	ISteps              int       `json:"i_steps"`
	PSteps              int       `json:"p_steps"`
	StepsTaken          int       `json:"steps_taken"` // of each image
	PSNR                *Interval `json:"psnr_db,omitempty"`
	SSIM                *Interval `json:"ssim,omitempty"`
	Frechet             *Interval `json:"frechet,omitempty"`
	FrechetRatio        *Interval `json:"frechet_ratio,omitempty"`   // to the uncached images', paired
	Agreement           *Interval `json:"class_agreement,omitempty"` // share, 0 to 1
	StepMillis          []float64 `json:"step_ms,omitempty"`         // of each step of a batch
	StepFLOPs           []int64   `json:"step_flops,omitempty"`      // likewise
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

// FLOPReduction returns how many times fewer operations than the uncached model a cell needed, or
// 0 if that is not known.
func (c *Cell) FLOPReduction() float64 {
	if c.FLOPs <= 0 || c.UncachedFLOPs <= 0 {
		return 0
	}
	return float64(c.UncachedFLOPs) / float64(c.FLOPs)
}

// Efficiency returns how much of the saved arithmetic became saved time, Speedup/FLOPReduction, or
// 0 if that is not known.
func (c *Cell) Efficiency() float64 {
	if r := c.FLOPReduction(); r > 0 {
		return c.Speedup / r
	}
	return 0
}

// made reports whether a cell is one of a policy and has numbers.
func (c *Cell) made() bool { return c.Method != Uncached && c.Error == "" && c.Speedup > 0 }

// baseline returns the cell of the uncached model, or nil.
func (r *Results) baseline() *Cell {
	for i := range r.Cells {
		if r.Cells[i].Method == Uncached && r.Cells[i].Error == "" {
			return &r.Cells[i]
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

// Frontier returns the indices, by rising speed-up, of the cells with a policy that no other cell
// dominates: none is at least as fast and as good, and better in one of the two. Intervals play no
// part in it.
func (r *Results) Frontier(m Measure) []int {
	var all, front []int
	for i := range r.Cells {
		if cell := &r.Cells[i]; cell.made() && m.of(cell) != nil {
			all = append(all, i)
		}
	}
	for _, i := range all {
		if !r.dominated(i, all, m) {
			front = append(front, i)
		}
	}
	r.bySpeed(front)
	return front
}

func (r *Results) dominated(i int, by []int, m Measure) bool {
	s, q := r.Cells[i].Speedup, m.of(&r.Cells[i]).Value
	for _, j := range by {
		os, oq := r.Cells[j].Speedup, m.of(&r.Cells[j]).Value
		if os >= s && !m.better(q, oq) && (os > s || m.better(oq, q)) {
			return true
		}
	}
	return false
}

// Image is an image with a title that the page shows as it is.
type Image struct {
	Title string
	PNG   []byte
}

// Write makes the folder if need be and writes the whole report into it: results.json and
// results.csv, the charts that there are numbers for (frontier-psnr, frontier-frechet, step-time
// and memory, each as .svg and .png), sheet.png if there are images, and report.html, which
// contains all of them and refers to no other file. Each file is written whole or not at all, the
// results first.
func (r *Results) Write(dir string, sheet []SheetRow, images ...Image) error {
	if err := r.check(); err != nil {
		return fmt.Errorf("report %s: %w", dir, err)
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	if err := atomicfile.Write(filepath.Join(dir, ResultsFile), r.writeJSON); err != nil {
		return err
	}
	if err := atomicfile.Write(filepath.Join(dir, "results.csv"), r.writeCSV); err != nil {
		return err
	}
	if err := r.writeCharts(dir); err != nil {
		return err
	}
	if err := writeSheet(filepath.Join(dir, "sheet.png"), sheet); err != nil {
		return err
	}
	return atomicfile.Write(filepath.Join(dir, PageFile), func(w io.Writer) error { return r.writeHTML(w, sheet, images) })
}

func (r *Results) writeJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(r)
}
