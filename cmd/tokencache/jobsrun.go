package main

import (
	"strings"

	"github.com/tokencache/tokencache/cmd/tokencache/internal/jobsrun"
	"github.com/tokencache/tokencache/jobs"
)

type jobsSubmitCmd struct {
	jobsrun.Make
	jobsrun.Broker
}

func (c *jobsSubmitCmd) Run(a *app) error {
	j, err := c.Make.Job(a.ctx, a.openRun(0))
	if err != nil {
		return err
	}
	return c.With(a.ctx, func(q *jobs.Queue) error {
		if err := q.Submit(a.ctx, j); err != nil {
			return err
		}
		a.note("job %s: %d images in %d shards", j.ID, j.Run.Images, j.Units())
		return q.Fill(a.ctx, j)
	})
}

type jobsRunCmd struct {
	jobsrun.Make
	jobsrun.Broker
	jobsrun.Serve
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
	j, err := c.Make.Job(a.ctx, a.openRun(0))
	if err != nil {
		return err
	}
	stopBroker, err := c.Start(&c.Broker, c.Out)
	if err != nil {
		return err
	}
	defer stopBroker()
	q, closeQueue, err := c.Queue(a.ctx)
	if err != nil {
		return err
	}
	defer closeQueue()
	if err := q.Submit(a.ctx, j); err != nil {
		return err
	}
	a.note("job %s: %d images in %d shards; workers: tokencache jobs work --nats %s",
		j.ID, j.Run.Images, j.Units(), c.NATS)
	local := jobsrun.Local{Count: c.Workers, Threads: c.Threads, Stderr: a.stderr, Note: a.note}
	stop, err := local.Start(a.ctx, &c.Broker)
	if err != nil {
		return err
	}
	defer stop()
	if err := c.coordinate(a, q, j); err != nil {
		return err
	}
	s, err := q.Status(a.ctx, j)
	if err != nil {
		return err
	}
	files, err := jobsrun.Merge(j, c.Out, c.Merge)
	if err != nil {
		return err
	}
	if c.JSON {
		return a.printJSON(map[string]any{"job": j.ID, "status": s, "files": files})
	}
	a.note("%v; wrote %s", s, strings.Join(files, ", "))
	return nil
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
	return jobsrun.Coordinate(a.ctx, coordinator, j, c.Out, a.note)
}
