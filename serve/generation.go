package serve

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/diffusion"
	"github.com/tokencache/tokencache/internal/pngtext"
	"github.com/tokencache/tokencache/models"
	"github.com/tokencache/tokencache/models/bundle"
	"github.com/tokencache/tokencache/reuse"
)

// generation is a request for images that was checked.
type generation struct {
	p        *params
	prompt   string
	model    *model
	opened   *Opened
	req      tokencache.Request
	cost     int64    // FLOPs of an image, as far as they are known beforehand
	encoded  bool     // texts are; there may be none
	identity string   // of the run, once it is encoded
	notes    []string // for the user
	adapted  bool     // the policy is a faster one than usual, as there is much to do

	// fallback is a cheaper form of the request, which is taken where this one would be refused; nil
	// if there is none.
	fallback *generation
}

// prepare checks a request and opens its model, which the caller releases by g.model.release.
func (s *Server) prepare(ctx context.Context, p *params) (*generation, error) {
	m := s.models.models[0]
	if p.Model != "" {
		if m = s.models.find(p.Model); m == nil {
			err := &models.UnknownError{Kind: "model", Name: abbreviate(p.Model), Known: s.models.names()}
			return nil, invalid("model", "model_not_found", "%v", err)
		}
	}
	if d, err := tokencache.ParseDType(p.DType); err == nil { // else the policy decides
		m = m.in(d)
	}
	g, err := s.prepareIn(ctx, p, m)
	if err != nil || p.DType != "" && p.DType != "auto" {
		return g, err
	}
	if d := models.FormatUnder(g.req.Policy, g.opened.Pipeline.DType() != m.dtype, p.MinPSNR); d != m.dtype {
		g.model.release()
		return s.prepareIn(ctx, p, m.in(d))
	}
	return g, nil
}

// prepareIn is prepare with the model in a number format.
func (s *Server) prepareIn(ctx context.Context, p *params, m *model) (*generation, error) {
	opened, err := m.acquire(ctx)
	if err != nil {
		return nil, err
	}
	g := &generation{p: p, model: m, opened: opened}
	if err := s.fill(g); err != nil {
		m.release()
		return nil, err
	}
	return g, nil
}

// fill works out what follows from a request's fields.
func (s *Server) fill(g *generation) (err error) {
	p, o := g.p, g.opened
	if p.Prompt != nil {
		g.prompt = *p.Prompt
	}
	height, width, _ := o.Pipeline.ImageSize()
	if own := fmt.Sprintf("%dx%d", width, height); p.Size != "" && p.Size != "auto" && p.Size != own {
		return invalid("size", "invalid_value", "size %q: want %s, the size of images of the model %s", abbreviate(p.Size),
			own, g.model.Name)
	}
	if p.Compression != nil && p.OutputFormat != "jpeg" && *p.Compression != 100 {
		return invalid("output_compression", "invalid_value", "output_compression %d: want 100, as PNG files lose "+
			"nothing, or output_format jpeg", *p.Compression)
	}
	if err := g.subject(); err != nil {
		return err
	}
	g.req.MinPSNR = p.MinPSNR
	if g.req.Sampling, err = g.sampling(); err != nil {
		return err
	}
	if p.Seed != nil {
		g.req.Seed = *p.Seed
	} else {
		g.req.Seed = uint64(rand.Uint32())
	}
	if err := g.choosePolicy(); err != nil {
		return err
	}
	if err := g.price(); err != nil {
		return err
	}
	return s.adapt(g)
}

// sampling returns how the images are sampled: as asked for, and else as suits the model.
func (g *generation) sampling() (tokencache.Sampling, error) {
	p := g.p
	sampling := g.opened.Sampling.WithDefaults()
	if p.Sampler != "" && p.Sampler != sampling.Sampler {
		sampling = tokencache.Sampling{
			Sampler:           p.Sampler,
			Shift:             sampling.Shift,
			ShiftByResolution: sampling.ShiftByResolution,
			ShiftTerminal:     sampling.ShiftTerminal,
			Guidance:          sampling.Guidance,
			GuidancePower:     sampling.GuidancePower,
		}.WithDefaults()
	}
	if p.Steps != "" {
		var err error
		if sampling.Steps, sampling.Spacing, err = diffusion.ParseSteps(p.Steps); err != nil {
			return sampling, invalid("steps", "invalid_value", "%v", err)
		}
	}
	if p.Spacing != "" {
		if sampling.Spacing != "" && p.Steps != "" {
			return sampling, invalid("spacing", "invalid_value", "steps %s and spacing %s: give steps a number alone",
				abbreviate(p.Steps), abbreviate(p.Spacing))
		}
		sampling.Spacing = p.Spacing
	}
	if p.Guidance != nil {
		// As on the command line, 0 is what turns guidance off, like 1.
		sampling.Guidance = *p.Guidance
	}
	sampling = sampling.WithDefaults()
	if sampling.Steps > maxSteps {
		return sampling, invalid("steps", "invalid_value", "steps %d: want at most %d", sampling.Steps, maxSteps)
	}
	return sampling, nil
}

// choosePolicy sets what is reused: as asked for, or what is bundled with the model, as the command
// line chooses it.
func (g *generation) choosePolicy() (err error) {
	p, b := g.p, g.opened.Bundle
	if p.Policy != "" && p.Speed != 0 {
		return invalid("speed", "invalid_value", "give policy or speed, not both")
	}
	if p.Policy != "" {
		g.req.Policy, err = models.NamedPolicy(b, p.Policy)
		if err != nil {
			return invalid("policy", "invalid_value", "%v", err)
		}
		if d, ok := g.req.Policy.(reuse.Described); ok && d.Kind() == reuse.Uncached && p.MinPSNR > 0 {
			g.notes = append(g.notes, computed(p.MinPSNR))
		}
		return nil
	}
	if p.MinPSNR > 0 && p.Speed == 0 {
		return g.promise(reuse.Promise{MinPSNR: p.MinPSNR})
	}
	t, err := b.Choose(g.req.Sampling, p.Speed)
	none := (*bundle.NoPolicyError)(nil)
	switch {
	case err == nil:
		g.req.Policy = t
		if note := bundle.GuidanceNote(t, g.req.Guidance); note != "" {
			g.notes = append(g.notes, note)
		}
		return nil
	case !errors.As(err, &none):
		return err
	case p.Speed != 0:
		return invalid("speed", "invalid_value", "speed %gx: %v", p.Speed, err)
	case none.Model != "":
		g.notes = append(g.notes, fmt.Sprintf("uncached: %v", err))
	}
	g.req.Policy = reuse.None{}
	return nil
}

// promise sets the bundled policy that keeps a PSNR, or none where no contract is for the sampling.
func (g *generation) promise(promise reuse.Promise) error {
	t, err := g.opened.Bundle.ForPSNR(g.opened.Pipeline.Setting(g.req.Sampling), promise)
	switch none := (*bundle.NoPromiseError)(nil); {
	case err == nil:
		g.req.Policy = t
	case errors.As(err, &none):
		g.req.Policy = reuse.None{}
		g.notes = append(g.notes, fmt.Sprintf("%s: %v", computed(promise.MinPSNR), none))
	default:
		return g.refused(err)
	}
	return nil
}

// computed says why a request without a policy keeps a PSNR.
func computed(minPSNR float64) string {
	return fmt.Sprintf("min_psnr %g: everything is computed, so that each image is the uncached one and keeps it", minPSNR)
}

// price works out what an image costs, and refuses what the model or the policy cannot do.
func (g *generation) price() error {
	needs, err := g.opened.Pipeline.Estimate(g.req)
	if err != nil {
		return g.refused(err)
	}
	g.cost = needs.FLOPs / int64(g.p.N)
	g.identity = pngtext.Identity(g.opened.Pipeline, g.req)
	return nil
}

// refused names the field that is to blame for what the pipeline does not take.
func (g *generation) refused(err error) error {
	if e := asAPI(err); e.status < http.StatusInternalServerError {
		return e
	}
	field := "policy"
	if _, wrong := g.opened.Pipeline.Plan(g.req.Sampling); wrong != nil {
		field = g.unsuitable()
	}
	return invalid(field, "invalid_value", "%v", err)
}

// unsuitable names the field that does not go with what the model fixes of the sampling, such as the
// shift of its steps.
func (g *generation) unsuitable() string {
	evenly := g.req.Sampling
	evenly.Spacing = ""
	_, wrong := g.opened.Pipeline.Plan(evenly)
	switch {
	case wrong != nil:
		return "sampler"
	case g.p.Spacing != "":
		return "spacing"
	}
	return "steps"
}

// adapt works out the cheaper form of a request that leaves the policy to the server.
func (s *Server) adapt(g *generation) error {
	p := g.p
	if s.o.Adaptive == 0 || p.Policy != "" || p.Speed != 0 || p.MinPSNR != 0 {
		return nil
	}
	t, err := g.opened.Bundle.ForPSNR(g.opened.Pipeline.Setting(g.req.Sampling), reuse.Promise{MinPSNR: s.o.Adaptive})
	if err != nil {
		return nil //nolint:nilerr // it says why there is no cheaper form
	}
	cheap := *g
	cheap.req.Policy, cheap.req.MinPSNR, cheap.adapted = t, s.o.Adaptive, true
	if cheap.price() == nil && cheap.cost < g.cost {
		g.fallback = &cheap
	}
	return nil
}

// deadline returns when a request that began at a time must have ended; zero: it has no deadline.
func (g *generation) deadline(began time.Time) time.Time {
	if g.p.Deadline == 0 {
		return time.Time{}
	}
	return began.Add(time.Duration(g.p.Deadline * float64(time.Second)))
}

// weights of priorities, among the requests of one key.
var weights = map[string]float64{"low": 0.25, "": 1, "normal": 1, "high": 4}

// labels names model and policy for metrics: a bundled policy by its name, another by its method, as
// anybody can make up parameters.
func (g *generation) labels() labels {
	name, _, _ := strings.Cut(g.req.Policy.String(), ":")
	return labels{g.model.label(), name}
}
