package serve

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/internal/atomicfile"
	"github.com/tokencache/tokencache/internal/filelock"
	"github.com/tokencache/tokencache/internal/regularfile"
)

// The files of a job, in a folder with its id.
const (
	requestFile = "request.json"
	endFile     = "end.json"
)

// savedEnd is what is kept of how a job ended.
type savedEnd struct {
	State state     `json:"state"`
	Ended time.Time `json:"ended"`
	Error string    `json:"error,omitempty"`
	Told  *told     `json:"told,omitempty"` // earlier versions had none
}

// savedImage is what is kept of an image besides its file.
type savedImage struct {
	Identity string           `json:"identity"` // of the run: images of another are of no use
	Class    int              `json:"class"`
	Format   string           `json:"format"`
	Stats    tokencache.Stats `json:"stats"`
	File     []byte           `json:"file"`
}

// openJobs opens the folder of a server's jobs, which no other server uses at the same time; "" is
// none.
func openJobs(s *Server, dir string) (*jobStore, error) {
	st := &jobStore{s: s, dir: dir, jobs: map[string]*job{}}
	if dir == "" {
		return st, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("folder of jobs: %w", err)
	}
	var err error
	if st.lock, err = filelock.Acquire(filepath.Join(dir, "lock")); err != nil {
		return nil, fmt.Errorf("folder of jobs %s: %w", dir, err)
	}
	return st, nil
}

// close lets another server use the folder.
func (st *jobStore) close() {
	if st.lock != nil {
		_ = st.lock.Release() // it ends with the process in any case
	}
}

func (st *jobStore) folder(j *job) string { return filepath.Join(st.dir, j.id) }

// write writes a file of a job, whole or not at all.
func (st *jobStore) write(j *job, name string, v any) error {
	if st.dir == "" {
		return nil
	}
	return atomicfile.Write(filepath.Join(st.folder(j), name), func(w io.Writer) error {
		return json.NewEncoder(w).Encode(v)
	})
}

// save saves a job's request.
func (st *jobStore) save(j *job) error {
	if st.dir == "" {
		return nil
	}
	if err := os.Mkdir(st.folder(j), 0o700); err != nil {
		return err
	}
	return st.write(j, requestFile, j.request)
}

// saveImage saves a finished image.
func (st *jobStore) saveImage(j *job, m *made) error {
	return st.write(j, strconv.Itoa(m.index)+".json",
		savedImage{Identity: j.run.Load().g.identity, Class: m.class, Format: m.format, Stats: m.stats, File: m.file})
}

// saveEnd saves how a job ended.
func (st *jobStore) saveEnd(j *job) {
	r := j.run.Load()
	e := savedEnd{State: r.state, Ended: time.Now(), Told: &r.told}
	if r.err != nil {
		e.Error = asAPI(r.err).Message
	}
	if err := st.write(j, endFile, e); err != nil {
		st.s.log.Error("saving a job failed", "job", j.id, "error", err)
	}
}

// discard removes the files of a job.
func (st *jobStore) discard(j *job) {
	if st.dir == "" {
		return
	}
	if err := os.RemoveAll(st.folder(j)); err != nil {
		st.s.log.Error("removing a job failed", "job", j.id, "error", err)
	}
}

// resume takes up the jobs of an earlier process, apart from the caller: those that had ended, and
// then those whose models must be opened first.
func (st *jobStore) resume() {
	if st.dir == "" {
		return
	}
	entries, err := os.ReadDir(st.dir)
	if err != nil {
		st.s.log.Error("reading the folder of jobs failed", "error", err)
		return
	}
	var jobs []*job
	for _, e := range entries {
		if !wellFormed(e.Name(), "job") {
			continue
		}
		j := &job{id: e.Name()}
		if err := st.read(j, requestFile, &j.request); err != nil {
			st.s.log.Warn("a job cannot be read", "job", j.id, "error", err)
			continue
		}
		j.key, j.created = j.request.Key, j.request.Created
		jobs = append(jobs, j)
		st.jobs[j.id] = j
	}
	if st.s.enter() != nil {
		return
	}
	go func() {
		defer st.s.work.Done()
		var left []*job
		for _, j := range jobs {
			if !st.takeEnded(j) {
				left = append(left, j)
			}
		}
		st.sweep()
		for _, j := range left {
			if err := st.take(j); err != nil {
				st.s.log.Error("resuming a job failed", "job", j.id, "error", err)
				st.fail(j, err)
			}
		}
	}()
}

func (st *jobStore) read(j *job, name string, v any) error {
	body, err := regularfile.Read(filepath.Join(st.folder(j), name), math.MaxInt64)
	if err != nil {
		return err
	}
	return json.Unmarshal(body, v)
}

// take resumes a job.
func (st *jobStore) take(j *job) error {
	p, err := decodeParams(j.request.Body)
	if err != nil {
		return err
	}
	p.Stream = p.PartialImages > 0
	p.Model, p.Seed = j.request.Model, &j.request.Seed
	key := st.s.o.Keys.named(j.key)
	for { // what was accepted once is not refused
		g, err := st.s.prepare(st.s.ctx, p)
		if err != nil {
			return err
		}
		if err := g.encodeTexts(st.s.ctx); err != nil {
			g.model.release()
			return err
		}
		g, have := st.have(j, g)
		err = st.start(j, key, g, have)
		var api *apiError
		if !errors.As(err, &api) || api.retryAfter == 0 {
			return err
		}
		select {
		case <-st.s.ctx.Done():
			return nil
		case <-time.After(api.retryAfter):
		}
	}
}

// have returns the images of a job that are there, and the form of its request that they are of. An
// image of another version of the model, or of another kind of processor, is another image, which
// no unfinished job can use.
func (st *jobStore) have(j *job, g *generation) (*generation, map[int]*made) {
	have := map[int]*made{}
	for i := range g.p.N {
		m, identity := st.image(j, i)
		if m == nil {
			continue
		}
		if f := g.fallback; f != nil && len(have) == 0 && identity == f.identity {
			g = f
		}
		if identity == g.identity {
			have[i] = m
		}
	}
	return g, have
}

// image reads a finished image, nil if there is none, and the identity of the run that it is of.
func (st *jobStore) image(j *job, i int) (*made, string) {
	var saved savedImage
	if st.read(j, strconv.Itoa(i)+".json", &saved) != nil {
		return nil, ""
	}
	m := &made{index: i, class: saved.Class, format: saved.Format, stats: saved.Stats, file: saved.File}
	return m, saved.Identity
}

// takeEnded takes over a job that had ended, as it was told then: its model need not be there any
// more. It reports whether the job is one.
func (st *jobStore) takeEnded(j *job) bool {
	var end savedEnd
	if st.read(j, endFile, &end) != nil || end.Told == nil && end.State == stateDone {
		return false
	}
	r := &run{state: end.State, made: map[int]*made{}}
	if end.Told != nil {
		r.told = *end.Told
	}
	if end.Error != "" {
		r.err = newError(http.StatusInternalServerError, typeInternal, "failed", "%s", end.Error)
	}
	for i := range min(j.request.Images, maxImages) {
		if m, _ := st.image(j, i); m != nil {
			r.made[i] = m
			r.tell(m)
		}
	}
	st.over(j, r, end.Ended)
	return true
}

// fail notes that a job cannot be resumed.
func (st *jobStore) fail(j *job, err error) {
	st.over(j, &run{state: stateFailed, err: asAPI(err)}, time.Now())
}

// over notes the run of a job that is not at work any more.
func (st *jobStore) over(j *job, r *run, ended time.Time) {
	r.s, r.id, r.job, r.began, r.cancel = st.s, j.id, j, j.created, func() {}
	r.changed, r.done = make(chan struct{}), make(chan struct{})
	close(r.done)
	st.mu.Lock()
	defer st.mu.Unlock()
	j.run.Store(r)
	j.ended = ended
	st.jobs[j.id] = j
}
