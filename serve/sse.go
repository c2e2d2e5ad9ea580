package serve

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// streamOptions say what of a run is streamed.
type streamOptions struct {
	job   bool // also the events that jobs alone have
	after int  // the events after the one in this place
}

// maxEvents is more events than a run has.
const maxEvents = 1000

// eventID is the id of an event for clients: the time at which the process began, in milliseconds,
// and the event's place in its run in three digits. After a restart the places are others. The number
// is exact in JavaScript.
func (s *Server) eventID(place int) int64 { return maxEvents*s.began.UnixMilli() + int64(place) }

// place returns the place of the event with an id; 0, before the first, for one of another process.
func (s *Server) place(id uint64) int {
	if id/maxEvents != uint64(s.began.UnixMilli()) {
		return 0
	}
	return int(id % maxEvents)
}

// keepAlive is how often something is sent where there is nothing to tell, so that nobody in between
// takes the connection for dead.
const keepAlive = 15 * time.Second

// eventStream writes server-sent events.
type eventStream struct {
	w http.ResponseWriter
	c *http.ResponseController
}

func newEventStream(w http.ResponseWriter) *eventStream {
	h := w.Header()
	h.Set("Content-Type", "text/event-stream; charset=utf-8")
	h.Set("Cache-Control", "no-cache")
	h.Set("X-Accel-Buffering", "no")
	w.WriteHeader(http.StatusOK)
	return &eventStream{w, http.NewResponseController(w)}
}

// send writes an event; id 0 is none. A reader that does not take it in time is cut off: it keeps
// nobody but itself.
func (s *eventStream) send(id int64, name string, data any) error {
	body, err := json.Marshal(data)
	if err != nil {
		return err
	}
	_ = s.c.SetWriteDeadline(time.Now().Add(writeTimeout)) // a test's recorder has none
	if id > 0 {
		if _, err := fmt.Fprintf(s.w, "id: %d\n", id); err != nil {
			return err
		}
	}
	if _, err := fmt.Fprintf(s.w, "event: %s\ndata: %s\n\n", name, body); err != nil {
		return err
	}
	return s.c.Flush()
}

// comment writes what readers skip.
func (s *eventStream) comment() error {
	_ = s.c.SetWriteDeadline(time.Now().Add(writeTimeout))
	if _, err := fmt.Fprint(s.w, ": \n\n"); err != nil {
		return err
	}
	return s.c.Flush()
}

// stream tells a client what happens to a run until it ends, or the client goes away.
func (s *Server) stream(w http.ResponseWriter, r *http.Request, run *run, o streamOptions) {
	out := newEventStream(w)
	if err := out.comment(); err != nil {
		return
	}
	timer := time.NewTicker(keepAlive)
	defer timer.Stop()
	f := follower{run: run, out: out, o: o, sent: o.after, position: -1}
	for {
		ended, changed, err := f.next()
		if err != nil || ended {
			return
		}
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		case <-timer.C:
			if out.comment() != nil {
				return
			}
		}
	}
}

// follower is a reader of a run.
type follower struct {
	run      *run
	out      *eventStream
	o        streamOptions
	sent     int // events
	position int
	steps    map[int]*stepped

	shown time.Time     // when the last preview was
	cost  time.Duration // of its decoding
}

// next sends what is new, and says whether that was all.
func (f *follower) next() (ended bool, changed <-chan struct{}, err error) {
	r := f.run
	r.mu.Lock()
	events := r.events[min(f.sent, len(r.events)):]
	state, position := r.state, r.position
	changed = r.changed
	var steps []*stepped
	for i, s := range r.steps {
		// Who knows of an image that it is finished has no use for its steps.
		if m := r.made[i]; f.steps[i] != s && (m == nil || m.event > f.sent) {
			steps = append(steps, s)
		}
	}
	r.mu.Unlock()

	if f.o.job && position != f.position && !state.ended() {
		f.position = position
		if err := f.out.send(0, "job."+string(state), queueEvent{Type: "job." + string(state),
			Position: position}); err != nil {
			return false, nil, err
		}
	}
	if f.o.job {
		if err := f.sendSteps(steps); err != nil {
			return false, nil, err
		}
	}
	for _, e := range events {
		f.sent++
		data := e.data()
		if data == nil {
			continue
		}
		if err := f.out.send(r.s.eventID(f.sent), e.name, data); err != nil {
			return false, nil, err
		}
	}
	if !state.ended() {
		return false, changed, nil
	}
	return true, nil, f.end(state)
}

// end sends the last event.
func (f *follower) end(state state) error {
	r := f.run
	if r.err != nil && !f.o.job {
		return f.out.send(0, "error", struct {
			Type string `json:"type"`
			errorBody
		}{"error", errorBody{asAPI(r.err)}})
	}
	if f.o.job {
		return f.out.send(r.s.eventID(f.sent+1), "job."+string(state), r.job.status(false))
	}
	return nil
}

// sendSteps tells how far images are.
func (f *follower) sendSteps(steps []*stepped) error {
	for _, s := range steps {
		if f.steps == nil {
			f.steps = map[int]*stepped{}
		}
		from := 0
		if last := f.steps[s.index]; last != nil {
			from = last.step
		}
		f.steps[s.index] = s
		e := s.event(from)
		// Previews of models with an autoencoder are dear: they take a tenth of the time at most.
		if now := time.Now(); now.Sub(f.shown) >= 9*f.cost {
			e.Base64 = s.preview.png()
			f.shown, f.cost = time.Now(), time.Since(now)
		}
		if err := f.out.send(0, "job.step", e); err != nil {
			return err
		}
	}
	return nil
}

// queueEvent tells a job's place in the queue.
type queueEvent struct {
	Type     string `json:"type"`
	Position int    `json:"position"` // 1: it is the next; 0: it has begun
}

// stepEvent tells how far an image is. Steps that come faster than they are read are left out.
type stepEvent struct {
	Type     string `json:"type"` // job.step
	Index    int    `json:"image_index"`
	Step     int    `json:"step"`
	Steps    int    `json:"steps_total"`
	Kind     string `json:"kind"`     // I: everything was computed; P: not all
	Computed []int  `json:"computed"` // of each token, row by row: percent of the blocks that computed it
	// Ratios are of the steps since the event before, the first counted from 0: percent of the blocks
	// and tokens that were computed.
	From   int    `json:"ratios_from"`
	Ratios []int  `json:"ratios"`
	Base64 string `json:"b64_json,omitempty"`
}

// event tells of a step, after an event of a number of steps.
func (s *stepped) event(from int) stepEvent {
	e := stepEvent{
		Type:     "job.step",
		Index:    s.index,
		Step:     s.step,
		Steps:    s.steps,
		Kind:     "I",
		Computed: []int{},
		From:     from,
		Ratios:   s.ratios[min(from, len(s.ratios)):],
	}
	for _, share := range s.computed {
		e.Computed = append(e.Computed, int(100*share+0.5))
		if share < 0.999 {
			e.Kind = "P"
		}
	}
	return e
}
