package jobsrun

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/cmd/tokencache/internal/output"
	"github.com/tokencache/tokencache/cmd/tokencache/internal/version"
	"github.com/tokencache/tokencache/eval"
	"github.com/tokencache/tokencache/jobs"
	"github.com/tokencache/tokencache/shard"
)

// Run is a run of generate, with its model open.
type Run struct {
	Pipeline *tokencache.Pipeline
	Request  tokencache.Request
	Labels   bool
	Noise    string
	Inputs   []string // files and folders that the arguments name
	// Outputs returns what computes the statistics of a part from image number first on; nil if
	// none are wanted.
	Outputs func(first int) (func(eval.Images) (*eval.Part, error), error)
}

// OpenRun opens the model of generate's arguments. local says where the inputs are that this
// machine has under other names.
type OpenRun func(args []string, local map[string]string) (*Run, error)

// Images makes the parts of jobs, with one model open at a time. It implements jobs.Maker.
type Images struct {
	open OpenRun
	job  string // whose model is open
	run  *Run
}

// NewImages returns what makes parts of the runs that open opens.
func NewImages(open OpenRun) *Images { return &Images{open: open} }

// Close closes the model.
func (m *Images) Close() {
	if m.run != nil {
		m.run.Pipeline.Close()
		m.run, m.job = nil, ""
	}
}

// Open opens the model of generate's arguments and returns the run that they ask for.
func (m *Images) Open(args []string, local map[string]string) (run shard.Run, needs jobs.Needs, err error) {
	m.Close()
	if m.run, err = m.open(args, local); err != nil {
		return run, needs, err
	}
	p := m.run.Pipeline
	run = output.About(p, m.run.Request, output.Options{Labels: m.run.Labels, Noise: m.run.Noise})
	needs = jobs.Needs{Level: p.Level(), DType: p.DType().String(), Model: p.Fingerprint()}
	needs.Version, err = version.Describe().Build()
	return run, needs, err
}

// Prepare implements jobs.Maker.
func (m *Images) Prepare(_ context.Context, j *jobs.Job) error {
	if m.job == j.ID {
		return nil
	}
	run, needs, err := m.Open(j.Args, j.Local)
	if err != nil {
		return err
	}
	if needs.Model != j.Needs.Model {
		return fmt.Errorf("the model has fingerprint %s, the job's %s", needs.Model, j.Needs.Model)
	}
	if how := j.Run.Differs(run); how != "" {
		return fmt.Errorf("it would make another run: %s", how)
	}
	m.job = j.ID
	return nil
}

// Make implements jobs.Maker.
func (m *Images) Make(ctx context.Context, j *jobs.Job, s shard.Span, dir string) (path string, err error) {
	if err := m.Prepare(ctx, j); err != nil {
		return "", err
	}
	part := &output.PartOptions{Span: s}
	if part.Outputs, err = m.run.Outputs(s.First); err != nil {
		return "", err
	}
	w, err := output.NewWriter(m.run.Pipeline, m.run.Request, output.Options{
		Path:   dir,
		Labels: m.run.Labels,
		Noise:  m.run.Noise,
		Part:   part,
	})
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	req := m.run.Request
	req.Skip, req.OnImage = w.Have, w.Add
	if _, err := m.run.Pipeline.Generate(ctx, req); err != nil {
		return "", err
	}
	files, err := w.Finish()
	if err != nil {
		return "", err
	}
	return files[0], nil
}

// Measure returns how many images of the run that is open take about so many seconds, one at least.
func (m *Images) Measure(ctx context.Context, seconds float64) (int, error) {
	req := m.run.Request
	few := min(req.Images(), 2*max(req.Batch, 1))
	req.Skip = func(i int) bool { return i >= few }
	req.OnImage = func(tokencache.Image) error { return nil }
	start := time.Now()
	_, err := m.run.Pipeline.Generate(ctx, req)
	size := int(seconds * float64(few) / max(time.Since(start).Seconds(), 1e-6))
	return min(max(size, 1), req.Images()), err
}
