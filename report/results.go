package report

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/tokencache/tokencache/diffusion"
	"github.com/tokencache/tokencache/eval"
	"github.com/tokencache/tokencache/internal/atomicfile"
	"github.com/tokencache/tokencache/reuse"
)

// Uncached is the Method of the cell that every other one is compared with: the whole model at
// every step.
const Uncached = "uncached"

// Results is what a comparison of cache methods measured: its settings and its cells. It is what
// results.json holds.
type Results struct {
	Model string `json:"model"`
	VAE   string `json:"vae,omitempty"` // the model's autoencoder, if it was given one
	// Prompts are what the images show in turn; nil of a model of classes.
	Prompts     []string `json:"prompts,omitempty"`
	Fingerprint string   `json:"fingerprint"` // of the weights

	// Sampling is that of all cells. In the file its fields stand next to the others, the steps as
	// users write them.
	diffusion.Sampling `json:"-"`

	Seed          uint64         `json:"seed"`
	Count         int            `json:"count"` // images of each policy
	Batch         int            `json:"batch"` // images denoised together
	Threads       int            `json:"threads"`
	Level         string         `json:"cpu_level"`       // of the kernels
	DType         string         `json:"dtype,omitempty"` // number format of what all cells are compared with
	Processor     string         `json:"processor"`
	Date          string         `json:"date"`
	Command       string         `json:"command"`
	Features      string         `json:"features"`                 // the network that evaluates images
	Reference     string         `json:"reference"`                // the real images
	ReferenceN    int            `json:"reference_n"`              // their number
	RealFrechet   *eval.Estimate `json:"real_frechet,omitempty"`   // between real images
	RealAgreement *eval.Estimate `json:"real_agreement,omitempty"` // share, 0 to 1
	Converged     *Converged     `json:"converged,omitempty"`
	Speeds        []float64      `json:"speeds,omitempty"` // that methods were compared at
	Axes          []AxesTable    `json:"axes,omitempty"`
	Cells         []Cell         `json:"cells"`
	Calibrations  []Calibration  `json:"calibrations,omitempty"`
}

// resultsFields is a Results as encoding/json sees its own fields.
type resultsFields Results

// resultsFile is results.json.
type resultsFile struct {
	*resultsFields
	Cells         []Cell        `json:"cells"` // with their number formats
	Sampler       string        `json:"sampler"`
	Steps         string        `json:"steps"`
	Guidance      float64       `json:"guidance"`
	GuidancePower float64       `json:"guidance_power,omitempty"`
	Eta           float64       `json:"eta,omitempty"`
	GuideAll      bool          `json:"guide_all,omitempty"`
	Clip          bool          `json:"clip,omitempty"`
	RNG           diffusion.RNG `json:"rng,omitempty"` // omitted where it is the default

	// The tables at equal cost, made from the cells.
	EqualTime []levelFile `json:"equal_time,omitempty"`
	EqualNFE  []levelFile `json:"equal_nfe,omitempty"`
	// The crossing of policies with number formats, where there are several.
	Precision []precisionFile `json:"cache_x_precision,omitempty"`
}

// MarshalJSON implements json.Marshaler.
func (r *Results) MarshalJSON() ([]byte, error) {
	f := resultsFile{
		resultsFields: (*resultsFields)(r),
		Sampler:       r.Sampler,
		Steps:         r.stepsText(),
		Guidance:      r.Guidance,
		GuidancePower: r.GuidancePower,
		Eta:           r.Eta,
		GuideAll:      r.GuideAll,
		Clip:          r.Clip,
		RNG:           r.RNG,
		EqualTime:     r.levelFiles(r.EqualTime()),
		EqualNFE:      r.levelFiles(r.EqualNFE()),
		Precision:     r.precisionFiles(),
		Cells:         slices.Clone(r.Cells),
	}
	for i := range f.Cells {
		f.Cells[i].DType = f.Cells[i].dtype(r)
	}
	if f.RNG == diffusion.RNGOwn {
		f.RNG = ""
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(f)
	return b.Bytes(), err
}

// UnmarshalJSON implements json.Unmarshaler.
func (r *Results) UnmarshalJSON(b []byte) error {
	f := resultsFile{resultsFields: (*resultsFields)(r)}
	if err := json.Unmarshal(b, &f); err != nil {
		return err
	}
	r.Cells = f.Cells
	for i := range r.Cells {
		if r.Cells[i].DType == r.DType {
			r.Cells[i].DType = ""
		}
	}
	r.Sampling = diffusion.Sampling{
		Sampler:       f.Sampler,
		Eta:           f.Eta,
		Guidance:      f.Guidance,
		GuidancePower: f.GuidancePower,
		GuideAll:      f.GuideAll,
		Clip:          f.Clip,
		RNG:           f.RNG,
	}
	if f.Steps == "" {
		return nil
	}
	var err error
	r.Steps, r.Spacing, err = diffusion.ParseSteps(f.Steps)
	return err
}

// Calibration is a one-time cost.
type Calibration struct {
	Method  string  `json:"method"`
	Seconds float64 `json:"seconds"`
	Command string  `json:"command"`
}

// Converged is the solution that the sampler of a comparison approximates, the same for all cells.
type Converged struct {
	None        string  `json:"none,omitempty"` // why there is none; the rest is zero then
	Images      int     `json:"images,omitempty"`
	Evaluations int     `json:"evaluations,omitempty"` // of the network, for each image
	Error       float64 `json:"error,omitempty"`       // of latents, at most
	// PSNRHalf is how near the first images of half the steps are.
	PSNRHalf *eval.Fidelity `json:"psnr_half,omitempty"`
}

// Cell is a policy, or a sampler without one, that was measured.
type Cell struct {
	Method string `json:"method"`
	Policy string `json:"policy"`
	// DType is the number format of the network's blocks, where it is another than the comparison's.
	// The file has it of every cell.
	DType  string  `json:"dtype,omitempty"`
	Wanted float64 `json:"wanted,omitempty"` // speed-up that the policy was made for
	Images int     `json:"images"`

	// Cost is that of the timed images, except that WallSeconds has the time.
	reuse.Cost
	WallSeconds         float64 `json:"wall_s"` // median time of the denoising loop of the timed images
	UncachedWallSeconds float64 `json:"uncached_wall_s"`
	Speedup             float64 `json:"speedup"`
	StepsTaken          int     `json:"steps_taken"` // of each image
	// NFE are the FLOPs of an image in passes of the uncached model.
	NFE float64 `json:"nfe,omitempty"`
	// Disturbed says why the times cannot be trusted, "" if nothing speaks against them.
	Disturbed string `json:"disturbed,omitempty"`

	// Untimed says that other machines made the images and no time was measured.
	Untimed bool `json:"untimed,omitempty"`

	// Sampling is the cell's own, where it is another than the comparison's.
	Sampling *diffusion.Sampling `json:"sampling,omitempty"`
	// Best is set of the solver that is nearest to its reference at a speed: the baseline there.
	Best bool `json:"best_solver,omitempty"`

	PSNRUncached  *eval.Fidelity `json:"psnr_uncached,omitempty"`  // to the images of the uncached model
	PSNRConverged *eval.Fidelity `json:"psnr_converged,omitempty"` // to the converged solution

	SSIM         *eval.Estimate `json:"ssim,omitempty"` // to the images of the uncached model
	Frechet      *eval.Estimate `json:"frechet,omitempty"`
	FrechetRatio *eval.Estimate `json:"frechet_ratio,omitempty"`   // to the uncached images', paired
	Agreement    *eval.Estimate `json:"class_agreement,omitempty"` // share, 0 to 1

	StepMillis         []float64 `json:"step_ms,omitempty"`    // of each step of a batch
	StepFLOPs          []int64   `json:"step_flops,omitempty"` // likewise
	UncachedStepMillis float64   `json:"uncached_step_ms,omitempty"`
	UncachedStepFLOPs  int64     `json:"uncached_step_flops,omitempty"`
	Error              string    `json:"error,omitempty"`
	// Unreachable says that Error is no failure: the method has no setting at this speed.
	Unreachable bool   `json:"unreachable,omitempty"`
	Note        string `json:"note,omitempty"`
}

// Names of files in a comparison's folder.
const (
	ResultsFile = "results.json"
	PageFile    = "report.html"
	TablesFile  = "tables.md"
)

// Efficiency returns how much of the saved arithmetic became saved time, Speedup/FLOPReduction, or
// 0 if that is not known or the number format saves time too.
func (c *Cell) Efficiency() float64 {
	if r := c.FLOPReduction(); r > 0 && c.DType == "" {
		return c.Speedup / r
	}
	return 0
}

// Base reports whether a cell is what all others are compared with.
func (c *Cell) Base() bool { return c.Method == Uncached && c.DType == "" }

// made reports whether a cell is another than the base and has numbers.
func (c *Cell) made() bool { return !c.Base() && c.Error == "" && c.Speedup > 0 }

// Name is the method with its number format, where that is another than the comparison's.
func (c *Cell) Name() string {
	if c.DType == "" {
		return c.Method
	}
	return c.Method + ", " + c.DType
}

// dtype is the cell's number format.
func (c *Cell) dtype(r *Results) string { return cmp.Or(c.DType, r.DType) }

// baseline returns the cell of the uncached model, or nil.
func (r *Results) baseline() *Cell {
	for i := range r.Cells {
		if r.Cells[i].Base() && r.Cells[i].Error == "" {
			return &r.Cells[i]
		}
	}
	return nil
}

// Measure is a quality that cells are compared by.
type Measure int

const (
	PSNR          Measure = iota // to the uncached images, dB, higher is better
	ConvergedPSNR                // to the converged solution, likewise
	Frechet                      // lower is better
)

// quality is a measure of a cell with what its bar in a chart spans: the 95 % interval of a Fréchet
// distance, and of PSNR what lies between the 5th percentile of the images and their mean.
type quality struct{ Value, Low, High float64 }

// of returns a cell's quality, or nil if it was not measured.
func (m Measure) of(c *Cell) *quality {
	f := c.PSNRUncached
	switch m {
	case Frechet:
		if e := c.Frechet; e != nil {
			return &quality{e.Value, e.Low, e.High}
		}
		return nil
	case ConvergedPSNR:
		f = c.PSNRConverged
	}
	if f == nil {
		return nil
	}
	return &quality{f.Mean, min(f.P5, f.Mean), f.Mean}
}

// better reports whether quality a is better than b.
func (m Measure) better(a, b float64) bool {
	if m == Frechet {
		return a < b
	}
	return a > b
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
// results.csv, the tables at equal cost as tables.md, the charts that there are numbers for
// (pareto, frontier-psnr, frontier-converged, frontier-frechet, step-time, memory and
// cache-x-precision, each as .svg and .png), sheet.png if there are images, and report.html, which
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
	if err := atomicfile.Write(filepath.Join(dir, TablesFile), r.WriteTables); err != nil {
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
