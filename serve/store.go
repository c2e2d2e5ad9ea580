package serve

import (
	"net/http"
	"sync"
	"time"
)

// imageStore keeps images that were asked for as URLs, for some time and up to some size; the
// oldest go first.
type imageStore struct {
	keepFor   time.Duration
	keepBytes int64

	mu    sync.Mutex
	files map[string]*keptImage
	order []*keptImage
	bytes int64
}

type keptImage struct {
	id     string
	file   []byte
	format string
	until  time.Time
}

func newImageStore(keepFor time.Duration, keepBytes int64) *imageStore {
	return &imageStore{keepFor: keepFor, keepBytes: keepBytes, files: map[string]*keptImage{}}
}

// keep keeps an image and returns its URL, below the server's.
func (st *imageStore) keep(m *made, base string) string {
	st.mu.Lock()
	defer st.mu.Unlock()
	if m.id == "" || st.files[m.id] == nil {
		m.id = newID("img")
		k := &keptImage{id: m.id, file: m.file, format: m.format, until: time.Now().Add(st.keepFor)}
		st.files[k.id] = k
		st.order = append(st.order, k)
		st.bytes += int64(len(k.file))
	}
	st.sweep()
	return base + "/v1/images/" + m.id + "/content"
}

// sweep forgets images that are too old or too many. The last one stays.
func (st *imageStore) sweep() {
	now := time.Now()
	for len(st.order) > 1 && (st.bytes > st.keepBytes || now.After(st.order[0].until)) {
		st.bytes -= int64(len(st.order[0].file))
		delete(st.files, st.order[0].id)
		st.order = st.order[1:]
	}
}

func (st *imageStore) find(id string) *keptImage {
	st.mu.Lock()
	defer st.mu.Unlock()
	k := st.files[id]
	if k == nil || time.Now().After(k.until) {
		return nil
	}
	return k
}

// imageContent is GET /v1/images/{id}/content. The id is a secret that only the answer has told, so
// it needs no key, and an img element can show it.
func (s *Server) imageContent(w http.ResponseWriter, r *http.Request) {
	k := s.images.find(r.PathValue("id"))
	if k == nil {
		s.writeError(w, r, newError(http.StatusNotFound, typeMissing, "image_not_found",
			"there is no image %q: images are kept for %v", abbreviate(r.PathValue("id")), s.o.KeepFor))
		return
	}
	w.Header().Set("Content-Type", "image/"+k.format)
	w.Header().Set("Cache-Control", "private, max-age=3600, immutable")
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeTimeout))
	_, _ = w.Write(k.file) // a client that is gone needs no answer
}

// baseURL is the server's URL as the client has it.
func baseURL(r *http.Request) string {
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	return scheme + "://" + r.Host
}
