package main

import (
	"github.com/tokencache/tokencache/cmd/tokencache/internal/jobsrun"
	"github.com/tokencache/tokencache/jobs"
)

type jobsCmd struct {
	Run    jobsRunCmd    `cmd:"" help:"Have workers generate the images of a run, or do the tasks of compare, calibrate or evaluate, and wait for them."`
	Work   jobsWorkCmd   `cmd:"" help:"Be a worker: do the shards and tasks of whatever jobs there are."`
	Submit jobsSubmitCmd `cmd:"" help:"Put a job into the queue of a broker, and do not wait for it."`
	List   jobsListCmd   `cmd:"" help:"List jobs, and the workers that are there."`
	Watch  jobsWatchCmd  `cmd:"" help:"Show how far a job is, until it is done."`
	Cancel jobsCancelCmd `cmd:"" help:"End a job: what is made stays."`
	Retry  jobsRetryCmd  `cmd:"" help:"Try the shards of a job again that were set aside."`
}

type jobsListCmd struct {
	jobsrun.Broker
	JSON bool `name:"json" help:"Print one JSON object on standard output."`
}

func (c *jobsListCmd) Run(a *app) error {
	return c.With(a.ctx, func(q *jobs.Queue) error {
		l, err := jobsrun.List(a.ctx, q)
		switch {
		case err != nil:
			return err
		case c.JSON:
			return a.printJSON(l)
		}
		l.WriteText(a.stdout)
		return nil
	})
}

// jobFlags name a job.
type jobFlags struct {
	jobsrun.Broker
	Job string `arg:"" help:"The job, as jobs list names it; the beginning of its name is enough." placeholder:"JOB"`
}

type jobsCancelCmd struct{ jobFlags }

func (c *jobsCancelCmd) Run(a *app) error {
	return c.WithJob(a.ctx, c.Job, func(q *jobs.Queue, j *jobs.Job) error {
		return q.Finish(a.ctx, j, jobs.Cancelled)
	})
}

type jobsRetryCmd struct{ jobFlags }

func (c *jobsRetryCmd) Run(a *app) error {
	return c.WithJob(a.ctx, c.Job, func(q *jobs.Queue, j *jobs.Job) error {
		if err := q.Retry(a.ctx, j); err != nil {
			return err
		}
		if err := j.CheckStore(); err != nil {
			a.note("job %s: its coordinator queues the shards: %v", j.ID, err)
			return nil
		}
		_, err := q.Fill(a.ctx, j)
		return err
	})
}

type jobsWatchCmd struct {
	jobFlags
	JSON bool `name:"json" help:"Print the state once, as one JSON object on standard output."`
}

func (c *jobsWatchCmd) Run(a *app) error {
	return c.WithJob(a.ctx, c.Job, func(q *jobs.Queue, j *jobs.Job) error {
		if !c.JSON {
			return jobsrun.Watch(a.ctx, q, j, a.stdout)
		}
		s, err := jobsrun.Look(a.ctx, q, j)
		if err != nil {
			return err
		}
		return a.printJSON(s)
	})
}
