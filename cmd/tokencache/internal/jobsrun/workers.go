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
	work := &jobs.Work{
		Queue: q,
		Worker: &jobs.Worker{
			Name:    jobs.WorkerName(host, os.Getpid()),
			Host:    host,
			Threads: threads,
			Version: build,
			Level:   kernel.ActiveLevel().String(),
			DTypes:  []string{dtype},
		},
		Maker:   w.Maker,
		Scratch: filepath.Join(scratch, "parts"),
		Idle:    w.Idle,
		Note:    w.Note,
	}
	return work.Run(ctx)
}

// dtype is that of the weights in use.
const dtype = "f32"

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
	args := append([]string{"jobs", "work", "--threads", fmt.Sprint(threads), "--idle", idleWorker}, b.flags()...)
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
