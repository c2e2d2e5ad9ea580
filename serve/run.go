package serve

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"fmt"
	"image"
	"image/jpeg"
	"maps"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/internal/pngtext"
	"github.com/tokencache/tokencache/internal/raster"
)

// run is a request's images in the making: what is there so far, for any number of readers, none of
// whom it waits for.
type run struct {
	s       *Server
	p       *params
	told    told
	labels  labels
	g       *generation // nil once the run has ended
	id      string
	key     *Key
	job     *job // nil: it is a request that is answered at once
	task    *task
	ctx     context.Context
	cancel  context.CancelFunc
	began   time.Time
	resumed bool         // a job that was accepted by an earlier process
	encoded func() error // encodes the texts of g, once

	mu       sync.Mutex
	changed  chan struct{} // closed at the next change
	state    state
	position int // in the queue; 0: it has begun
	events   []event
	made     map[int]*made
	steps    map[int]*stepped // the newest of each image
	left     int              // images that are not finished, and not given up
	err      error            // the first
	done     chan struct{}
	onMade   func(*made) error // of jobs: saves an image
	onEnd    func()
}

// state is how far a run is.
type state string

const (
	stateQueued    state = "queued"
	stateRunning   state = "running"
	stateDone      state = "completed"
	stateFailed    state = "failed"
	stateCancelled state = "cancelled"
	stateLost      state = "lost"
)

func (s state) ended() bool { return s != stateQueued && s != stateRunning }

// event is something that happened to a run, which readers that come late learn too. Its place in
// the list, counted from 1, is part of its id.
type event struct {
	name    string
	data    func() any // made when it is sent; it may be nil then, for nothing
	preview *preview   // that it shows, or nil
}

// made is a finished image.
type made struct {
	index  int
	class  int
	file   []byte
	format string
	stats  tokencache.Stats
	event  int    // the place of the event that tells of it
	id     string // in the store of images; guarded by its lock
}

// stepped is what is known of an image after a step.
type stepped struct {
	index, step, steps int
	computed           []float32 // of each token: share of the blocks
	ratios             []int     // of each step so far, the mean of computed in percent
	preview            *preview
}

// newRun returns a run, accepted at a time, that begins with start. It has the images that are there
// already; nil: it is not resumed.
func (s *Server) newRun(ctx context.Context, id string, key *Key, g *generation, began time.Time,
	have map[int]*made) *run {
	r := &run{
		s:       s,
		p:       g.p,
		told:    g.told(),
		labels:  g.labels(),
		g:       g,
		id:      id,
		key:     key,
		began:   began,
		resumed: have != nil,
		changed: make(chan struct{}),
		state:   stateQueued,
		made:    maps.Clone(have),
		steps:   map[int]*stepped{},
		done:    make(chan struct{}),
	}
	if r.made == nil {
		r.made = map[int]*made{}
	}
	if at := g.deadline(began); at.IsZero() {
		r.ctx, r.cancel = context.WithCancel(ctx)
	} else {
		r.ctx, r.cancel = context.WithDeadline(ctx, at)
	}
	r.encoded = sync.OnceValue(r.encode)
	return r
}

// encode encodes what the images are of, when the first of them has its place: requests that
// are refused cost no encoding, and those that wait none yet.
func (r *run) encode() error {
	if r.g.encoded {
		return nil
	}
	if err := r.g.encodeTexts(r.ctx); err != nil {
		if r.ctx.Err() == nil {
			r.s.log.Error("encoding a prompt failed", "id", r.id, "error", err)
		}
		return err
	}
	r.told = r.g.told()
	return nil
}

// start queues the run, in its cheaper form if it would have to be refused otherwise. On an error
// nothing is left of it, and the model is released.
func (r *run) start() error {
	err := r.submit()
	if err != nil && r.g.fallback != nil && len(r.made) == 0 {
		r.g = r.g.fallback
		r.told, r.labels = r.g.told(), r.g.labels()
		r.s.metrics.adapted.Inc()
		err = r.submit()
	}
	if err != nil {
		r.cancel()
		r.g.model.release()
		return err
	}
	if r.task == nil {
		r.end() // everything was there
		return nil
	}
	context.AfterFunc(r.ctx, r.stop)
	return nil
}

func (r *run) submit() error {
	var images []int
	for i := range r.g.p.N {
		if r.made[i] == nil {
			images = append(images, i)
		}
	}
	if err := r.s.enter(); err != nil {
		return err
	}
	if r.left = len(images); r.left == 0 {
		return nil
	}
	r.task = &task{
		labels:    r.labels,
		key:       r.key.name,
		keyWeight: r.key.weight,
		weight:    weights[r.g.p.Priority],
		cost:      float64(r.g.cost),
		images:    images,
		total:     len(images),
		client:    &tokencache.Client{},
		start:     r.generate,
		moved:     r.moved,
	}
	if !r.resumed { // what was accepted once ends at its deadline
		r.task.deadline = r.g.deadline(r.began)
	}
	if err := r.s.queue.submit(r.task); err != nil {
		r.s.work.Done()
		return err
	}
	return nil
}

// stop gives up what is waiting; what is in flight ends with the context.
func (r *run) stop() {
	dropped := r.s.queue.remove(r.task)
	last := false
	r.change(func() {
		if r.err == nil && r.left > 0 {
			r.err = context.Cause(r.ctx)
		}
		r.left -= dropped
		last = dropped > 0 && r.left == 0
	})
	if last {
		r.end()
	}
}

// moved notes the run's place in the queue.
func (r *run) moved(position int) {
	r.change(func() {
		if r.state.ended() {
			return
		}
		r.position = position
		if position == 0 {
			r.state = stateRunning
		}
	})
}

// change changes the run and wakes its readers.
func (r *run) change(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
	close(r.changed)
	r.changed = make(chan struct{})
}

// generate generates an image, on a goroutine of the scheduler.
func (r *run) generate(index int) (ended func()) {
	m, err := r.image(index)
	if err == nil && r.onMade != nil {
		err = r.onMade(m)
	}
	return func() { r.generated(index, m, err) }
}

// generated notes that an image is finished, or given up. Its place in the queue is free by then.
func (r *run) generated(index int, m *made, err error) {
	last := false
	r.change(func() {
		r.left--
		last = r.left == 0
		switch {
		case err == nil:
			r.made[index] = m
			r.tell(m)
		case r.err == nil:
			r.err = err
			defer r.cancel() // the others are of no use
		}
	})
	if last {
		r.end()
	}
}

// tell adds the event of a finished image.
func (r *run) tell(m *made) {
	r.events = append(r.events, event{name: eventCompleted, data: func() any { return r.completed(m) }})
	m.event = len(r.events)
}

// image generates an image and encodes it.
func (r *run) image(index int) (m *made, err error) {
	defer func() {
		if v := recover(); v != nil {
			r.s.log.Error("panic", "error", v, "stack", string(debug.Stack()))
			err = fmt.Errorf("panic: %v", v)
		}
	}()
	if err := r.ctx.Err(); err != nil {
		return nil, context.Cause(r.ctx)
	}
	if err := r.encoded(); err != nil {
		return nil, cmp.Or(context.Cause(r.ctx), err)
	}
	req := r.g.req
	req.Skip = func(i int) bool { return i != index }
	req.Client = r.task.client
	r.watch(&req, index)
	result, err := r.g.opened.Pipeline.Generate(r.ctx, req)
	if err != nil {
		return nil, cmp.Or(context.Cause(r.ctx), err)
	}
	r.s.metrics.generated(r.labels, result.Stats)
	img := result.Images[0]
	m = &made{index: index, class: img.Class, format: r.g.format(), stats: result.Stats}
	m.file, err = r.g.encode(img)
	return m, err
}

// format is the format of the files.
func (g *generation) format() string {
	if g.p.OutputFormat == "" {
		return "png"
	}
	return g.p.OutputFormat
}

// encode returns the file of an image. A PNG is what the command line writes.
func (g *generation) encode(img tokencache.Image) ([]byte, error) {
	var b bytes.Buffer
	if g.format() == "jpeg" {
		err := encodeJPEG(&b, img, g.p.Compression)
		return b.Bytes(), err
	}
	p := g.opened.Pipeline
	texts := append(pngtext.OfImage(p, g.req, img),
		pngtext.OfRun(g.identity, pngtext.Of(p, g.req, "").Texts())...)
	texts = append(texts, pngtext.Evidence(img)...)
	m := &raster.Image{Height: img.Height, Width: img.Width, Channels: img.Channels, Pix: img.Pixels}
	err := raster.EncodePNG(&b, m, texts...)
	return b.Bytes(), err
}

func encodeJPEG(b *bytes.Buffer, img image.Image, quality *int) error {
	o := &jpeg.Options{Quality: 95}
	if quality != nil {
		o.Quality = max(1, *quality)
	}
	return jpeg.Encode(b, img, o)
}

// end notes that nothing more will come.
func (r *run) end() {
	r.change(func() {
		switch {
		case r.err == nil:
			r.state = stateDone
		case r.ctx.Err() == context.Canceled && context.Cause(r.ctx) != errStopping && asAPI(r.err).status == statusClosed:
			r.state = stateCancelled
		default:
			r.state = stateFailed
		}
	})
	if r.onEnd != nil {
		r.onEnd()
	}
	r.cancel()
	r.letGo()
	close(r.done)
	r.s.work.Done()
}

// letGo lets go of the model, of which nothing may stay in memory when it is closed to make room.
// Partial images that were promised, and that nobody has looked at yet, are decoded before.
func (r *run) letGo() {
	for _, e := range r.events {
		if e.preview != nil && r.state == stateDone {
			e.preview.png()
		}
		e.preview.drop()
	}
	for _, s := range r.steps {
		s.preview.drop()
	}
	r.g.model.release()
	r.g = nil
}

// finished returns the images that are finished, in order.
func (r *run) finished() []*made {
	return slices.SortedFunc(maps.Values(r.made), func(a, b *made) int { return a.index - b.index })
}

func (m *made) base64() string { return base64.StdEncoding.EncodeToString(m.file) }
