package serve

import (
	"net/http"

	"github.com/tokencache/tokencache/diffusion"
	"github.com/tokencache/tokencache/models"
	"github.com/tokencache/tokencache/reuse"
)

// modelInfo is a model as the API tells it.
type modelInfo struct {
	ID      string     `json:"id"`
	Object  string     `json:"object"` // model
	Created int64      `json:"created"`
	OwnedBy string     `json:"owned_by"`
	Default bool       `json:"default"`
	Loaded  bool       `json:"loaded"`
	Details *modelFull `json:"details,omitempty"` // once the model has been loaded
}

// modelFull is what is known of a model that is open.
type modelFull struct {
	Architecture string       `json:"architecture"`
	Fingerprint  string       `json:"fingerprint"`
	Size         string       `json:"size"`     // of images
	Channels     int          `json:"channels"` // of images: 1 is grey
	Grid         int          `json:"grid"`     // tokens of an image a side
	Classes      []string     `json:"classes,omitempty"`
	ClassCount   int          `json:"class_count"`
	Text         bool         `json:"text"`              // it takes prompts, not classes
	Prompts      []string     `json:"prompts,omitempty"` // some that it draws well
	Sampling     samplingInfo `json:"sampling"`
	Samplers     []string     `json:"samplers"`
	Policies     []policyInfo `json:"policies"`
	Policy       string       `json:"default_policy,omitempty"` // one of them
	Methods      []string     `json:"methods"`                  // policies by name, with parameters
}

type samplingInfo struct {
	Sampler  string  `json:"sampler"`
	Steps    string  `json:"steps"`
	Guidance float64 `json:"guidance"`
}

// policyInfo is a bundled policy.
type policyInfo struct {
	Name    string       `json:"name"`
	Title   string       `json:"title"`
	For     samplingInfo `json:"for"`
	Speed   float64      `json:"speed"`             // times the uncached model, in FLOPs
	PSNR    float64      `json:"psnr_db,omitempty"` // to the uncached images, on average
	MaxPSNR float64      `json:"max_min_psnr_db,omitempty"`
}

func (s *Server) info(m *model, first bool, o *Opened) modelInfo {
	return modelInfo{
		ID:      m.Name,
		Object:  "model",
		Created: s.models.opened.Unix(),
		OwnedBy: "tokencache",
		Default: first,
		Loaded:  o != nil,
		Details: fullInfo(o),
	}
}

func infoOf(s diffusion.Sampling) samplingInfo {
	s = s.WithDefaults()
	return samplingInfo{Sampler: s.Sampler, Steps: s.StepsText(), Guidance: s.Guidance}
}

// fullInfo describes an open model.
func fullInfo(o *Opened) *modelFull {
	if o == nil {
		return nil
	}
	p := o.Pipeline
	g := generation{opened: o}
	_, _, channels := p.ImageSize()
	full := &modelFull{
		Architecture: p.Name(),
		Fingerprint:  p.Fingerprint(),
		Size:         g.size(),
		Channels:     channels,
		Grid:         p.Shape().GridCols,
		Classes:      p.ClassNames(),
		ClassCount:   p.Classes(),
		Text:         o.Encode != nil,
		Sampling:     infoOf(o.Sampling),
		Samplers:     diffusion.Methods(),
		Policies:     []policyInfo{},
		Methods:      models.Methods(),
	}
	if o.Bundle == nil {
		return full
	}
	full.Prompts = o.Bundle.Prompts
	policies, err := o.Bundle.Policies()
	if err != nil {
		return full // a request for one of them reports it
	}
	if t, err := o.Bundle.Choose(o.Sampling, 0); err == nil {
		full.Policy = t.String()
	}
	for _, t := range policies {
		info := policyInfo{Name: t.String(), Title: t.Title(), For: infoOf(t.Sampling), Speed: t.Speed.FLOPs, PSNR: t.PSNR}
		if t.Contract != nil {
			_, info.MaxPSNR = t.Contract.Range(reuse.ToUncached)
		}
		full.Policies = append(full.Policies, info)
	}
	return full
}

// listModels is GET /v1/models: the default model comes first.
func (s *Server) listModels(w http.ResponseWriter, _ *http.Request) {
	list := struct {
		Object string      `json:"object"`
		Data   []modelInfo `json:"data"`
	}{Object: "list"}
	loaded := s.models.loaded()
	for i, m := range s.models.models {
		list.Data = append(list.Data, s.info(m, i == 0, loaded[m.Name]))
	}
	writeJSON(w, http.StatusOK, list)
}

// getModel is GET /v1/models/{id}. It loads the model, to tell all of it.
func (s *Server) getModel(w http.ResponseWriter, r *http.Request) {
	m := s.models.find(r.PathValue("id"))
	if m == nil {
		s.writeError(w, r, newError(http.StatusNotFound, typeMissing, "model_not_found", "there is no model %q",
			abbreviate(r.PathValue("id"))))
		return
	}
	o, err := m.acquire(r.Context())
	if err != nil {
		s.writeError(w, r, err)
		return
	}
	defer m.release()
	writeJSON(w, http.StatusOK, s.info(m, m == s.models.models[0], o))
}

// health is the answer of healthz and readyz.
type health struct {
	Status string `json:"status"`
	Reason string `json:"reason,omitempty"`
}

// healthz says that the process answers.
func (s *Server) healthz(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, health{Status: "ok"})
}

// readyz says whether the server takes requests: a model is loaded and the queue is not full. It
// loads the default model where none is.
func (s *Server) readyz(w http.ResponseWriter, r *http.Request) {
	reason := ""
	switch {
	case s.stopping():
		reason = "the server is stopping"
	case s.queue.full():
		reason = "the queue is full"
	case len(s.models.loaded()) == 0:
		m := s.models.models[0]
		if _, err := m.acquire(r.Context()); err != nil {
			reason = "no model is loaded"
			break
		}
		m.release()
	}
	if reason != "" {
		writeJSON(w, http.StatusServiceUnavailable, health{Status: "unavailable", Reason: reason})
		return
	}
	writeJSON(w, http.StatusOK, health{Status: "ok"})
}
