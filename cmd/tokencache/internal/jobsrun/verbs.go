package jobsrun

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/tokencache/tokencache/jobs"
)

// Verbs are the commands whose tasks workers do.
var Verbs = []string{"compare", "calibrate", "evaluate"}

// Opened is a command of Verbs that is open on a worker.
type Opened struct {
	Model string                // fingerprint, "" of none
	Check func(of string) error // reports that its tasks are not those identified by of
	Do    func(ctx context.Context, of string, task json.RawMessage) ([]byte, error)
	Close func()
}

// OpenTasks opens a command of Verbs, as OpenRun does.
type OpenTasks func(args []string, local map[string]string) (*Opened, error)

// Commands does the tasks of commands, with one open at a time. It implements jobs.Kind.
type Commands struct {
	open   OpenTasks
	args   []string // that are open
	opened *Opened
}

// NewCommands returns what does the tasks of the commands that open opens.
func NewCommands(open OpenTasks) *Commands { return &Commands{open: open} }

// Close closes the command that is open.
func (c *Commands) Close() {
	if c.opened != nil {
		c.opened.Close()
		c.opened = nil
	}
}

// Prepare implements jobs.Kind.
func (c *Commands) Prepare(_ context.Context, j *jobs.Job) error {
	if len(j.Args) == 0 || j.Args[0] != j.Tasks.Kind || !slices.Contains(Verbs, j.Args[0]) {
		return fmt.Errorf("its tasks are of %q: want one of %v", j.Tasks.Kind, Verbs)
	}
	if c.opened == nil || !slices.Equal(c.args, j.Args) {
		c.Close()
		o, err := c.open(j.Args, j.Local)
		if err != nil {
			return err
		}
		c.opened, c.args = o, j.Args
	}
	if c.opened.Model != j.Needs.Model {
		return fmt.Errorf("the model has fingerprint %s, the job's %s", c.opened.Model, j.Needs.Model)
	}
	return c.opened.Check(j.Tasks.Of)
}

// Run implements jobs.Kind.
func (c *Commands) Run(ctx context.Context, j *jobs.Job, task json.RawMessage) ([]byte, error) {
	if err := c.Prepare(ctx, j); err != nil { // another job's may have been open meanwhile
		return nil, err
	}
	return c.opened.Do(ctx, j.Tasks.Of, task)
}
