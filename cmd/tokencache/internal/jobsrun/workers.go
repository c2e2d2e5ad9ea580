package jobsrun

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/cmd/tokencache/internal/version"
	"github.com/tokencache/tokencache/internal/kernel"
	"github.com/tokencache/tokencache/jobs"
)

// Worker is how a worker process works.
type Worker struct {
	Threads int           // 0: all processors
	Idle    time.Duration // as in jobs.Work
	Scratch string        // folder for what is being made; "": a temporary one
	Maker   jobs.Maker
	Kind    jobs.Kind  // of Verbs
	Cache   jobs.Cache // of inputs; its Dir is "" for one in the user's folder
	DTypes  []string   // number formats of which it takes work; none: all
	Note    func(format string, args ...any)
}

// Run works on the jobs of a broker until ctx is done.
func (w *Worker) Run(ctx context.Context, q *jobs.Queue) error {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	scratch := w.Scratch
	if scratch == "" {
		if scratch, err = os.MkdirTemp("", "tokencache-work-"); err != nil {
			return err
		}
		defer os.RemoveAll(scratch)
	}
	build, err := version.Describe().Build()
	if err != nil {
		return err
	}
	threads := w.Threads
	if threads <= 0 {
		threads = runtime.GOMAXPROCS(0)
	}
	cache := w.Cache
	if cache.Dir == "" {
		dir, err := os.UserCacheDir()
		if err != nil {
			dir = scratch
		}
		cache.Dir = filepath.Join(dir, "tokencache", "inputs")
	}
	kinds := map[string]jobs.Kind{}
	for _, verb := range Verbs {
		kinds[verb] = w.Kind
	}
	dtypes := w.DTypes
	if len(dtypes) == 0 {
		dtypes = DTypes
	}
	levels := map[string]string{}
	for _, name := range dtypes {
		d, err := tokencache.ParseDType(name)
		if err != nil {
			return err
		}
		levels[name] = kernel.LevelOf(d).String()
	}
	work := &jobs.Work{
		Queue: q,
		Worker: &jobs.Worker{
			Name:    jobs.WorkerName(host, os.Getpid()),
			Host:    host,
			Threads: threads,
			Version: build,
			Level:   kernel.ActiveLevel().String(),
			Levels:  levels,
			DTypes:  dtypes,
		},
		Maker:   w.Maker,
		Kinds:   kinds,
		Cache:   &cache,
		Scratch: filepath.Join(scratch, "parts"),
		Idle:    w.Idle,
		Note:    w.Note,
	}
	return work.Run(ctx)
}

// DTypes are the number formats in which the program computes.
var DTypes = []string{tokencache.F32.String(), tokencache.BF16.String(), tokencache.INT8.String()}

// Local is workers on this machine, in processes of their own.
type Local struct {
	Count   int
	Threads int // of each; 0: all processors, shared out
	Stderr  io.Writer
	Note    func(format string, args ...any)
}

// idleWorker is how long workers outlive a coordinator that is killed, for the one that takes its
// place.
const idleWorker = "10m"

// Start starts the workers of a broker, and starts them again when they end. What it returns ends
// them.
func (l *Local) Start(ctx context.Context, b *Broker) (stop func(), err error) {
	ctx, cancel := context.WithCancel(ctx)
	var wait sync.WaitGroup
	stop = func() { cancel(); wait.Wait() }
	program, err := os.Executable()
	if err != nil {
		return stop, err
	}
	threads := l.Threads
	if threads == 0 && l.Count > 0 {
		threads = max(1, runtime.GOMAXPROCS(0)/l.Count)
	}
	args := []string{"jobs", "work", "--of-run", "--threads", fmt.Sprint(threads), "--idle", idleWorker}
	args = append(args, b.flags()...)
	for range l.Count {
		wait.Go(func() {
			for ctx.Err() == nil {
				l.once(ctx, program, args)
			}
		})
	}
	return stop, nil
}

// once runs a worker until it ends.
func (l *Local) once(ctx context.Context, program string, args []string) {
	w := exec.CommandContext(ctx, program, args...)
	w.Cancel = func() error { return w.Process.Signal(os.Interrupt) }
	w.WaitDelay = 10 * time.Second
	w.Stdout, w.Stderr = io.Discard, l.Stderr
	err := w.Run()
	if err == nil || ctx.Err() != nil {
		return
	}
	l.Note("a worker ended: %v; it is started again", err)
	select {
	case <-ctx.Done():
	case <-time.After(time.Second):
	}
}
