package main

import (
	"fmt"
	"strings"

	"github.com/tokencache/tokencache/cmd/tokencache/internal/jobsrun"
	"github.com/tokencache/tokencache/jobs"
)

type jobsSubmitCmd struct {
	jobsrun.Make
	jobsrun.Broker
}

func (c *jobsSubmitCmd) Run(a *app) error {
	if verb := c.Verb(); verb != "generate" {
		return fmt.Errorf("%s goes on after its tasks: give it to jobs run, which waits for them", verb)
	}
	j, err := c.Make.Job(a.ctx, a.openRun(0))
	if err != nil {
		return err
	}
	return c.With(a.ctx, func(q *jobs.Queue) error {
		if err := c.Make.Submit(a.ctx, q, j); err != nil {
			return err
		}
		a.note("job %s: %d images in %d shards", j.ID, j.Run.Images, j.Units())
		_, err := q.Fill(a.ctx, j)
		return err
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
  tokencache jobs run --workers 2 --out parts --merge samples.npz -- --model fashion --count 50000 --seed 0
  tokencache jobs work --nats nats://127.0.0.1:4222

  tokencache jobs run --workers 2 --out tasks -- compare --count 1000 --out comparison

The images are those of generate with the same flags, bit for bit, whatever workers there are and whichever of them
die. After a crash the same command goes on: what counts is which parts are in --out.

Workers also do the tasks of compare, calibrate and evaluate, with the same results; --out is then the folder of what
they send. Times are measured on this machine alone: those of what workers made for compare by its --retime.`
}

func (c *jobsRunCmd) Run(a *app) error {
	if c.Verb() != "generate" {
		return c.command(a)
	}
	j, err := c.Make.Job(a.ctx, a.openRun(0))
	if err != nil {
		return err
	}
	q, stop, err := c.start(a)
	if err != nil {
		return err
	}
	defer stop()
	if err := c.Make.Submit(a.ctx, q, j); err != nil {
		return err
	}
	a.note("job %s: %d images in %d shards; workers: tokencache jobs work --nats %s",
		j.ID, j.Run.Images, j.Units(), c.NATS)
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

// start starts the broker and the workers of this machine, and returns the broker's jobs and what
// ends all of it.
func (c *jobsRunCmd) start(a *app) (q *jobs.Queue, stop func(), err error) {
	stopBroker, err := c.Start(&c.Broker, c.Out)
	if err != nil {
		return nil, nil, err
	}
	q, closeQueue, err := c.Queue(a.ctx)
	if err != nil {
		stopBroker()
		return nil, nil, err
	}
	local := jobsrun.Local{Count: c.Workers, Threads: c.Threads, Stderr: a.stderr, Note: a.note}
	stopWorkers, err := local.Start(a.ctx, &c.Broker)
	stop = func() { stopWorkers(); closeQueue(); stopBroker() }
	if err != nil {
		stop()
	}
	return q, stop, err
}

// command runs another command than generate, whose tasks workers do.
func (c *jobsRunCmd) command(a *app) error {
	of, command, err := parseCommand(c.Args)
	if err == nil {
		err = of.checkTasks(c.Verb())
	}
	if err != nil {
		return err
	}
	caller, err := c.Caller()
	if err != nil {
		return err
	}
	q, stop, err := c.start(a)
	if err != nil {
		return err
	}
	defer stop()
	metrics, err := jobs.ServeMetrics(c.Metrics)
	if err != nil {
		return err
	}
	defer metrics.Close()
	bar := a.newProgress("tasks")
	defer bar.Finish()
	caller.Queue, caller.OnStatus = q, func(s *jobs.Status) {
		metrics.Set(s)
		bar.Set(float64(s.Made), float64(s.Images))
	}
	if c.Send {
		sent, kept := inputs(command)
		for _, path := range kept {
			a.note("folder %s is not sent: workers must see it under this path", path)
		}
		if caller.Inputs, err = q.Send(a.ctx, caller.Store, sent); err != nil {
			return err
		}
	}
	caller.OnJob = func(j *jobs.Job) {
		a.note("job %s: %d tasks; workers: tokencache jobs work --nats %s", j.ID, j.Units(), c.NATS)
	}
	a.far = &jobsrun.Far{Caller: caller, Args: c.Args}
	return command.Run(a)
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
