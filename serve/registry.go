package serve

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/models"
	"github.com/tokencache/tokencache/models/bundle"
)

// Model is a model that is served.
type Model struct {
	Name string
	// Open opens the model; it is called when the model is first asked for, and again after it was
	// closed to make room.
	Open func(ctx context.Context, o tokencache.Options) (*Opened, error)
	// Size is what Open reads, in bytes, as far as it is known: a model larger than the memory that
	// there is for all is not opened.
	Size int64
}

// Opened is an open model.
type Opened struct {
	Pipeline *tokencache.Pipeline
	// Sampling is how the model is sampled where a request does not say.
	Sampling tokencache.Sampling
	// Bundle has the model's policies; nil: there are none.
	Bundle *bundle.Bundle
	// Encode turns prompts into conditions, of a model that takes text; nil: the model has classes. It
	// is called for requests that were admitted, when it is their turn.
	Encode Encoder
}

// Named returns the model that a user names, as models.Resolve reads it, under a name of its own:
// that of a bundled model, or that of the file or folder. vae is its autoencoder, or "".
func Named(text, vae string) Model {
	m := Model{Name: text}
	if bundle.Lookup(text) == nil {
		m.Name = filepath.Base(text)
		m.Size = sizeOf(text)
	}
	m.Open = func(ctx context.Context, o tokencache.Options) (*Opened, error) {
		if bundle.Lookup(text) == nil {
			o.VAE = vae
		}
		p, sampling, b, err := models.Resolve(ctx, text, o)
		if err != nil {
			return nil, err
		}
		opened := &Opened{Pipeline: p, Sampling: sampling, Bundle: b}
		if p.TakesPrompts() {
			opened.Encode = encoderOf(p)
		}
		return opened, nil
	}
	return m
}

// sizeOf returns the bytes of a file, or of the files in a folder, 0 if they cannot be told.
func sizeOf(path string) int64 {
	var total int64
	_ = filepath.WalkDir(path, func(_ string, d os.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // what cannot be seen does not count; opening reports it
		}
		if info, err := d.Info(); err == nil && info.Mode().IsRegular() {
			total += info.Size()
		}
		return nil
	})
	return total
}

// registry opens models when they are asked for, and closes those that were not used for longest
// where the budget demands it.
type registry struct {
	s      *Server
	budget int64
	opened time.Time // when the registry was made, as the models' time of creation

	loading sync.Mutex // one model is opened at a time, so that it knows what room there is

	mu      sync.Mutex
	models  []*model // in the order of Options, in float32
	formats []*model // those of them that were asked for in another number format
	tick    int64
}

// model is a model of the registry.
type model struct {
	Model
	dtype     tokencache.DType // of the network's blocks
	registry  *registry
	encodings encodings
	encoder   chan struct{} // has a place for the request whose prompt is being encoded

	// Guarded by registry.mu.
	open    *Opened
	bytes   int64         // that it took when it was open last; 0: it was not
	opening chan struct{} // closed when it has been opened, or not; nil: nobody is at it
	err     error         // of the last attempt
	users   int
	used    int64 // the registry's tick when it was last used
}

func newRegistry(s *Server, o Options) (*registry, error) {
	r := &registry{s: s, budget: o.Memory, opened: time.Now()}
	for _, m := range o.Models {
		if m.Name == "" || m.Open == nil {
			return nil, fmt.Errorf("serve: model %q has no name or cannot be opened", m.Name)
		}
		if r.find(m.Name) != nil {
			return nil, fmt.Errorf("serve: two models are called %q", m.Name)
		}
		r.models = append(r.models, newModel(r, m, tokencache.F32))
	}
	return r, nil
}

func newModel(r *registry, m Model, d tokencache.DType) *model {
	return &model{Model: m, dtype: d, registry: r, encoder: make(chan struct{}, 1)}
}

// in returns the model in a number format, which is a model of its own to the registry.
func (m *model) in(d tokencache.DType) *model {
	if m.dtype == d {
		return m
	}
	r := m.registry
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, other := range append(slices.Clone(r.models), r.formats...) {
		if other.Name == m.Name && other.dtype == d {
			return other
		}
	}
	other := newModel(r, m.Model, d)
	r.formats = append(r.formats, other)
	return other
}

// label names the model where its formats count apart.
func (m *model) label() string {
	if m.dtype == tokencache.F32 {
		return m.Name
	}
	return m.Name + " " + m.dtype.String()
}

// find returns a model by name, or nil.
func (r *registry) find(name string) *model {
	for _, m := range r.models {
		if m.Name == name {
			return m
		}
	}
	return nil
}

// names lists the models.
func (r *registry) names() []string {
	var names []string
	for _, m := range r.models {
		names = append(names, m.Name)
	}
	return names
}

// errNoRoom reports that a model does not fit next to those in use.
var errNoRoom = errors.New("there is no memory for another model while the others are in use")

// acquire returns a model, opened, which stays so until it is released. It opens models apart from
// the request, which may go away meanwhile.
func (m *model) acquire(ctx context.Context) (*Opened, error) {
	r := m.registry
	r.mu.Lock()
	for m.open == nil {
		if m.opening == nil {
			if err := r.s.enter(); err != nil {
				r.mu.Unlock()
				return nil, err
			}
			m.opening = make(chan struct{})
			go m.load()
		}
		wait := m.opening
		r.mu.Unlock()
		select {
		case <-wait:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		r.mu.Lock()
		if m.open == nil && m.err != nil {
			err := m.err
			r.mu.Unlock()
			return nil, err
		}
	}
	defer r.mu.Unlock()
	m.users++
	r.tick++
	m.used = r.tick
	return m.open, nil
}

// release gives a model back.
func (m *model) release() {
	m.registry.mu.Lock()
	defer m.registry.mu.Unlock()
	m.users--
}

// load makes room for a model and opens it.
func (m *model) load() {
	r := m.registry
	defer r.s.work.Done()
	r.loading.Lock()
	defer r.loading.Unlock()
	opened, err := m.read()
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil {
		m.bytes = opened.Pipeline.Bytes()
		if !r.room(m.bytes) {
			opened.Pipeline.Close()
			err = errNoRoom
		}
	}
	if m.err = err; err == nil {
		m.open = opened
		r.tick++
		m.used = r.tick
	} else {
		r.s.log.Error("opening a model failed", "model", m.label(), "error", err)
	}
	close(m.opening)
	m.opening = nil
}

func (m *model) read() (*Opened, error) {
	if m.Size > m.registry.budget {
		return nil, fmt.Errorf("model %s has %d bytes, the memory for models is %d", m.Name, m.Size, m.registry.budget)
	}
	if !m.makeRoom() {
		return nil, errNoRoom
	}
	o := m.registry.s.o
	return m.Open(m.registry.s.ctx, tokencache.Options{
		Threads: o.Threads,
		DType:   m.dtype,
		// The scheduler decides how many images are in flight; only their memory is the engine's matter.
		Limits: tokencache.Limits{Rows: maxRows, Memory: o.Memory},
		OnTick: m.registry.s.metrics.tick,
	})
}

// makeRoom makes room for what the model took when it was open last, or for what is known of its
// size, and reports whether there is.
func (m *model) makeRoom() bool {
	r := m.registry
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.room(cmp.Or(m.bytes, m.Size))
}

// maxRows is more rows than the scheduler ever has in flight.
const maxRows = 1 << 30

// room closes models that nobody uses until others have room, the least recently used first, and
// reports whether they have.
func (r *registry) room(need int64) bool {
	for {
		total := need
		var idle []*model
		for _, m := range append(slices.Clone(r.models), r.formats...) {
			if m.open == nil {
				continue
			}
			total += m.open.Pipeline.Bytes()
			if m.users == 0 {
				idle = append(idle, m)
			}
		}
		if total <= r.budget {
			return true
		}
		if len(idle) == 0 {
			return false
		}
		oldest := slices.MinFunc(idle, func(a, b *model) int { return int(a.used - b.used) })
		r.s.log.Info("closing a model to make room", "model", oldest.label())
		oldest.open.Pipeline.Close()
		oldest.open = nil
	}
}

// loaded returns the models that are open, by their labels.
func (r *registry) loaded() map[string]*Opened {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := map[string]*Opened{}
	for _, m := range append(slices.Clone(r.models), r.formats...) {
		if m.open != nil {
			list[m.label()] = m.open
		}
	}
	return list
}

// close closes all models, within ctx.
func (r *registry) close(ctx context.Context) {
	for _, o := range r.loaded() {
		_ = o.Pipeline.Shutdown(ctx) // its error is ctx's, which the caller has
	}
}

// Models returns the models that a user names, and after them the bundled ones. A name may have the
// path of the model's autoencoder behind an equals sign.
func Models(names []string) []Model {
	var list []Model
	has := func(name string) bool {
		return slices.ContainsFunc(list, func(m Model) bool { return m.Name == name })
	}
	for _, name := range names {
		text, vae, _ := strings.Cut(name, "=")
		if m := Named(text, vae); !has(m.Name) {
			list = append(list, m)
		}
	}
	for _, name := range append([]string{models.DefaultText, models.Default}, models.Names()...) {
		if !has(name) {
			list = append(list, Named(name, ""))
		}
	}
	return list
}
