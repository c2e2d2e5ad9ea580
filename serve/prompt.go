package serve

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/internal/pngtext"
)

// Encoder turns a prompt into what a text-to-image model is conditioned on. The note, if any, tells
// the user what became of the prompt, such as that it was cut.
type Encoder func(ctx context.Context, prompt string) (c tokencache.Condition, note string, err error)

// encoderOf encodes the prompts of a pipeline that takes them.
func encoderOf(p *tokencache.Pipeline) Encoder {
	return func(ctx context.Context, prompt string) (tokencache.Condition, string, error) {
		conditions, remarks, err := p.Prompts(ctx, []string{prompt})
		if err != nil {
			return nil, "", err
		}
		return conditions[0], remarks[0].String(), nil
	}
}

// subject sets what a request's images are of. This is the one place where models with classes and
// models that take text differ: for the former the prompt is the name of a class. Texts are
// encoded later, once the request has been admitted, as that takes long.
func (g *generation) subject() error {
	m, o, p := g.model, g.opened, g.p
	if o.Encode != nil {
		return g.unencoded()
	}
	field, text := "class", p.Class
	if text == "" {
		field = "prompt"
		if p.Prompt == nil {
			return invalid("prompt", "missing_required_parameter",
				"prompt is missing: want the name of a class of %s: %s", m.Name, classList(o))
		}
		text = *p.Prompt
	}
	if p.NegativePrompt != "" {
		return invalid("negative_prompt", "unsupported_parameter",
			"negative_prompt: the model %s has classes and takes none", m.Name)
	}
	if strings.Count(text, ",") >= maxImages {
		return invalid(field, "invalid_value", "%s names too many classes: want at most %d; %s has %s", field,
			maxImages, m.Name, classList(o))
	}
	chosen, err := o.Pipeline.ImageClasses([]string{text}, p.N)
	if err != nil {
		return invalid(field, "invalid_value", "%s: %s; the model %s has %s", field, abbreviate(err.Error()), m.Name,
			classList(o))
	}
	g.req.Classes, g.encoded = chosen, true
	return nil
}

// unencoded sets another condition in place of each text, under which an image costs as much.
func (g *generation) unencoded() error {
	switch {
	case g.p.Class != "":
		return invalid("class", "unsupported_parameter", "class: the model %s takes a prompt", g.model.Name)
	case g.p.Prompt == nil:
		return invalid("prompt", "missing_required_parameter", "prompt is missing")
	}
	other := g.opened.Pipeline.AnyCondition()
	g.req.Conditions = slices.Repeat([]tokencache.Condition{other}, g.p.N)
	if g.p.NegativePrompt != "" {
		g.req.Negative = other
	}
	return nil
}

// encodeTexts encodes the texts of a request, and of its cheaper form, or remembers their encodings.
func (g *generation) encodeTexts(ctx context.Context) error {
	if g.encoded {
		return nil
	}
	e, err := g.model.encoding(ctx, g.opened, *g.p.Prompt)
	if err != nil {
		return err
	}
	g.req.Conditions = slices.Repeat([]tokencache.Condition{e.condition}, g.p.N)
	notes := []string{e.note}
	if g.p.NegativePrompt != "" {
		if e, err = g.model.encoding(ctx, g.opened, g.p.NegativePrompt); err != nil {
			return err
		}
		g.req.Negative = e.condition
		notes = append(notes, e.note)
	}
	none := func(note string) bool { return note == "" }
	g.notes = slices.DeleteFunc(append(notes, g.notes...), none)
	g.identity, g.encoded = pngtext.Identity(g.opened.Pipeline, g.req), true
	if g.fallback != nil {
		return g.fallback.encodeTexts(ctx)
	}
	return nil
}

// encoding encodes a prompt, or remembers its encoding. One prompt of a model is encoded at a time.
func (m *model) encoding(ctx context.Context, o *Opened, prompt string) (encoding, error) {
	select {
	case m.encoder <- struct{}{}:
		defer func() { <-m.encoder }()
	case <-ctx.Done():
		return encoding{}, context.Cause(ctx)
	}
	e, ok := m.encodings.get(prompt)
	if ok {
		return e, nil
	}
	var err error
	if e.condition, e.note, err = o.Encode(ctx, prompt); err != nil {
		return e, err
	}
	m.encodings.put(prompt, e)
	return e, nil
}

// classList names the classes of a model, for messages.
func classList(o *Opened) string {
	names := o.Pipeline.ClassNames()
	count := o.Pipeline.Config().NumClasses
	const most = 20
	switch {
	case len(names) == 0:
		return fmt.Sprintf("classes 0 to %d", count-1)
	case len(names) > most:
		return fmt.Sprintf("%d classes, such as %s", count, strings.Join(names[:3], "; "))
	}
	return "the classes " + strings.Join(names, ", ")
}

type encoding struct {
	condition tokencache.Condition
	note      string
}

// encodings remembers the encodings of the prompts that were last used.
type encodings struct {
	mu     sync.Mutex
	known  map[string]encoding
	recent []string // the one used last at the end
}

// maxEncodings is how many are remembered of a model.
const maxEncodings = 64

func (c *encodings) get(k string) (encoding, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.known[k]
	if ok {
		c.touch(k)
	}
	return e, ok
}

func (c *encodings) put(k string, e encoding) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known == nil {
		c.known = map[string]encoding{}
	}
	c.known[k] = e
	c.touch(k)
	if len(c.recent) > maxEncodings {
		delete(c.known, c.recent[0])
		c.recent = c.recent[1:]
	}
}

func (c *encodings) touch(k string) {
	c.recent = append(slices.DeleteFunc(c.recent, func(other string) bool { return other == k }), k)
}
