package serve

import (
	"net/http"
	"strconv"
	"time"

	"github.com/tokencache/tokencache/reuse"
)

// usage is what OpenAI counts, of which there is nothing here: tokens of text and of images that
// are paid for.
type usage struct {
	TotalTokens  int          `json:"total_tokens"`
	InputTokens  int          `json:"input_tokens"`
	OutputTokens int          `json:"output_tokens"`
	Details      usageDetails `json:"input_tokens_details"`
}

type usageDetails struct {
	TextTokens  int `json:"text_tokens"`
	ImageTokens int `json:"image_tokens"`
}

// facts say how images were generated, and what that took.
type facts struct {
	Model         string   `json:"model"`
	Seed          uint64   `json:"seed"`
	Sampler       string   `json:"sampler"`
	Steps         string   `json:"steps"` // as the command line takes them
	Guidance      float64  `json:"guidance"`
	Policy        string   `json:"policy"`
	DType         string   `json:"dtype"`
	Adapted       bool     `json:"adapted"` // the server chose a faster policy, as there was much to do
	ComputedRatio float64  `json:"computed_token_ratio"`
	FLOPs         int64    `json:"flops"`
	UncachedFLOPs int64    `json:"uncached_flops"`
	MinPSNR       float64  `json:"min_psnr,omitempty"`
	Evidence      *checked `json:"evidence,omitempty"` // with min_psnr
	Warnings      []string `json:"warnings,omitempty"`
}

// told is what answers say of a request besides its images. It outlives the model that makes them.
type told struct {
	Facts    facts   `json:"facts"` // of no images
	Size     string  `json:"size"`
	Format   string  `json:"format"`             // of the files
	URL      bool    `json:"url,omitempty"`      // answers have URLs, not the files
	Coverage float64 `json:"coverage,omitempty"` // of the policy's contract: see checked
}

// checked is what the policy's checks found.
type checked struct {
	MinPSNR       float64 `json:"min_psnr_db"`
	Coverage      float64 `json:"coverage,omitempty"` // share of unseen images that are expected to keep it
	Checks        float64 `json:"checks"`             // forecast steps of an image that were checked, on average
	Rejections    float64 `json:"rejections"`         // those that were computed then, likewise
	EstimatedMean float64 `json:"estimated_psnr_db_mean"`
	EstimatedMin  float64 `json:"estimated_psnr_db_min"`
}

// imagesAnswer is the answer with all images of a request.
type imagesAnswer struct {
	Created      int64   `json:"created"`
	Background   string  `json:"background"`
	OutputFormat string  `json:"output_format"`
	Quality      string  `json:"quality"`
	Size         string  `json:"size"`
	Data         []datum `json:"data"`
	Usage        usage   `json:"usage"`
	facts
}

// datum is one image.
type datum struct {
	Base64  string   `json:"b64_json,omitempty"`
	URL     string   `json:"url,omitempty"`
	Revised string   `json:"revised_prompt,omitempty"`
	Index   int      `json:"index"`
	Class   *int     `json:"class,omitempty"`
	Checked *checked `json:"evidence,omitempty"`
}

// The names of events, as the official API has them.
const (
	eventPartial   = "image_generation.partial_image"
	eventCompleted = "image_generation.completed"
)

// partialEvent is an image in the making.
type partialEvent struct {
	Type         string `json:"type"`
	Base64       string `json:"b64_json"`
	Created      int64  `json:"created_at"`
	Size         string `json:"size"`
	Quality      string `json:"quality"`
	Background   string `json:"background"`
	OutputFormat string `json:"output_format"`
	Number       int    `json:"partial_image_index"`
	Index        int    `json:"image_index"`
	Step         int    `json:"step"`
	Steps        int    `json:"steps_total"`
}

// completedEvent is a finished image.
type completedEvent struct {
	Type         string `json:"type"`
	Base64       string `json:"b64_json"`
	URL          string `json:"url,omitempty"`
	Created      int64  `json:"created_at"`
	Size         string `json:"size"`
	Quality      string `json:"quality"`
	Background   string `json:"background"`
	OutputFormat string `json:"output_format"`
	Usage        usage  `json:"usage"`
	Index        int    `json:"image_index"`
	Class        *int   `json:"class,omitempty"`
	facts
}

// size is the images' size as the API writes it.
func (g *generation) size() string {
	height, width, _ := g.opened.Pipeline.ImageSize()
	return strconv.Itoa(width) + "x" + strconv.Itoa(height)
}

// told returns what answers say of the request.
func (g *generation) told() told {
	t := told{
		Facts: facts{
			Model:    g.model.Name,
			Seed:     g.req.Seed,
			Sampler:  g.req.Sampler,
			Steps:    g.req.StepsText(),
			Guidance: g.req.Guidance,
			Policy:   g.req.Policy.String(),
			DType:    g.opened.Pipeline.DType().String(),
			Adapted:  g.adapted,
			MinPSNR:  g.req.MinPSNR,
			Warnings: g.notes,
		},
		Size:   g.size(),
		Format: g.format(),
		URL:    g.p.ResponseFormat == "url",
	}
	if p, ok := g.req.Policy.(*reuse.Trained); ok && p.Contract != nil {
		t.Coverage = p.Contract.Coverage
	}
	return t
}

// facts sums up what images took.
func (t *told) facts(images ...*made) facts {
	f := t.Facts
	var rows, computed int64
	for _, m := range images {
		f.FLOPs += m.stats.FLOPs
		f.UncachedFLOPs += m.stats.UncachedFLOPs
		rows += int64(m.stats.Rows)
		computed += int64(m.stats.ComputedRows)
	}
	if f.ComputedRatio = 1; rows > 0 {
		f.ComputedRatio = float64(computed) / float64(rows)
	}
	if f.MinPSNR > 0 {
		f.Evidence = t.evidence(images)
	}
	return f
}

// evidence is what the checks of images found, nil if nothing was checked.
func (t *told) evidence(images []*made) *checked {
	var c *checked
	n := 0.0
	for _, m := range images {
		if m.stats.Checks == nil {
			continue
		}
		if c == nil {
			c = &checked{
				MinPSNR:      t.Facts.MinPSNR,
				Coverage:     t.Coverage,
				EstimatedMin: m.stats.Checks.EstimatedPSNR.Min,
			}
		}
		n++
		c.Checks += (m.stats.Checks.Checks - c.Checks) / n
		c.Rejections += (m.stats.Checks.Rejections - c.Rejections) / n
		c.EstimatedMean += (m.stats.Checks.EstimatedPSNR.Mean - c.EstimatedMean) / n
		c.EstimatedMin = min(c.EstimatedMin, m.stats.Checks.EstimatedPSNR.Min)
	}
	return c
}

func (m *made) classOf() *int {
	if m.class < 0 {
		return nil
	}
	return &m.class
}

// partial is the event of an image in the making, nil if it cannot be shown.
func (r *run) partial(s *stepped, number int) any {
	image := s.preview.png()
	if image == "" {
		return nil
	}
	return partialEvent{
		Type:         eventPartial,
		Base64:       image,
		Created:      time.Now().Unix(),
		Size:         r.told.Size,
		Quality:      "high",
		Background:   "opaque",
		OutputFormat: "png",
		Number:       number,
		Index:        s.index,
		Step:         s.step,
		Steps:        s.steps,
	}
}

// completed is the event of a finished image.
func (r *run) completed(m *made) any {
	e := completedEvent{
		Type:         eventCompleted,
		Base64:       m.base64(),
		Created:      time.Now().Unix(),
		Size:         r.told.Size,
		Quality:      "high",
		Background:   "opaque",
		OutputFormat: m.format,
		Index:        m.index,
		Class:        m.classOf(),
		facts:        r.told.facts(m),
	}
	if r.told.URL {
		e.URL = r.s.images.keep(m, "")
	}
	return e
}

// answer is all of a run's images.
func (r *run) answer(base string) *imagesAnswer {
	images := r.finished()
	a := &imagesAnswer{
		Created:      r.began.Unix(),
		Background:   "opaque",
		OutputFormat: r.told.Format,
		Quality:      "high",
		Size:         r.told.Size,
		facts:        r.told.facts(images...),
	}
	for _, m := range images {
		d := datum{Index: m.index, Class: m.classOf(), Checked: r.told.evidence([]*made{m})}
		if r.told.URL {
			d.URL = r.s.images.keep(m, base)
		} else {
			d.Base64 = m.base64()
		}
		a.Data = append(a.Data, d)
	}
	return a
}

// generateImages is POST /v1/images/generations.
func (s *Server) generateImages(w http.ResponseWriter, r *http.Request) {
	run, err := s.begin(w, r)
	if err != nil {
		s.writeError(w, r, err)
		return
	}
	defer run.cancel()
	if run.p.Stream {
		s.stream(w, r, run, streamOptions{})
		return
	}
	<-run.done
	if run.err != nil {
		s.writeError(w, r, run.err)
		return
	}
	writeJSON(w, http.StatusOK, run.answer(baseURL(r)))
}

// begin reads a request for images and queues it.
func (s *Server) begin(w http.ResponseWriter, r *http.Request) (*run, error) {
	body, err := readBody(w, r)
	if err != nil {
		return nil, err
	}
	p, err := decodeParams(body)
	if err != nil {
		return nil, err
	}
	if p.Previews {
		return nil, invalid("previews", "unsupported_parameter", "previews: only jobs have them")
	}
	g, err := s.prepare(r.Context(), p)
	if err != nil {
		return nil, err
	}
	s.logGeneration(r, g)
	run := s.newRun(r.Context(), newID("img"), keyOf(r), g, time.Now(), nil)
	err = run.start()
	*labelsOf(r) = run.labels
	return run, err
}
