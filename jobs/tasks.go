package jobs

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"github.com/tokencache/tokencache/internal/atomicfile"
	"github.com/tokencache/tokencache/internal/regularfile"
	"github.com/tokencache/tokencache/shard"
)

// Tasks are the units of a job that makes no parts of a run, such as the images of a comparison.
type Tasks struct {
	Kind string            `json:"kind"` // which Kind does them
	Of   string            `json:"of"`   // identity of all that results depend on besides the tasks
	List []json.RawMessage `json:"list"`
}

// Kind does tasks of one kind.
type Kind interface {
	// Prepare makes ready for a job of the kind, or says why this worker cannot give what it needs.
	Prepare(ctx context.Context, j *Job) error
	// Run returns the result of a task of the job. It is the same on every worker.
	Run(ctx context.Context, j *Job, task json.RawMessage) ([]byte, error)
}

// maxJob bounds the encoded size of a job: brokers take messages of 1 MB.
const maxJob = 1 << 20 * 9 / 10

// NewTasks returns the job of some tasks. Equal tasks with results in equal stores are equal jobs.
func NewTasks(args []string, tasks Tasks, store string, needs Needs) *Job {
	names := make([]string, len(tasks.List))
	for i := range names {
		names[i] = tasks.result(i)
	}
	j := New(args, shard.Run{Images: len(tasks.List)}, 1, store, needs)
	j.Tasks = &tasks
	sum := sha256.Sum256(encode([]any{names, store}))
	j.ID = hex.EncodeToString(sum[:])[:idDigits]
	return j
}

// check reports tasks that cannot be worked on.
func (t *Tasks) check(units int) error {
	if t.Kind == "" || len(t.List) != units {
		return fmt.Errorf("%d tasks of kind %q in %d units", len(t.List), t.Kind, units)
	}
	return nil
}

// result is the name of the file with the result of task i.
func (t *Tasks) result(i int) string {
	var task bytes.Buffer
	if json.Compact(&task, t.List[i]) != nil {
		task.Reset() // no task: nobody can do it
	}
	sum := sha256.Sum256(encode([]string{t.Kind, t.Of, task.String()}))
	return "task-" + hex.EncodeToString(sum[:16]) + ".bin"
}

// taskName matches the names of results of tasks, and of inputs.
var taskName = regexp.MustCompile(`^(task|file)-[0-9a-f]{32}\.bin$`)

// isResult reports whether a name is one that results have, or inputs.
func isResult(name string) bool { return shard.IsName(name) || taskName.MatchString(name) }

// maxResult bounds the result of a task, in bytes.
const maxResult = 1 << 30

// writeResult creates or replaces the file of a task's result, whole or not at all: its SHA-256 and
// then its bytes.
func writeResult(path string, result []byte) error {
	return atomicfile.Write(path, func(w io.Writer) error {
		sum := sha256.Sum256(result)
		_, err := w.Write(sum[:])
		if err == nil {
			_, err = w.Write(result)
		}
		return err
	})
}

// readResult returns the result of a task that is kept at path.
func readResult(path string) ([]byte, error) {
	b, err := regularfile.Read(path, maxResult)
	if err != nil {
		return nil, err
	}
	if len(b) < sha256.Size || sha256.Sum256(b[sha256.Size:]) != [sha256.Size]byte(b) {
		return nil, fmt.Errorf("result %s: %w: its bytes have another checksum", path, ErrDamaged)
	}
	return b[sha256.Size:], nil
}

// verify reads a result whole and reports what is wrong with it.
func (j *Job) verify(path string) error {
	if j.Tasks == nil {
		return shard.Verify(path)
	}
	_, err := readResult(path)
	return err
}

// Caller has tasks done by workers.
type Caller struct {
	Queue    *Queue
	Store    string // where results go, as OpenStore takes it
	Needs    Needs
	Inputs   []Input // of the jobs
	AckWait  time.Duration
	Attempts int
	Every    time.Duration // as in Coordinator
	// OnJob and OnStatus, if not nil, are told which job the tasks are, and how far it is.
	OnJob    func(j *Job)
	OnStatus func(*Status)
}

// Do has workers do tasks and hands each result to take, once, as they come. A task that no worker
// could do is handed over with why. What interrupts Do leaves the results in the store, where the
// same call finds them; at its end it removes them, and the job.
func (c *Caller) Do(ctx context.Context, args []string, tasks Tasks,
	take func(i int, result []byte, failed error) error) error {
	if len(tasks.List) == 0 {
		return nil
	}
	j := NewTasks(args, tasks, c.Store, c.Needs)
	j.Inputs = c.Inputs
	if c.AckWait > 0 {
		j.AckWait = c.AckWait
	}
	if c.Attempts > 0 {
		j.Attempts = c.Attempts
	}
	store, err := c.Queue.OpenStore(ctx, j.Store)
	if err != nil {
		return err
	}
	if err := c.Queue.Submit(ctx, j); err != nil {
		return err
	}
	if c.OnJob != nil {
		c.OnJob(j)
	}
	dir, err := os.MkdirTemp("", "tokencache-tasks-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	coordinator := &Coordinator{Queue: c.Queue, Every: c.Every, OnStatus: c.OnStatus}
	coordinator.found = func(ctx context.Context, unit int) error {
		result, err := fetchResult(ctx, store, j.Result(unit), dir)
		if err != nil {
			return err
		}
		return take(unit, result, nil)
	}
	err = coordinator.Run(ctx, j)
	if aside := (*SetAsideError)(nil); errors.As(err, &aside) {
		err = nil
		for _, f := range aside.Failures {
			if err == nil {
				err = take(f.Unit, nil, fmt.Errorf("on worker %s: %s", f.Worker, f.Cause))
			}
		}
	}
	if err != nil {
		return err
	}
	for unit := range j.Units() {
		err := c.Queue.persist(ctx, func(ctx context.Context) error { return store.Remove(ctx, j.Result(unit)) })
		if err != nil {
			return err
		}
	}
	return c.Queue.Forget(ctx, j)
}

// fetchResult returns a task's result from a store. One that is damaged is removed there.
func fetchResult(ctx context.Context, store Store, name, dir string) ([]byte, error) {
	if err := store.Fetch(ctx, name, dir); err != nil {
		return nil, err
	}
	path := filepath.Join(dir, name)
	result, err := readResult(path)
	if errors.Is(err, ErrDamaged) {
		err = errors.Join(err, store.Remove(ctx, name))
	}
	return result, errors.Join(err, os.Remove(path))
}
