package load

import (
	"context"
	"encoding/json"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/internal/pngtext"
	"github.com/tokencache/tokencache/internal/raster"
	"github.com/tokencache/tokencache/models"
	"github.com/tokencache/tokencache/models/bundle"
	"github.com/tokencache/tokencache/reuse"
)

// fieldsOf are the fields of a request.
type fieldsOf struct {
	Model  string `json:"model"`
	Class  *int   `json:"class,omitempty"`
	Prompt string `json:"prompt,omitempty"`
	Seed   uint64 `json:"seed"`
	Steps  int    `json:"steps,omitempty"`
	Policy string `json:"policy,omitempty"`
}

// mixture is what requests differ in: steps that the bundled policies are for, with several of
// them, and few or many steps with policies of other kinds.
func mixture(b *bundle.Bundle) ([]fieldsOf, error) {
	const fast = 4 // times the uncached model
	name, err := b.ForSpeed(b.Sampling, fast)
	if err != nil {
		return nil, err
	}
	return []fieldsOf{
		{Steps: 50},
		{Steps: 50, Policy: "none"},
		{Steps: 50, Policy: name},
		{Steps: 50, Policy: "paper-v2"},
		{Steps: 10, Policy: "none"},
		{Steps: 20, Policy: "fora:n=2"},
		{Steps: 30, Policy: "tokencache:ratio=0.25,k=3"},
		{Steps: 80, Policy: "taylorseer:n=4,order=1"},
	}, nil
}

// kindsOf returns the requests of a measurement, each with the PNG file that generate writes for
// it, made by the library alone with a pipeline that suits.
func kindsOf(ctx context.Context, o Options, p *tokencache.Pipeline, suits tokencache.Request) ([]kind, error) {
	o.OnStage("generating the images to compare with")
	b := bundle.Lookup(o.Model)
	subjects, _, err := p.Subjects(ctx, b.Prompts)
	if err != nil {
		return nil, err
	}
	list, err := mixture(b)
	if err != nil {
		return nil, err
	}
	if o.Policy != "" {
		list = make([]fieldsOf, 8)
		for i := range list {
			list[i] = fieldsOf{Steps: o.Steps, Policy: o.Policy}
		}
	}
	var kinds []kind
	for i, f := range list {
		f.Model, f.Seed = o.Model, uint64(100+i)
		req := tokencache.Request{Seed: f.Seed, Sampling: suits.Sampling}
		subjects.Show(&req, 1, func(int) int { return i % subjects.Len() })
		if p.TakesPrompts() {
			f.Prompt = subjects.Prompts()[i%subjects.Len()]
		} else {
			f.Class = &req.Classes[0]
		}
		if f.Steps > 0 {
			req.Steps = f.Steps
		}
		if req.Policy, err = policyOf(b, f.Policy, req.Sampling); err != nil {
			return nil, err
		}
		k := kind{}
		if k.body, err = json.Marshal(f); err != nil {
			return nil, err
		}
		k.generate = func() ([]byte, error) {
			r, err := p.Generate(ctx, req)
			if err != nil {
				return nil, err
			}
			return pngOf(p, req, r.Images[0])
		}
		if k.want, err = k.generate(); err != nil {
			return nil, err
		}
		kinds = append(kinds, k)
	}
	return kinds, nil
}

// policyOf returns a policy by name, or the one that is usual for a sampling.
func policyOf(b *bundle.Bundle, name string, s tokencache.Sampling) (reuse.Policy, error) {
	if name != "" {
		return models.NamedPolicy(b, name)
	}
	t, err := b.Choose(s, 0)
	if err != nil {
		return nil, err
	}
	return t, nil
}

// pngOf returns the PNG file of an image, as generate writes it.
func pngOf(p *tokencache.Pipeline, req tokencache.Request, img tokencache.Image) ([]byte, error) {
	texts := append(pngtext.OfImage(p, req, img),
		pngtext.OfRun(pngtext.Identity(p, req), pngtext.Of(p, req, "").Texts())...)
	m := &raster.Image{Height: img.Height, Width: img.Width, Channels: img.Channels, Pix: img.Pixels}
	var b sink
	err := raster.EncodePNG(&b, m, append(texts, pngtext.Evidence(img)...)...)
	return b, err
}

type sink []byte

func (s *sink) Write(p []byte) (int, error) {
	*s = append(*s, p...)
	return len(p), nil
}
