package serve

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
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

// saveEnd saves how a job ended. One that ended because the server did is resumed instead.
func (st *jobStore) saveEnd(j *job) {
	r := j.run.Load()
	if errors.Is(r.err, errStopping) {
		return
	}
	e := savedEnd{State: r.state, Ended: time.Now()}
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

// resume takes up the jobs of an earlier process, apart from the caller: their models are opened
// first.
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
		for _, j := range jobs {
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

// take resumes a job, or takes over how it ended.
func (st *jobStore) take(j *job) error {
	p, err := decodeParams(j.request.Body)
	if err != nil {
		return err
	}
	p.Stream = p.PartialImages > 0
	p.Model, p.Seed = j.request.Model, &j.request.Seed
	var end savedEnd
	ended := st.read(j, endFile, &end) == nil
	g, err := st.s.prepare(st.s.ctx, p)
	if err != nil {
		return err
	}
	g, have := st.have(j, g, ended)
	key := st.s.o.Keys.named(j.key)
	if ended && end.State != stateDone {
		st.takeEnded(j, key, g, have, end)
		return nil
	}
	for { // what was accepted once is not refused
		err := st.start(j, key, g, have)
		var api *apiError
		if !errors.As(err, &api) || api.retryAfter == 0 {
			return err
		}
		select {
		case <-st.s.ctx.Done():
			return nil
		case <-time.After(api.retryAfter):
		}
		if g, err = st.s.prepare(st.s.ctx, p); err != nil {
			return err
		}
	}
}

// have returns the images of a job that are there, and the form of its request that they are of. An
// image of another version of the model, or of another kind of processor, is another image, which
// no unfinished job can use.
func (st *jobStore) have(j *job, g *generation, ended bool) (*generation, map[int]*made) {
	have := map[int]*made{}
	for i := range g.p.N {
		var saved savedImage
		if st.read(j, strconv.Itoa(i)+".json", &saved) != nil {
			continue
		}
		if f := g.fallback; f != nil && len(have) == 0 && saved.Identity == f.identity {
			g = f
		}
		if ended || saved.Identity == g.identity {
			have[i] = &made{index: i, class: saved.Class, format: saved.Format, stats: saved.Stats, file: saved.File}
		}
	}
	return g, have
}

// takeEnded takes over a job that failed or was cancelled.
func (st *jobStore) takeEnded(j *job, key *Key, g *generation, have map[int]*made, end savedEnd) {
	defer g.model.release()
	r := st.s.newRun(st.s.ctx, j.id, key, g, have)
	r.cancel()
	r.job, r.state = j, end.State
	if end.Error != "" {
		r.err = newError(500, typeInternal, "failed", "%s", end.Error)
	}
	close(r.done)
	st.mu.Lock()
	defer st.mu.Unlock()
	j.run.Store(r)
	j.ended = end.Ended
}

// fail notes that a job cannot be resumed.
func (st *jobStore) fail(j *job, err error) {
	r := &run{s: st.s, id: j.id, job: j, changed: make(chan struct{}), done: make(chan struct{}), state: stateFailed,
		err: asAPI(err)}
	r.cancel = func() {}
	close(r.done)
	st.mu.Lock()
	defer st.mu.Unlock()
	j.run.Store(r)
	j.ended = time.Now()
	st.jobs[j.id] = j
}
