// Package jobs has a run's images made by workers behind a queue, NATS JetStream. A job is a run
// that is divided into units, the spans of its parts. The queue says which unit a worker takes
// next; what is done is said by the store of results alone, from which the queue is rebuilt. A unit
// that is lost is queued again, and one that is made twice is made the same.
package jobs

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/tokencache/tokencache/internal/digest"
	"github.com/tokencache/tokencache/shard"
)

// Job is a run to be made, and how.
type Job struct {
	ID    string    `json:"id"`
	Args  []string  `json:"args"`            // of the command that makes the run's images, for a Maker
	Run   shard.Run `json:"run"`             // what all parts say of their run; of tasks their number alone
	Tasks *Tasks    `json:"tasks,omitempty"` // nil: the units are parts of the run
	Size  int       `json:"size"`            // images of a unit, of the last perhaps fewer
	Store string    `json:"store"`           // where results go, as OpenStore takes it
	Needs Needs     `json:"needs"`
	// Inputs are in the store, for workers that do not have them.
	Inputs []Input `json:"inputs,omitempty"`
	// Local says on a worker where those inputs are that it has under other names.
	Local map[string]string `json:"-"`
	// AckWait is how long a worker may be silent before its unit is given to another.
	AckWait time.Duration `json:"ack_wait_ns"`
	// Attempts is how often a unit is begun before it is set aside.
	Attempts int   `json:"attempts"`
	State    State `json:"state"`
}

// State is what is to be done about a job.
type State string

// The states of jobs.
const (
	Open      State = "open"
	Done      State = "done"
	Cancelled State = "cancelled"
)

// Needs are what a worker must have so that its images are the job's.
type Needs struct {
	Version string `json:"version"` // of the program
	Level   string `json:"level"`   // of the CPU
	DType   string `json:"dtype"`   // of the weights in use
	Model   string `json:"model"`   // fingerprint; workers that can open no such model find out
}

// Defaults of jobs.
const (
	DefaultAckWait  = 30 * time.Second
	DefaultAttempts = 5
)

// idDigits is the length of a job's identifier.
const idDigits = 12

// New returns the job of a run whose units have size images. Equal runs into equal stores are equal
// jobs.
func New(args []string, run shard.Run, size int, store string, needs Needs) *Job {
	return &Job{
		ID:       digest.Of(run, size, store)[:idDigits],
		Args:     args,
		Run:      run,
		Size:     size,
		Store:    store,
		Needs:    needs,
		AckWait:  DefaultAckWait,
		Attempts: DefaultAttempts,
		State:    Open,
	}
}

// check reports a job that cannot be worked on, such as one from a foreign queue.
func (j *Job) check() error {
	switch {
	case len(j.ID) != idDigits || !isHex(j.ID):
		return fmt.Errorf("job %q: want an identifier of %d hexadecimal digits", j.ID, idDigits)
	case j.Run.Images < 1 || j.Run.Images > maxImages || j.Size < 1:
		return fmt.Errorf("job %s: %d images in units of %d", j.ID, j.Run.Images, j.Size)
	case j.Units() > maxUnits:
		return fmt.Errorf("job %s: %d units, want at most %d: give larger ones", j.ID, j.Units(), maxUnits)
	case j.AckWait < time.Millisecond || j.Attempts < 1:
		return fmt.Errorf("job %s: an ack wait of %v and %d attempts", j.ID, j.AckWait, j.Attempts)
	}
	if j.Tasks != nil {
		if err := j.Tasks.check(j.Units()); err != nil {
			return fmt.Errorf("job %s: %w", j.ID, err)
		}
	}
	return nil
}

// Bounds of what a job from a queue may ask for.
const (
	maxImages = 1 << 30
	maxUnits  = 1 << 17
)

func isHex(s string) bool {
	_, err := strconv.ParseUint(s, 16, 64)
	return err == nil
}

// Units is the number of units.
func (j *Job) Units() int { return (j.Run.Images + j.Size - 1) / j.Size }

// Span is that of unit i.
func (j *Job) Span(i int) shard.Span {
	return shard.Span{First: i * j.Size, End: min((i+1)*j.Size, j.Run.Images)}
}

// Result is the name of the file that unit i makes: a part, or the result of a task.
func (j *Job) Result(i int) string {
	if j.Tasks != nil {
		return j.Tasks.result(i)
	}
	p := shard.Part{Run: j.Run, Span: j.Span(i)}
	return p.Name()
}

// Worker is what a worker says of itself.
type Worker struct {
	Name    string `json:"name"` // of host, process and start
	Host    string `json:"host"`
	Threads int    `json:"threads"`
	Version string `json:"version"`
	Level   string `json:"level"`
	// Levels are those of number formats that have one of their own, such as bf16 on some CPUs.
	Levels map[string]string `json:"levels,omitempty"`
	// DTypes are the number formats that it computes with.
	DTypes []string `json:"dtypes"`
	// Models are the fingerprints of the models that it has opened, for the jobs that it can do.
	Models []string `json:"models"`
	Job    string   `json:"job"`    // that it is at, or ""
	Unit   int      `json:"unit"`   // likewise
	Images int      `json:"images"` // made since it started
	Rate   float64  `json:"rate"`   // images per second of its last unit
}

// Lacks says why a worker cannot give what is needed; "" if it can.
func (n Needs) Lacks(w *Worker) string {
	level := cmp.Or(w.Levels[n.DType], w.Level)
	switch {
	case n.Version != w.Version:
		return fmt.Sprintf("the job needs version %s, this is %s", n.Version, w.Version)
	case !slices.Contains(w.DTypes, n.DType):
		return fmt.Sprintf("the job needs dtype %s, this has %v", n.DType, w.DTypes)
	case n.Level != level:
		return fmt.Sprintf("the job needs CPU level %s, this works at %s", n.Level, level)
	}
	return ""
}

// Failure is a unit that was set aside, or an attempt that failed.
type Failure struct {
	Job    string `json:"job"`
	Unit   int    `json:"unit"`
	Worker string `json:"worker"`
	Cause  string `json:"cause"`
}

func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // the types of this package always have a form
	}
	return b
}
