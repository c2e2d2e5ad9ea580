package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/tokencache/tokencache/cmd/tokencache/internal/output"
	"github.com/tokencache/tokencache/jobs"
	"github.com/tokencache/tokencache/shard"
)

// jobsMakeFlags say what a job makes.
type jobsMakeFlags struct {
	Out      string        `short:"o" once:"" help:"Folder of the parts, which all workers see." placeholder:"DIR" required:""`
	Shared   bool          `help:"The workers see the folder --out. Otherwise their results come back through the broker." default:"true" negatable:""`
	Size     int           `name:"shard-size" help:"Images of a shard. Default: as many as this machine makes in about 20 seconds." placeholder:"N"`
	AckWait  time.Duration `help:"How long a worker may be silent before its shard is given to another." default:"30s"`
	Attempts int           `help:"How often a shard is begun before it is set aside." default:"5"`
	Args     []string      `arg:"" optional:"" help:"Flags of generate, after --. They include --seed, and no --out." placeholder:"FLAGS"`
}

type jobsSubmitCmd struct {
	jobsMakeFlags
	brokerFlags
}

func (c *jobsSubmitCmd) Run(a *app) error {
	j, err := c.job(a)
	if err != nil {
		return err
	}
	return c.with(a, func(q *jobs.Queue) error {
		if err := q.Submit(a.ctx, j); err != nil {
			return err
		}
		a.note("job %s: %d images in %d shards", j.ID, j.Run.Images, j.Units())
		return q.Fill(a.ctx, j)
	})
}

type jobsRunCmd struct {
	jobsMakeFlags
	brokerFlags
	Listen  string `help:"Address at which a broker within this process listens, unless --nats names another. Beyond this machine it needs --tls-cert, --tls-key, --user and --password-file." default:"${broker}" placeholder:"HOST:PORT"`
	State   string `help:"Folder in which that broker keeps its queue. Default: broker in --out." placeholder:"DIR"`
	Workers int    `short:"w" help:"Workers to start on this machine; they are started again when they end. Default: none." placeholder:"N"`
	Threads int    `help:"Threads of each of them. Default: all processors, shared out." placeholder:"N"`
	Metrics string `help:"Address at which Prometheus can read how far the job is. Default: none." placeholder:"HOST:PORT"`
	Merge   string `help:"At the end also merge the parts into this file or folder. Default: not." placeholder:"FILE.npz|DIR"`
	JSON    bool   `name:"json" help:"Print one JSON object on standard output."`
}

func (c *jobsRunCmd) Help() string {
	return `Examples:
  tokencache jobs run --workers 2 --out parts --merge samples.npz -- --count 50000 --seed 0
  tokencache jobs work --nats nats://127.0.0.1:4222

The images are those of generate with the same flags, bit for bit, whatever workers there are and whichever of them
die. After a crash the same command goes on: what counts is which parts are in --out.`
}

func (c *jobsRunCmd) Run(a *app) (err error) {
	j, err := c.job(a)
	if err != nil {
		return err
	}
	if c.NATS == "" {
		access, err := c.access()
		if err != nil {
			return err
		}
		if c.State == "" {
			c.State = filepath.Join(c.Out, "broker")
		}
		broker, err := jobs.StartBroker(c.Listen, c.State, access)
		if err != nil {
			return err
		}
		defer broker.Stop()
		c.NATS = broker.URL()
	}
	q, closeQueue, err := c.queue(a.ctx)
	if err != nil {
		return err
	}
	defer closeQueue()
	if err := q.Submit(a.ctx, j); err != nil {
		return err
	}
	a.note("job %s: %d images in %d shards; workers: tokencache jobs work --nats %s",
		j.ID, j.Run.Images, j.Units(), c.NATS)
	stop, err := c.startWorkers(a)
	if err != nil {
		return err
	}
	defer stop()
	if err := c.coordinate(a, q, j); err != nil {
		return err
	}
	return c.finish(a, q, j)
}

// coordinate looks after the job until it is done, and shows how far it is.
func (c *jobsRunCmd) coordinate(a *app, q *jobs.Queue, j *jobs.Job) error {
	bar := a.newProgress("images")
	defer bar.Finish()
	metrics, err := jobs.ServeMetrics(c.Metrics)
	if err != nil {
		return err
	}
	defer metrics.Close()
	coordinator := &jobs.Coordinator{Queue: q, OnStatus: func(s *jobs.Status) {
		metrics.Set(s)
		bar.Set(float64(s.Made), float64(s.Images))
	}}
	for {
		if err := coordinator.Run(a.ctx, j); err != nil {
			return err
		}
		err := q.Collect(a.ctx, j, c.Out)
		if err == nil {
			return nil
		}
		if !errors.Is(err, jobs.ErrDamaged) {
			return err
		}
		a.note("%v: it is made again", err)
		if err := q.Retry(a.ctx, j); err != nil {
			return err
		}
	}
}

// finish merges the parts, if that is wanted.
func (c *jobsRunCmd) finish(a *app, q *jobs.Queue, j *jobs.Job) error {
	s, err := q.Status(a.ctx, j)
	if err != nil {
		return err
	}
	files := []string{c.Out}
	if c.Merge != "" {
		folder, err := shard.Scan(c.Out)
		if err != nil {
			return err
		}
		parts, err := folder.Choose(j.Run.Identity)
		if err != nil {
			return err
		}
		if files, err = output.Merge(parts, c.Merge, output.Mode{Resume: true}); err != nil {
			return err
		}
	}
	if c.JSON {
		return a.printJSON(map[string]any{"job": j.ID, "status": s, "files": files})
	}
	a.note("%v; wrote %s", s, strings.Join(files, ", "))
	return nil
}

// job returns the job that the flags describe. A folder remembers the one that was begun in it.
func (c *jobsMakeFlags) job(a *app) (*jobs.Job, error) {
	if info, err := os.Stat(c.Out); err == nil && !info.IsDir() {
		return nil, fmt.Errorf("--out %s: want a folder, for the parts", c.Out)
	}
	out, err := filepath.Abs(c.Out)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(out, 0o777); err != nil {
		return nil, err
	}
	m := &partMaker{app: a}
	defer m.Close()
	run, needs, err := m.open(c.Args)
	if err != nil {
		return nil, err
	}
	store := out
	if !c.Shared {
		store = jobs.BrokerStore
	}
	size := c.Size
	if size == 0 {
		if size, err = jobs.RememberedSize(out, run); err != nil {
			return nil, err
		}
	}
	if size == 0 {
		if size, err = m.measure(unitSeconds); err != nil {
			return nil, err
		}
	}
	j := jobs.New(c.Args, run, size, store, needs)
	j.AckWait, j.Attempts = c.AckWait, c.Attempts
	return j, jobs.Remember(out, j)
}

// unitSeconds is how long a shard takes about, unless its size is given.
const unitSeconds = 20
