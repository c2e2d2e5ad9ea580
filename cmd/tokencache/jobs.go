package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tokencache/tokencache/internal/regularfile"
	"github.com/tokencache/tokencache/jobs"
)

type jobsCmd struct {
	Run    jobsRunCmd    `cmd:"" help:"Have workers generate the images of a run, and wait until all are there."`
	Work   jobsWorkCmd   `cmd:"" help:"Be a worker: generate images of whatever jobs there are."`
	Submit jobsSubmitCmd `cmd:"" help:"Put a job into the queue of a broker, and do not wait for it."`
	List   jobsListCmd   `cmd:"" help:"List jobs, and the workers that are there."`
	Watch  jobsWatchCmd  `cmd:"" help:"Show how far a job is, until it is done."`
	Cancel jobsCancelCmd `cmd:"" help:"End a job: what is made stays."`
	Retry  jobsRetryCmd  `cmd:"" help:"Try the shards of a job again that were set aside."`
}

// brokerFlags say how a broker is reached.
type brokerFlags struct {
	NATS     string `name:"nats" help:"Address of a NATS broker with JetStream, several separated by commas; beyond this machine tls://HOST:PORT, with credentials. Default: nats://${broker}." placeholder:"URL"`
	User     string `help:"User of the broker. Default: none." placeholder:"NAME"`
	Password string `name:"password-file" help:"File with the user's password. Default: none." placeholder:"FILE"`
	NKey     string `name:"nkey" help:"File with the seed of an nkey, instead of user and password. Default: none." placeholder:"FILE"`
	CA       string `name:"tls-ca" help:"File of the authorities that sign the broker's certificate. Default: the system's." placeholder:"FILE"`
	Cert     string `name:"tls-cert" help:"File of this side's certificate. Default: none." placeholder:"FILE"`
	Key      string `name:"tls-key" help:"File of its key. Default: none." placeholder:"FILE"`
	Replicas int    `help:"Copies that a cluster of brokers keeps." default:"1"`
}

// access returns who this is to the broker.
func (f *brokerFlags) access() (jobs.Access, error) {
	a := jobs.Access{User: f.User, NKey: f.NKey, CA: f.CA, Cert: f.Cert, Key: f.Key}
	if f.Password != "" {
		text, err := regularfile.Read(f.Password, regularfile.MaxText)
		if err != nil {
			return a, fmt.Errorf("--password-file: %w", err)
		}
		a.Password = strings.TrimSpace(string(text))
	}
	return a, nil
}

// defaultBroker is where jobs run listens.
const defaultBroker = "127.0.0.1:4222"

// connectWait bounds how long verbs that only ask wait for the broker.
const connectWait = 10 * time.Second

// queue connects to the broker and returns its jobs, and what closes the connection. It waits for
// the broker as long as ctx allows.
func (f *brokerFlags) queue(ctx context.Context) (*jobs.Queue, func(), error) {
	access, err := f.access()
	if err != nil {
		return nil, nil, err
	}
	if f.NATS == "" {
		f.NATS = "nats://" + defaultBroker
	}
	conn, err := jobs.Connect(f.NATS, access)
	if err != nil {
		return nil, nil, err
	}
	q, err := jobs.OpenQueue(ctx, conn, f.Replicas)
	if err != nil {
		conn.Close()
		return nil, nil, err
	}
	return q, conn.Close, nil
}

// with calls do with the jobs of the broker.
func (f *brokerFlags) with(a *app, do func(q *jobs.Queue) error) error {
	ctx, cancel := context.WithTimeout(a.ctx, connectWait)
	defer cancel()
	q, closeQueue, err := f.queue(ctx)
	if err != nil {
		return err
	}
	defer closeQueue()
	return do(q)
}

type jobsListCmd struct {
	brokerFlags
	JSON bool `name:"json" help:"Print one JSON object on standard output."`
}

func (c *jobsListCmd) Run(a *app) error {
	return c.with(a, func(q *jobs.Queue) error {
		all, err := q.Jobs(a.ctx)
		if err != nil {
			return err
		}
		workers, err := q.Workers(a.ctx)
		if err != nil {
			return err
		}
		if c.JSON {
			return a.printJSON(map[string]any{"jobs": all, "workers": workers})
		}
		for _, j := range all {
			fmt.Fprintf(a.stdout, "job %s  %s  %d images in shards of %d, to %s\n", j.ID, j.State, j.Run.Images, j.Size, j.Store)
		}
		for _, w := range workers {
			at := "waits"
			if w.Job != "" {
				at = fmt.Sprintf("job %s, shard %d", w.Job, w.Unit)
			}
			fmt.Fprintf(a.stdout, "worker %s  version %s, CPU level %s, %d threads  %d images, %.2f/s  %s\n",
				w.Name, w.Version, w.Level, w.Threads, w.Images, w.Rate, at)
		}
		return nil
	})
}

// jobFlags name a job.
type jobFlags struct {
	brokerFlags
	Job string `arg:"" help:"The job, as jobs list names it; the beginning of its name is enough." placeholder:"JOB"`
}

type jobsCancelCmd struct{ jobFlags }

func (c *jobsCancelCmd) Run(a *app) error {
	return c.with(a, func(q *jobs.Queue) error {
		j, err := q.Job(a.ctx, c.Job)
		if err != nil {
			return err
		}
		return q.Finish(a.ctx, j, jobs.Cancelled)
	})
}

type jobsRetryCmd struct{ jobFlags }

func (c *jobsRetryCmd) Run(a *app) error {
	return c.with(a, func(q *jobs.Queue) error {
		j, err := q.Job(a.ctx, c.Job)
		if err != nil {
			return err
		}
		return q.Retry(a.ctx, j)
	})
}

// watchEvery is how often jobs watch looks.
const watchEvery = 2 * time.Second

type jobsWatchCmd struct {
	jobFlags
	JSON bool `name:"json" help:"Print the state once, as one JSON object on standard output."`
}

func (c *jobsWatchCmd) Run(a *app) error {
	return c.with(a, func(q *jobs.Queue) error {
		j, err := q.Job(a.ctx, c.Job)
		if err != nil {
			return err
		}
		if c.JSON {
			s, err := q.Status(a.ctx, j)
			return errors.Join(err, a.printJSON(s))
		}
		for said := ""; ; {
			s, err := q.Status(a.ctx, j)
			if err != nil {
				return err
			}
			if line := s.Bar() + " " + s.String(); line != said {
				said = line
				fmt.Fprintln(a.stdout, line)
			}
			if s.Done+len(s.SetAside) == s.Units || s.State == jobs.Cancelled {
				return nil
			}
			select {
			case <-a.ctx.Done():
				return a.ctx.Err()
			case <-time.After(watchEvery):
			}
		}
	})
}
