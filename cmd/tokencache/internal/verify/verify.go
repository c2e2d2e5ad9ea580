// Package verify compares what this program computes with numbers recorded of the original code:
// forward passes, every block's output, guidance, whole sampling runs, and autoencoders, from
// folders of weights and recorded tensors or from files that go with weights made by a formula.
//
// It knows the names that such recordings use, and it judges by one measure: the largest error
// relative to the reference's root mean square.
package verify

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tokencache/tokencache/checkpoint"
	"github.com/tokencache/tokencache/tensor"
)

// Check is the comparison of one tensor.
type Check struct {
	Name      string  `json:"name"`      // file stem/tensor
	Error     float64 `json:"error"`     // largest, relative to the reference's root mean square, or that of all errors if the model is not float32; 1e300 if there is no number
	Tolerance float64 `json:"tolerance"` // what Error may be at most
	OK        bool    `json:"ok"`
	Reason    string  `json:"reason,omitempty"` // why there is no number
}

// String is a line for people: name, error, verdict.
func (c Check) String() string {
	verdict := "ok"
	if !c.OK {
		verdict = "FAIL"
	}
	if c.Reason != "" {
		return fmt.Sprintf("%-52s %9s  %s  %s", c.Name, "-", verdict, c.Reason)
	}
	return fmt.Sprintf("%-52s %9.2e  %s", c.Name, c.Error, verdict)
}

// Skip is a file that was not checked.
type Skip struct {
	Name   string `json:"name"`
	Reason string `json:"reason"`
}

func (s Skip) String() string { return fmt.Sprintf("skip %s: %s", s.Name, s.Reason) }

// Report is the outcome of all checks.
type Report struct {
	Passed  int     `json:"passed"`
	Failed  int     `json:"failed"`
	Checks  []Check `json:"checks"`
	Skipped []Skip  `json:"skipped"`
}

// Options says how to check. The functions, which may be nil, are told of what happens as it
// happens.
type Options struct {
	// Tolerance is that of every check; 0 means 1e-4, 1e-3 for whole sampling runs, and in another
	// number format than float32 what is derived in dtype.go.
	Tolerance float64
	DType     tensor.DType // number format of models and decoders; recordings of training and of solvers are compared in float32
	Threads   int
	Key       string // which of several sets of weights in files of PyTorch's format to take

	OnCheck func(Check)
	OnSkip  func(Skip)
	OnWork  func(what string) // something that takes long begins
}

const (
	tolerance         = 1e-4
	samplingTolerance = 1e-3
	noNumber          = 1e300 // stands for an error that is not a number, which JSON could not say
)

// Paths checks every path: a folder of a model or an autoencoder with recorded tensors, a folder of
// recordings for formula weights, or one such file. It fails if a path cannot be read or gave no
// passed check; what differs is in the report.
func Paths(ctx context.Context, paths []string, o Options) (*Report, error) {
	pool := tensor.NewPool(o.Threads)
	defer pool.Close()
	r := &run{Options: o, graph: tensor.NewGraph(pool)}
	r.graph.SetContext(ctx)
	var errs []error
	for _, path := range paths {
		before := r.report.Passed
		if err := r.path(path); err != nil {
			errs = append(errs, fmt.Errorf("verify %s: %w", path, err))
		} else if r.report.Passed == before {
			errs = append(errs, fmt.Errorf("verify %s: nothing in it passed a check", path))
		}
		if err := ctx.Err(); err != nil {
			return &r.report, err
		}
	}
	return &r.report, errors.Join(errs...)
}

// run is the state of Paths.
type run struct {
	Options
	graph    *tensor.Graph
	report   Report
	rounding rounding // of the model in use
}

func (r *run) work(format string, args ...any) {
	if r.OnWork != nil {
		r.OnWork(fmt.Sprintf(format, args...))
	}
}

func (r *run) skip(name, reason string) {
	s := Skip{name, reason}
	r.report.Skipped = append(r.report.Skipped, s)
	if r.OnSkip != nil {
		r.OnSkip(s)
	}
}

func (r *run) add(c Check) {
	c.OK = c.Reason == "" && c.Error <= c.Tolerance
	if c.OK {
		r.report.Passed++
	} else {
		r.report.Failed++
	}
	r.report.Checks = append(r.report.Checks, c)
	if r.OnCheck != nil {
		r.OnCheck(c)
	}
}

// compare checks got against want with the given default tolerance.
func (r *run) compare(name string, got, want []float32, tolerance float64) {
	c := Check{Name: name, Tolerance: r.tolerance(tolerance)}
	if len(got) != len(want) {
		c.Error, c.Reason = noNumber, fmt.Sprintf("%d numbers, want %d", len(got), len(want))
	} else {
		c.Error = relativeError(got, want)
		if r.rounding.narrow() {
			c.Error = rmsError(got, want)
		}
	}
	r.add(c)
}

// fail records that something could not be compared at all.
func (r *run) fail(name string, err error) {
	r.add(Check{Name: name, Error: noNumber, Tolerance: r.tolerance(tolerance), Reason: err.Error()})
}

func (r *run) tolerance(standard float64) float64 {
	if r.Tolerance > 0 {
		return r.Tolerance
	}
	if r.rounding.narrow() {
		return max(standard, r.rounding.bound*r.rounding.gain)
	}
	return standard
}

// relativeError is the largest error in units of the reference's root mean square.
func relativeError(got, want []float32) float64 {
	var worst, squares float64
	for i := range want {
		d := math.Abs(float64(got[i]) - float64(want[i]))
		if math.IsNaN(d) || math.IsInf(d, 0) {
			return noNumber
		}
		worst = max(worst, d)
		squares += float64(want[i]) * float64(want[i])
	}
	if worst == 0 {
		return 0
	}
	if squares == 0 {
		return noNumber
	}
	return worst / math.Sqrt(squares/float64(len(want)))
}

// path checks what is at one path.
func (r *run) path(path string) error {
	r.rounding = rounding{}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		dir, name := filepath.Split(path)
		if isRecording(name) {
			return r.folder(filepath.Clean(dir), []string{name})
		}
		if isSolverFolder(filepath.Clean(dir)) {
			return r.solvers(filepath.Clean(dir), []string{name})
		}
		if isCacheRun(path) {
			return r.cacheRuns(filepath.Clean(dir), []string{name})
		}
		return r.formula(path)
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return err
	}
	var recordings, others, cacheRuns []string
	for _, e := range entries {
		switch {
		case e.IsDir():
		case isRecording(e.Name()):
			recordings = append(recordings, e.Name())
		case isCacheRun(filepath.Join(path, e.Name())):
			cacheRuns = append(cacheRuns, e.Name())
		case strings.HasSuffix(e.Name(), ".safetensors"):
			others = append(others, e.Name())
		}
	}
	if isTokenizerFolder(path) {
		return r.tokenizers(path)
	}
	if isSolverFolder(path) {
		return r.solvers(path, others)
	}
	if len(cacheRuns) > 0 {
		return r.cacheRuns(path, cacheRuns)
	}
	if len(recordings) > 0 {
		return r.folder(path, recordings)
	}
	if len(others) == 0 {
		return errors.New("the folder has no recorded tensors: looked for forward, sampling, training and cases.safetensors, and for files of formula weights")
	}
	for _, name := range others {
		if err := r.formula(filepath.Join(path, name)); err != nil {
			r.fail(stem(name), err)
		}
	}
	return nil
}

// isRecording reports whether a file's name is that of recorded tensors that go with weights beside
// them.
func isRecording(name string) bool {
	return slices.Contains([]string{"forward.safetensors", "sampling.safetensors", "training.safetensors", "cases.safetensors"}, name) ||
		strings.HasSuffix(name, "_cases.safetensors")
}

func stem(path string) string {
	return strings.TrimSuffix(filepath.Base(path), filepath.Ext(path))
}

// recording is an opened file of recorded tensors.
type recording struct {
	*checkpoint.File
	stem string
}

func openRecording(path string) (*recording, error) {
	f, err := checkpoint.Open(path)
	if err != nil {
		return nil, err
	}
	return &recording{f, stem(path)}, nil
}

func (c *recording) has(name string) bool { _, ok := c.Lookup(name); return ok }

// shape returns the shape of a tensor of the given number of dimensions.
func (c *recording) shape(name string, dims int) ([]int, error) {
	info, ok := c.Lookup(name)
	if !ok {
		return nil, fmt.Errorf("tensor %s is missing", name)
	}
	if len(info.Shape) != dims {
		return nil, fmt.Errorf("tensor %s has shape %v, want %d dimensions", name, info.Shape, dims)
	}
	return info.Shape, nil
}

// matrix returns a tensor as rows by its first dimension.
func (c *recording) matrix(name string) (*tensor.Tensor, error) {
	info, ok := c.Lookup(name)
	if !ok {
		return nil, fmt.Errorf("tensor %s is missing", name)
	}
	if len(info.Shape) == 0 || info.Len() == 0 {
		return nil, fmt.Errorf("tensor %s has shape %v", name, info.Shape)
	}
	x, err := c.Float32(name)
	if err != nil {
		return nil, err
	}
	return tensor.FromSlice(x, info.Shape[0], info.Len()/info.Shape[0]), nil
}
