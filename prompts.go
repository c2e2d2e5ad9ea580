package tokencache

import (
	"context"
	"fmt"

	"github.com/tokencache/tokencache/minit2i"
	"github.com/tokencache/tokencache/prompt"
)

// TakesPrompts reports whether images are conditioned on prompts, not on classes.
func (p *Pipeline) TakesPrompts() bool { return p.prompts != nil }

// Prompts returns texts as conditions of a text-to-image model, with what is to be said of each. The
// text encoder is loaded if a text has not been met yet, and released again. An empty text is
// guidance's null condition: an image of anything.
func (p *Pipeline) Prompts(ctx context.Context, texts []string) ([]Condition, []PromptRemark, error) {
	if p.prompts == nil {
		return nil, nil, fmt.Errorf("%s takes classes, not prompts", p.Name())
	}
	readings, err := p.prompts.Read(ctx, texts)
	if err != nil {
		return nil, nil, err
	}
	conditions, remarks := make([]Condition, len(texts)), make([]PromptRemark, len(texts))
	for i, r := range readings {
		conditions[i] = r.Prompt
		remarks[i] = PromptRemark{Text: texts[i], Empty: r.Empty, Cut: r.Cut, Unknown: r.Unknown}
	}
	return conditions, remarks, nil
}

// AnyCondition returns a condition that the model takes, for Estimate and Check: an image costs as
// much under each.
func (p *Pipeline) AnyCondition() Condition {
	if p.TakesPrompts() {
		return p.net.NullCondition()
	}
	return classCondition(0)
}

// Encoder returns the text encoder of the model, to encode prompts ahead; nil if it has none.
func (p *Pipeline) Encoder() *prompt.Encoder {
	if p.prompts == nil {
		return nil
	}
	return p.prompts.Encoder()
}

// PromptRemark is what is to be said of a prompt.
type PromptRemark struct {
	Text    string
	Empty   bool   // it conditions on nothing
	Cut     string // what did not fit into the model's tokens, at the end
	Unknown bool   // it has characters that the model's tokenizer does not know
}

// String returns the remark for people, or "".
func (r PromptRemark) String() string {
	switch {
	case r.Empty:
		return "an empty prompt: the image is unconditional, of anything"
	case r.Cut != "":
		return fmt.Sprintf("prompt %q is too long: cut off was %q", r.Text, r.Cut)
	case r.Unknown:
		return fmt.Sprintf("prompt %q has characters that the model's tokenizer does not know", r.Text)
	}
	return ""
}

// PromptOf returns the text of a condition that is a prompt, and whether it is one. Guidance's null
// condition is the empty text.
func PromptOf(c Condition) (text string, ok bool) {
	p, ok := c.(*minit2i.Prompt)
	if !ok {
		return "", false
	}
	return p.Text, true
}
