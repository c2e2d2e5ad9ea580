package main

import (
	"errors"
	"fmt"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/calibrate"
	"github.com/tokencache/tokencache/dit"
	"github.com/tokencache/tokencache/minit2i"
	"github.com/tokencache/tokencache/models"
)

// subjectFlags say what the images of a calibration or a comparison show.
type subjectFlags struct {
	PromptFile string `name:"prompt-file" once:"" help:"For a text-to-image model: file with a prompt in each line, which the images show in turn. Default: those bundled with the model. Images of other models are of all classes in turn." placeholder:"FILE"`
	encodedFlags
}

// openSubjects is open for verbs whose images show a model's subjects in turn: all its classes, or
// prompts.
func (a *app) openSubjects(name *string, o tokencache.Options, f *samplingFlags, s *subjectFlags) (
	*tokencache.Pipeline, *tokencache.Subjects, tokencache.Sampling, error,
) {
	p, sampling, err := a.open(name, s.options(o), f)
	if err != nil {
		return nil, nil, sampling, err
	}
	subjects, err := s.subjects(a, p)
	if err != nil {
		p.Close()
		return nil, nil, sampling, err
	}
	return p, subjects, sampling, nil
}

// subjects returns those of the model in use.
func (s *subjectFlags) subjects(a *app, p *tokencache.Pipeline) (*tokencache.Subjects, error) {
	model := a.opened.model
	if !p.TakesPrompts() {
		if s.PromptFile != "" || s.Encoded != "" {
			return nil, fmt.Errorf("--prompt-file, --encoded: model %s takes classes, which the images show in turn", model)
		}
		return p.SubjectsOr(nil)
	}
	var prompts []string
	switch b := a.opened.bundle; {
	case s.PromptFile != "":
		a.opened.prompts = s.PromptFile
		var err error
		if prompts, err = readPrompts(a.here(s.PromptFile)); err != nil {
			return nil, fmt.Errorf("--prompt-file: %w", err)
		}
	case b != nil && b.Prompts != nil:
		prompts = b.Prompts
	default:
		return nil, fmt.Errorf("model %s takes prompts: give a file with one in each line, "+
			"which the images show in turn (--prompt-file)", model)
	}
	if len(prompts) > maxPrompts {
		return nil, fmt.Errorf("--prompt-file: %d prompts, want at most %d", len(prompts), maxPrompts)
	}
	subjects, remarks, err := p.Subjects(a.ctx, prompts)
	a.notePrompts(remarks)
	return subjects, err
}

// notePrompts says what there is to say of prompts, each thing once.
func (a *app) notePrompts(remarks []tokencache.PromptRemark) {
	said := map[string]bool{}
	for _, r := range remarks {
		if text := r.String(); text != "" && !said[text] {
			said[text] = true
			a.note("%s", text)
		}
	}
}

// weights opens the weights of a model once more, for work outside the engine.
func (a *app) weights(p *tokencache.Pipeline, model string, o tokencache.Options) func() (calibrate.Weights, error) {
	model = a.here(model)
	if p.TakesPrompts() {
		return func() (calibrate.Weights, error) {
			return calibrate.WeightsOf(models.ResolveTextWeights(a.ctx, model, minit2i.Options{Key: o.Key}))
		}
	}
	return func() (calibrate.Weights, error) {
		return calibrate.WeightsOf(models.ResolveWeights(a.ctx, model, dit.Options{Key: o.Key, Heads: o.Heads}))
	}
}

// request returns a request of count images of the classes that are named or, of a text-to-image
// model, of its prompts in turn.
func (s *subjectFlags) request(a *app, p *tokencache.Pipeline, classes []string, count int) (
	tokencache.Request, error,
) {
	var req tokencache.Request
	subjects, err := s.subjects(a, p)
	if err != nil {
		return req, err
	}
	if subjects.Prompts() == nil {
		req.Classes, err = p.ImageClasses(classes, count)
		return req, err
	}
	if len(classes) > 0 {
		return req, errors.New("--class: the model takes prompts: give a file of them (--prompt-file)")
	}
	subjects.Cycle(&req, count)
	return req, nil
}
