package jobsrun

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/tokencache/tokencache/jobs"
)

// Listing is the jobs and the workers of a broker.
type Listing struct {
	Jobs    []*jobs.Job    `json:"jobs"`
	Workers []*jobs.Worker `json:"workers"`
}

// List lists the jobs and the workers of a broker.
func List(ctx context.Context, q *jobs.Queue) (*Listing, error) {
	all, err := q.Jobs(ctx)
	if err != nil {
		return nil, err
	}
	workers, err := q.Workers(ctx)
	return &Listing{all, workers}, err
}

// WriteText writes a line for each job and each worker.
func (l *Listing) WriteText(w io.Writer) {
	for _, j := range l.Jobs {
		what := fmt.Sprintf("%d images in shards of %d", j.Run.Images, j.Size)
		if j.Tasks != nil {
			what = fmt.Sprintf("%d tasks of %s", j.Units(), j.Tasks.Kind)
		}
		fmt.Fprintf(w, "job %s  %s  %s, to %s\n", j.ID, j.State, what, j.Store)
	}
	for _, one := range l.Workers {
		at := "waits"
		if one.Job != "" {
			at = fmt.Sprintf("job %s, shard %d", one.Job, one.Unit)
		}
		models := ""
		if len(one.Models) > 0 {
			models = ", models " + strings.Join(one.Models, " ")
		}
		fmt.Fprintf(w, "worker %s  version %s, CPU level %s, %d threads%s  %d images, %.2f/s  %s\n",
			one.Name, one.Version, one.Level, one.Threads, models, one.Images, one.Rate, at)
	}
}

// Watch writes how far a job is whenever that changes, until it has ended.
func Watch(ctx context.Context, q *jobs.Queue, j *jobs.Job, w io.Writer) error {
	said := ""
	c := jobs.Coordinator{Queue: q, OnStatus: func(s *jobs.Status) {
		if line := s.Bar() + " " + s.String(); line != said {
			said = line
			fmt.Fprintln(w, line)
		}
	}}
	return c.Watch(ctx, j)
}

// Look returns how far a job is now: an open one is looked after once, if this machine sees its store.
func Look(ctx context.Context, q *jobs.Queue, j *jobs.Job) (*jobs.Status, error) {
	if j.State == jobs.Open && j.CheckStore() == nil {
		return q.Fill(ctx, j)
	}
	return q.Status(ctx, j)
}
