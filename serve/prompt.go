package serve

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/tokencache/tokencache"
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

// subject is what the images of a request are of: one of the two is set, with a value for each
// image.
type subject struct {
	classes    []int
	conditions []tokencache.Condition
	negative   tokencache.Condition // what guidance leads away from, or nil
	notes      []string
}

// subject works out what a request's images are of. This is the one place where models with classes
// and models that take text differ: for the former the prompt is the name of a class.
func (m *model) subject(ctx context.Context, o *Opened, p *params) (*subject, error) {
	if o.Encode != nil {
		return m.encode(ctx, o, p)
	}
	field, text := "class", p.Class
	if text == "" {
		field = "prompt"
		if p.Prompt == nil {
			return nil, invalid("prompt", "missing_required_parameter",
				"prompt is missing: want the name of a class of %s: %s", m.Name, classList(o))
		}
		text = *p.Prompt
	}
	if p.NegativePrompt != "" {
		return nil, invalid("negative_prompt", "unsupported_parameter",
			"negative_prompt: the model %s has classes and takes none", m.Name)
	}
	if strings.Count(text, ",") >= maxImages {
		return nil, invalid(field, "invalid_value", "%s names too many classes: want at most %d; %s has %s", field,
			maxImages, m.Name, classList(o))
	}
	chosen, err := o.Pipeline.ImageClasses([]string{text}, p.N)
	if err != nil {
		return nil, invalid(field, "invalid_value", "%s: %s; the model %s has %s", field, abbreviate(err.Error()), m.Name,
			classList(o))
	}
	return &subject{classes: chosen}, nil
}

// encode encodes a prompt for a model that takes text, or remembers its encoding.
func (m *model) encode(ctx context.Context, o *Opened, p *params) (*subject, error) {
	switch {
	case p.Class != "":
		return nil, invalid("class", "unsupported_parameter", "class: the model %s takes a prompt", m.Name)
	case p.Prompt == nil:
		return nil, invalid("prompt", "missing_required_parameter", "prompt is missing")
	}
	e, err := m.encoding(ctx, o, *p.Prompt)
	if err != nil {
		return nil, err
	}
	s := &subject{conditions: slices.Repeat([]tokencache.Condition{e.condition}, p.N)}
	if e.note != "" {
		s.notes = []string{e.note}
	}
	if p.NegativePrompt == "" {
		return s, nil
	}
	negative, err := m.encoding(ctx, o, p.NegativePrompt)
	if err != nil {
		return nil, err
	}
	if s.negative = negative.condition; negative.note != "" {
		s.notes = append(s.notes, negative.note)
	}
	return s, nil
}

// encoding encodes a prompt, or remembers its encoding.
func (m *model) encoding(ctx context.Context, o *Opened, prompt string) (encoding, error) {
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
