package serve

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tokencache/tokencache/internal/filelock"
)

// job is a request for images that goes on when its client goes away.
type job struct {
	id      string
	key     string // name of the key that it belongs to
	created time.Time
	request savedRequest
	run     atomic.Pointer[run] // nil while the server is getting ready to resume it
	ended   time.Time
	lost    bool // the server does not know it: it was accepted by an earlier process, or long ago
}

// jobStatus is a job as the API tells it.
type jobStatus struct {
	ID       string        `json:"id"`
	Object   string        `json:"object"` // job
	Status   state         `json:"status"`
	Position int           `json:"position"` // in the queue; 0: it has begun
	Created  int64         `json:"created_at"`
	Model    string        `json:"model,omitempty"`
	Seed     uint64        `json:"seed,omitempty"`
	Images   int           `json:"images"` // wanted
	Done     int           `json:"done"`
	Error    *apiError     `json:"error,omitempty"`
	Result   *imagesAnswer `json:"result,omitempty"` // once it is completed
}

// status returns what the API tells of a job, with its images or without.
func (j *job) status(images bool) jobStatus {
	st := jobStatus{
		ID:      j.id,
		Object:  "job",
		Status:  stateQueued,
		Created: j.created.Unix(),
		Model:   j.request.Model,
		Seed:    j.request.Seed,
		Images:  j.request.Images,
	}
	r := j.run.Load()
	if r == nil {
		return st
	}
	r.mu.Lock()
	st.Status, st.Position, st.Done = r.state, r.position, len(r.made)
	err := r.err
	r.mu.Unlock()
	if st.Status == stateFailed && err != nil {
		st.Error = asAPI(err)
	}
	if st.Status == stateDone && images {
		st.Result = r.answer("")
	}
	return st
}

// jobStore has the jobs of a server, and their folder if there is one.
type jobStore struct {
	s    *Server
	dir  string // "": they are not kept
	lock *filelock.Lock

	mu   sync.Mutex
	jobs map[string]*job
}

// newID returns an id that nobody can guess.
func newID(kind string) string {
	var b [15]byte
	_, _ = rand.Read(b[:]) // never fails
	return kind + "_" + strings.ToLower(base32.StdEncoding.EncodeToString(b[:]))
}

// wellFormed reports whether an id may be one of newID's.
func wellFormed(id, kind string) bool {
	rest, ok := strings.CutPrefix(id, kind+"_")
	return ok && len(rest) == 24 && strings.Trim(rest, "abcdefghijklmnopqrstuvwxyz234567") == ""
}

// postJob is POST /v1/jobs.
func (s *Server) postJob(w http.ResponseWriter, r *http.Request) {
	j, err := s.newJob(w, r)
	if err != nil {
		s.writeError(w, r, err)
		return
	}
	w.Header().Set("Location", "/v1/jobs/"+j.id)
	writeJSON(w, http.StatusAccepted, j.status(false))
}

func (s *Server) newJob(w http.ResponseWriter, r *http.Request) (*job, error) {
	body, err := readBody(w, r)
	if err != nil {
		return nil, err
	}
	p, err := decodeParams(body)
	if err != nil {
		return nil, err
	}
	if p.Stream {
		return nil, invalid("stream", "unsupported_parameter", "stream: follow the job's events instead")
	}
	p.Stream = p.PartialImages > 0 // events tell of partial images
	g, err := s.prepare(r.Context(), p)
	if err != nil {
		return nil, err
	}
	s.logGeneration(r, g)
	key := keyOf(r)
	j := &job{id: newID("job"), key: key.name, created: time.Now()}
	j.request = savedRequest{
		Body:    body,
		Key:     key.name,
		Created: j.created,
		Model:   g.model.Name,
		Seed:    g.req.Seed,
		Images:  p.N,
	}
	// The job is saved before it is accepted: an id that a client knows is never unknown.
	if err := s.jobs.save(j); err != nil {
		g.model.release()
		return nil, err
	}
	err = s.jobs.start(j, key, g, nil)
	*labelsOf(r) = j.run.Load().labels
	if err != nil {
		s.jobs.discard(j)
		return nil, err
	}
	return j, nil
}

// start starts a job, which has some images already.
func (st *jobStore) start(j *job, key *Key, g *generation, have map[int]*made) error {
	r := st.s.newRun(st.s.ctx, j.id, key, g, j.created, have)
	r.job = j
	for _, m := range r.finished() {
		r.tell(m)
	}
	r.onMade = func(m *made) error { return st.saveImage(j, m) }
	key.inHand.Add(1) // until the job ends, not only until it is accepted
	r.onEnd = func() {
		key.inHand.Add(-1)
		st.end(j)
	}
	st.mu.Lock()
	j.run.Store(r)
	st.jobs[j.id] = j
	st.mu.Unlock()
	if err := r.start(); err != nil {
		st.mu.Lock()
		delete(st.jobs, j.id)
		st.mu.Unlock()
		key.inHand.Add(-1)
		return err
	}
	return nil
}

// end notes that a job has ended. One that ended because the server did is resumed by the next.
func (st *jobStore) end(j *job) {
	if r := j.run.Load(); !errors.Is(r.err, errStopping) {
		st.saveEnd(j)
		st.s.metrics.jobs.WithLabelValues(string(r.state), r.labels.model, r.labels.policy).
			Observe(time.Since(j.created).Seconds())
	}
	st.mu.Lock()
	j.ended = time.Now()
	st.mu.Unlock()
	st.sweep()
}

// sweep forgets jobs that ended long ago or take too much memory.
func (st *jobStore) sweep() {
	st.mu.Lock()
	var gone []*job
	var ended []*job
	for _, other := range st.jobs {
		if !other.ended.IsZero() {
			ended = append(ended, other)
		}
	}
	slices.SortFunc(ended, func(a, b *job) int { return b.ended.Compare(a.ended) })
	var bytes int64
	for _, other := range ended {
		const record = 4 << 10 // about what is kept of a job besides
		bytes += int64(len(other.request.Body)) + record
		for _, m := range other.run.Load().made {
			bytes += int64(len(m.file))
		}
		if bytes > st.s.o.KeepBytes || time.Since(other.ended) > st.s.o.KeepFor {
			gone = append(gone, other)
			delete(st.jobs, other.id)
		}
	}
	st.mu.Unlock()
	for _, other := range gone {
		st.discard(other)
	}
}

// find returns the job that a request is about. A job that the server does not know was lost with
// an earlier process, or ended too long ago.
func (s *Server) find(r *http.Request) (*job, error) {
	id := r.PathValue("id")
	s.jobs.mu.Lock()
	j := s.jobs.jobs[id]
	s.jobs.mu.Unlock()
	if j == nil || j.key != keyOf(r).name {
		if j == nil && wellFormed(id, "job") {
			return &job{id: id, lost: true}, nil
		}
		return nil, newError(http.StatusNotFound, typeMissing, "job_not_found", "there is no job %q", abbreviate(id))
	}
	return j, nil
}

// getJob is GET /v1/jobs/{id}.
func (s *Server) getJob(w http.ResponseWriter, r *http.Request) {
	j, err := s.find(r)
	switch {
	case err != nil:
		s.writeError(w, r, err)
	case j.lost:
		writeJSON(w, http.StatusOK, jobStatus{ID: j.id, Object: "job", Status: stateLost})
	default:
		writeJSON(w, http.StatusOK, j.status(true))
	}
}

// cancelJob is POST /v1/jobs/{id}/cancel.
func (s *Server) cancelJob(w http.ResponseWriter, r *http.Request) {
	j, err := s.find(r)
	switch {
	case err != nil:
		s.writeError(w, r, err)
		return
	case j.lost:
		writeJSON(w, http.StatusOK, jobStatus{ID: j.id, Object: "job", Status: stateLost})
		return
	}
	if run := j.run.Load(); run != nil {
		run.cancel()
		select {
		case <-run.done: // within a step
		case <-r.Context().Done():
			s.writeError(w, r, context.Cause(r.Context()))
			return
		}
	}
	writeJSON(w, http.StatusOK, j.status(true))
}

// jobEvents is GET /v1/jobs/{id}/events.
func (s *Server) jobEvents(w http.ResponseWriter, r *http.Request) {
	j, err := s.find(r)
	if err != nil {
		s.writeError(w, r, err)
		return
	}
	var after uint64
	if last := r.Header.Get("Last-Event-ID"); last != "" {
		if after, err = strconv.ParseUint(last, 10, 64); err != nil {
			s.writeError(w, r, invalid("Last-Event-ID", "invalid_value", "Last-Event-ID %q: want the id of an event",
				abbreviate(last)))
			return
		}
	}
	if j.lost {
		out := newEventStream(w)
		_ = out.send(0, "job.lost", jobStatus{ID: j.id, Object: "job", Status: stateLost})
		return
	}
	run := j.run.Load()
	if run == nil {
		e := newError(http.StatusServiceUnavailable, typeInternal, "resuming", "the job is about to be resumed")
		s.writeError(w, r, e)
		return
	}
	s.stream(w, r, run, streamOptions{job: true, after: s.place(after)})
}

// savedRequest is what is kept of a job's request.
type savedRequest struct {
	Body    json.RawMessage `json:"request"`
	Key     string          `json:"key"`
	Created time.Time       `json:"created"`
	Model   string          `json:"model"`
	Seed    uint64          `json:"seed"`
	Images  int             `json:"images"`
}
