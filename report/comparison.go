package report

import (
	"encoding/json"
	"io"
	"path/filepath"

	"github.com/tokencache/tokencache/internal/atomicfile"
)

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
	StepMillis          []float64 `json:"step_ms,omitempty"`
	Error               string    `json:"error,omitempty"`
	Note                string    `json:"note,omitempty"`
}

// ResultsFile is the name of a comparison's results in its folder.
const ResultsFile = "results.json"

// Write writes the results to a folder.
func (c *Comparison) Write(dir string) error {
	return atomicfile.Write(filepath.Join(dir, ResultsFile), func(w io.Writer) error {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(c)
	})
}
