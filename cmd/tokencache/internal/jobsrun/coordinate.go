package jobsrun

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/tokencache/tokencache/cmd/tokencache/internal/output"
	"github.com/tokencache/tokencache/jobs"
	"github.com/tokencache/tokencache/shard"
)

// Make is the flags that say what a job makes.
type Make struct {
	Out      string        `short:"o" once:"" help:"Folder of the parts, which all workers see." placeholder:"DIR" required:""`
	Shared   bool          `help:"The workers see the folder --out. Otherwise their results come back through the broker." default:"true" negatable:""`
	Store    string        `help:"Where results go instead of to the folder --out: a bucket of S3-compatible storage, s3://BUCKET/PREFIX, with AWS's environment variables (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_ENDPOINT_URL) on all machines. Default: --out." placeholder:"s3://BUCKET/PREFIX"`
	Send     bool          `help:"Put the files that the flags name (model, autoencoder, policy, prompts, solver, noise, feature network, archives of images) where results go, too: workers that do not have them fetch them from there, by their hashes. Folders of images are not sent."`
	Size     int           `name:"shard-size" help:"Images of a shard. Default: as many as this machine makes in about 20 seconds." placeholder:"N"`
	AckWait  time.Duration `help:"How long a worker may be silent before its shard is given to another." default:"30s"`
	Attempts int           `help:"How often a shard is begun before it is set aside; one that a worker holds for later and loses does not count." default:"5"`
	inputs   []string
	Args     []string `arg:"" optional:"" help:"Flags of generate, after --. They include --seed, and no --out. With jobs run also compare, calibrate or evaluate with its flags." placeholder:"FLAGS"`
}

// unitSeconds is how long a shard takes about, unless its size is given.
const unitSeconds = 20

// Verb is the command that the job is of, which is taken off generate's flags.
func (c *Make) Verb() string {
	switch {
	case len(c.Args) > 0 && slices.Contains(Verbs, c.Args[0]):
		return c.Args[0]
	case len(c.Args) > 0 && c.Args[0] == generate:
		c.Args = c.Args[1:]
	}
	return generate
}

const generate = "generate"

// Caller returns what has the tasks of another command than generate done, still without a queue.
func (c *Make) Caller() (jobs.Caller, error) {
	store, err := c.storeName()
	return jobs.Caller{Store: store, AckWait: c.AckWait, Attempts: c.Attempts, Every: tasksEvery}, err
}

// tasksEvery is how often the store is looked at while tasks are done, which others wait for.
const tasksEvery = 200 * time.Millisecond

// storeName makes the folder of the results and returns the name of the store that they go to.
func (c *Make) storeName() (string, error) {
	out, err := c.folder()
	switch {
	case err != nil:
	case c.Store != "" && !c.Shared:
		err = errors.New("results go to a store or back through the broker, not both")
	case c.Store != "" && !strings.HasPrefix(c.Store, "s3://"):
		err = fmt.Errorf("store %q: want s3://BUCKET/PREFIX", c.Store)
	case c.Store != "":
		out = c.Store
	case !c.Shared:
		out = jobs.BrokerStore
	}
	return out, err
}

// folder returns the absolute path of the folder of the parts, which it makes.
func (c *Make) folder() (string, error) {
	if info, err := os.Stat(c.Out); err == nil && !info.IsDir() {
		return "", fmt.Errorf("output %s: want a folder, for the parts", c.Out)
	}
	out, err := filepath.Abs(c.Out)
	if err != nil {
		return "", err
	}
	return out, os.MkdirAll(out, 0o777)
}

// Job returns the job that the flags describe. A folder remembers the one that was begun in it.
func (c *Make) Job(ctx context.Context, open OpenRun) (*jobs.Job, error) {
	out, err := c.folder()
	if err != nil {
		return nil, err
	}
	m := NewImages(open)
	defer m.Close()
	run, needs, err := m.Open(c.Args, nil)
	if err != nil {
		return nil, err
	}
	store, err := c.storeName()
	if err != nil {
		return nil, err
	}
	size := c.Size
	if size == 0 {
		if size, err = jobs.RememberedSize(out, run); err != nil {
			return nil, err
		}
	}
	if size == 0 {
		if size, err = m.Measure(ctx, unitSeconds); err != nil {
			return nil, err
		}
	}
	j := jobs.New(c.Args, run, size, store, needs)
	j.AckWait, j.Attempts = c.AckWait, c.Attempts
	c.inputs = m.run.Inputs
	return j, jobs.Remember(out, j)
}

// Submit sends a job's inputs, if that is wanted, and submits it.
func (c *Make) Submit(ctx context.Context, q *jobs.Queue, j *jobs.Job) error {
	if c.Send {
		var err error
		if j.Inputs, err = q.Send(ctx, j.Store, c.inputs); err != nil {
			return err
		}
	}
	return q.Submit(ctx, j)
}

// Serve is the flags of a broker within this process.
type Serve struct {
	Listen string `help:"Address at which a broker within this process listens, unless --nats names another. Beyond this machine it needs --tls-cert, --tls-key, --user and --password-file." default:"${broker}" placeholder:"HOST:PORT"`
	State  string `help:"Folder in which that broker keeps its queue. Default: broker in --out." placeholder:"DIR"`
}

// Start starts the broker, unless b names another, and tells b its address. It returns what stops
// it.
func (s *Serve) Start(b *Broker, out string) (stop func(), err error) {
	if b.NATS != "" {
		return func() {}, nil
	}
	access, err := b.Access()
	if err != nil {
		return nil, err
	}
	state := s.State
	if state == "" {
		state = filepath.Join(out, "broker")
	}
	broker, err := jobs.StartBroker(s.Listen, state, access)
	if err != nil {
		return nil, err
	}
	b.NATS = broker.URL()
	return broker.Stop, nil
}

// Coordinate looks after a job until it is done and all its parts are in the folder out. Those that
// were damaged are made again.
func Coordinate(ctx context.Context, c *jobs.Coordinator, j *jobs.Job, out string, note func(string, ...any)) error {
	for {
		if err := c.Run(ctx, j); err != nil {
			return err
		}
		err := c.Queue.Collect(ctx, j, out)
		if !errors.Is(err, jobs.ErrDamaged) {
			return err
		}
		note("%v: it is made again", err)
		if err := c.Queue.Retry(ctx, j); err != nil {
			return err
		}
	}
}

// Merge joins the parts of a job in the folder out into a file or folder, and returns what it
// wrote; without one it is the folder itself.
func Merge(j *jobs.Job, out, into string) ([]string, error) {
	if into == "" {
		return []string{out}, nil
	}
	folder, err := shard.Scan(out)
	if err != nil {
		return nil, err
	}
	parts, err := folder.Choose(j.Run.Identity)
	if err != nil {
		return nil, err
	}
	return output.Merge(parts, into, output.Mode{Resume: true})
}
