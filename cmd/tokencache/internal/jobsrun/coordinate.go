package jobsrun

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/tokencache/tokencache/cmd/tokencache/internal/output"
	"github.com/tokencache/tokencache/jobs"
	"github.com/tokencache/tokencache/shard"
)

// Make is the flags that say what a job makes.
type Make struct {
	Out      string        `short:"o" once:"" help:"Folder of the parts, which all workers see." placeholder:"DIR" required:""`
	Shared   bool          `help:"The workers see the folder --out. Otherwise their results come back through the broker." default:"true" negatable:""`
	Size     int           `name:"shard-size" help:"Images of a shard. Default: as many as this machine makes in about 20 seconds." placeholder:"N"`
	AckWait  time.Duration `help:"How long a worker may be silent before its shard is given to another." default:"30s"`
	Attempts int           `help:"How often a shard is begun before it is set aside." default:"5"`
	Args     []string      `arg:"" optional:"" help:"Flags of generate, after --. They include --seed, and no --out." placeholder:"FLAGS"`
}

// unitSeconds is how long a shard takes about, unless its size is given.
const unitSeconds = 20

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
	run, needs, err := m.Open(c.Args)
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
		if size, err = m.Measure(ctx, unitSeconds); err != nil {
			return nil, err
		}
	}
	j := jobs.New(c.Args, run, size, store, needs)
	j.AckWait, j.Attempts = c.AckWait, c.Attempts
	return j, jobs.Remember(out, j)
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

// Merge joins the parts of a job in the folder out into a file or folder, and returns what it wrote;
// without one it is the folder itself.
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
