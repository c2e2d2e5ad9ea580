package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/cmd/tokencache/internal/output"
	"github.com/tokencache/tokencache/cmd/tokencache/internal/version"
	"github.com/tokencache/tokencache/diffusion"
	"github.com/tokencache/tokencache/internal/kernel"
	"github.com/tokencache/tokencache/jobs"
	"github.com/tokencache/tokencache/shard"
)

type jobsWorkCmd struct {
	brokerFlags
	Threads int           `help:"Worker threads. Default: all processors." placeholder:"N"`
	Idle    time.Duration `help:"End after so long without a shard to do. Default: never." placeholder:"TIME"`
	Scratch string        `help:"Folder for what is being made. Default: one in the system's folder for temporary files." placeholder:"DIR"`
}

func (c *jobsWorkCmd) Run(a *app) error {
	q, closeQueue, err := c.queue(a.ctx)
	if err != nil {
		return err
	}
	defer closeQueue()
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	if c.Scratch == "" {
		if c.Scratch, err = os.MkdirTemp("", "tokencache-work-"); err != nil {
			return err
		}
		defer os.RemoveAll(c.Scratch)
	}
	build, err := version.Describe().Build()
	if err != nil {
		return err
	}
	m := &partMaker{app: a, threads: c.Threads}
	defer m.Close()
	w := &jobs.Work{
		Queue: q,
		Worker: &jobs.Worker{
			Name:    jobs.WorkerName(host, os.Getpid()),
			Host:    host,
			Threads: max(c.Threads, 0),
			Version: build,
			Level:   kernel.ActiveLevel().String(),
			DTypes:  formats(),
		},
		Maker:   m,
		Scratch: filepath.Join(c.Scratch, "parts"),
		Idle:    c.Idle,
		Note:    a.note,
	}
	if w.Worker.Threads == 0 {
		w.Worker.Threads = runtime.GOMAXPROCS(0)
	}
	return w.Run(a.ctx)
}

// formats lists the number formats that workers compute in, as arithmetic names them.
func formats() []string {
	var list []string
	for _, d := range kernel.DTypes() {
		list = append(list, arithmetic(d))
	}
	return list
}

// arithmetic names a number format, with its CPU level where that is another than float32's.
func arithmetic(d tokencache.DType) string {
	if level := kernel.LevelOf(d); level != kernel.ActiveLevel() {
		return fmt.Sprintf("%v at %v", d, level)
	}
	return d.String()
}

// partMaker makes the parts of jobs, with one model open at a time.
type partMaker struct {
	app     *app
	threads int

	job      string // whose model is open
	command  *generateCmd
	pipeline *tokencache.Pipeline
	request  tokencache.Request
}

// Close closes the model.
func (m *partMaker) Close() {
	if m.pipeline != nil {
		m.pipeline.Close()
		m.pipeline, m.job = nil, ""
	}
}

// open opens the model of generate's flags and returns the run that they ask for.
func (m *partMaker) open(args []string) (run shard.Run, needs jobs.Needs, err error) {
	m.Close()
	c := &cli{}
	if _, err := newParser(c).Parse(append([]string{"generate"}, args...)); err != nil {
		return run, needs, fmt.Errorf("generate's flags: %w", err)
	}
	g := &c.Generate
	_, k, err := g.shard()
	switch {
	case err != nil:
		return run, needs, err
	case g.Seed == "" || g.RNG != string(diffusion.RNGOwn):
		return run, needs, errors.New("generate's flags: a job needs --seed, and --rng own")
	case k > 1 || g.Out != "" || g.Compare || g.SaveLatents != "" || g.Resume || g.Overwrite:
		return run, needs, errors.New("generate's flags: a job has its own --shard and --out, and takes no --compare, " +
			"--save-latents, --resume or --overwrite")
	}
	if m.threads > 0 {
		g.Threads = m.threads
	}
	if m.pipeline, m.request, err = g.open(m.app); err != nil {
		return run, needs, err
	}
	m.command = g
	run = output.About(m.pipeline, m.request, output.Options{Labels: g.Labels, Noise: g.Noise})
	needs = jobs.Needs{
		Level: kernel.ActiveLevel().String(),
		DType: arithmetic(m.pipeline.DType()),
		Model: m.pipeline.Fingerprint(),
	}
	needs.Version, err = version.Describe().Build()
	return run, needs, err
}

// Prepare implements jobs.Maker.
func (m *partMaker) Prepare(_ context.Context, j *jobs.Job) error {
	if m.job == j.ID {
		return nil
	}
	run, needs, err := m.open(j.Args)
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
func (m *partMaker) Make(ctx context.Context, j *jobs.Job, s shard.Span, dir string) (path string, err error) {
	if err := m.Prepare(ctx, j); err != nil {
		return "", err
	}
	part := &output.PartOptions{Span: s}
	part.Outputs, err = m.command.outputs(m.app, m.pipeline, len(m.request.Classes), s.First)
	if err != nil {
		return "", err
	}
	w, err := output.NewWriter(m.pipeline, m.request, output.Options{
		Path:   dir,
		Labels: m.command.Labels,
		Noise:  m.command.Noise,
		Part:   part,
	})
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	req := m.request
	req.Skip, req.OnImage = w.Have, w.Add
	if _, err := m.pipeline.Generate(ctx, req); err != nil {
		return "", err
	}
	files, err := w.Finish()
	if err != nil {
		return "", err
	}
	return files[0], nil
}

// measure returns how many images take about so many seconds, one at least.
func (m *partMaker) measure(seconds float64) (int, error) {
	req := m.request
	few := min(len(req.Classes), 2*max(m.command.Batch, 1))
	req.Skip = func(i int) bool { return i >= few }
	req.OnImage = func(tokencache.Image) error { return nil }
	start := time.Now()
	_, err := m.pipeline.Generate(m.app.ctx, req)
	size := int(seconds * float64(few) / max(time.Since(start).Seconds(), 1e-6))
	return min(max(size, 1), len(req.Classes)), err
}

// startWorkers starts workers on this machine, and starts them again when they end. What it returns
// ends them.
func (c *jobsRunCmd) startWorkers(a *app) (stop func(), err error) {
	ctx, cancel := context.WithCancel(a.ctx)
	var wait sync.WaitGroup
	stop = func() { cancel(); wait.Wait() }
	program, err := os.Executable()
	if err != nil {
		return stop, err
	}
	threads := c.Threads
	if threads == 0 && c.Workers > 0 {
		threads = max(1, runtime.GOMAXPROCS(0)/c.Workers)
	}
	// Workers outlive a coordinator that is killed, for the one that takes its place, but not for
	// ever.
	args := []string{"jobs", "work", "--nats", c.NATS, "--threads", fmt.Sprint(threads), "--idle", "10m"}
	for name, value := range map[string]string{
		"--user": c.User, "--password-file": c.Password, "--nkey": c.NKey, "--tls-ca": c.CA,
	} {
		if value != "" {
			args = append(args, name, value)
		}
	}
	for range c.Workers {
		wait.Go(func() {
			for ctx.Err() == nil {
				w := exec.CommandContext(ctx, program, args...)
				w.Cancel = func() error { return w.Process.Signal(os.Interrupt) }
				w.WaitDelay = 10 * time.Second
				w.Stdout, w.Stderr = io.Discard, a.stderr
				if err := w.Run(); err != nil && ctx.Err() == nil {
					a.note("a worker ended: %v; it is started again", err)
					select {
					case <-ctx.Done():
					case <-time.After(time.Second):
					}
				}
			}
		})
	}
	return stop, nil
}
