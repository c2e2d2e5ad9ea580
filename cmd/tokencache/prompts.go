package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/checkpoint"
	"github.com/tokencache/tokencache/cmd/tokencache/internal/output"
	"github.com/tokencache/tokencache/internal/atomicfile"
	"github.com/tokencache/tokencache/models"
	"github.com/tokencache/tokencache/prompt"
)

// textFlags say where a text-to-image model's text encoder is.
type textFlags struct {
	TextEncoder string `name:"text-encoder" help:"Folder of a text-to-image model's T5, with its tokenizer. Default: flan-t5-large or text_encoder next to the model." placeholder:"DIR"`
	TextStore   string `name:"text-cache" help:"Keep encoded prompts in this folder, so that the text encoder is not needed for them again." placeholder:"DIR"`
}

// encodedFlags say where a text-to-image model's texts are encoded.
type encodedFlags struct {
	Encoded string `once:"" help:"File of prompts that encode made, so that no text encoder is needed for them." placeholder:"FILE"`
	textFlags
}

// promptFlags say what images show, in words.
type promptFlags struct {
	Prompt     []string `arg:"" optional:"" name:"prompt" help:"What to generate, in words: prompts of a text-to-image model, or classes of another, as --class."`
	PromptFile string   `name:"prompt-file" once:"" help:"File with a prompt in each line, after those given." placeholder:"FILE"`
	Negative   *string  `help:"Prompt that guidance leads away from." placeholder:"PROMPT"`
	encodedFlags
}

// options adds to o where texts are encoded.
func (f *encodedFlags) options(o tokencache.Options) tokencache.Options {
	o.TextEncoder, o.TextStore, o.Encoded = f.TextEncoder, f.TextStore, f.Encoded
	return o
}

// maxPrompts bounds the prompts of a run.
const maxPrompts = 100_000

// texts returns the prompts that are given.
func (f *promptFlags) texts(a *app) ([]string, error) {
	list := slices.Clone(f.Prompt)
	if f.PromptFile != "" {
		lines, err := readPrompts(a.here(f.PromptFile))
		if err != nil {
			return nil, fmt.Errorf("--prompt-file: %w", err)
		}
		list = append(list, lines...)
	}
	if len(list) > maxPrompts {
		return nil, fmt.Errorf("%d prompts, want at most %d", len(list), maxPrompts)
	}
	return list, nil
}

// readPrompts reads the lines of a file that are not empty.
func readPrompts(path string) ([]string, error) {
	data, err := checkpoint.ReadText(path)
	if err != nil {
		return nil, err
	}
	if !utf8.Valid(data) {
		return nil, fmt.Errorf("%s: not a text in UTF-8", path)
	}
	var list []string
	for line := range strings.Lines(strings.TrimPrefix(string(data), "\ufeff")) {
		if line = strings.TrimSpace(line); line != "" {
			list = append(list, line)
		}
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("%s: no prompts: want one in each line", path)
	}
	return list, nil
}

// subjects sets what the images of req show: count images that cycle through prompts or classes. A
// bundled text-to-image model shows its own prompts where none are given.
func (f *promptFlags) subjects(a *app, p *tokencache.Pipeline, classes []string, count *int, req *tokencache.Request) error {
	texts, err := f.texts(a)
	switch {
	case err != nil:
		return err
	case len(texts) > 0 && len(classes) > 0:
		return errors.New("give prompts or --class, not both")
	case p.TakesPrompts() && len(classes) > 0:
		return fmt.Errorf("--class %s: %s takes prompts: generate %q", classes[0], p.Name(), classes[0])
	case p.TakesPrompts():
		if b := a.opened.bundle; len(texts) == 0 && b != nil {
			texts = b.Prompts
		}
		return f.prompts(a, p, texts, or(count, max(1, len(texts))), req)
	case f.Negative != nil:
		return fmt.Errorf("--negative: %s takes classes, and none leads away from", p.Name())
	}
	req.Classes, err = p.ImageClasses(append(classes, texts...), or(count, 0))
	return err
}

// prompts is subjects of a text-to-image model. Without prompts its images are unconditional.
func (f *promptFlags) prompts(a *app, p *tokencache.Pipeline, texts []string, count int, req *tokencache.Request) error {
	if len(texts) == 0 {
		texts = []string{""}
	}
	texts = texts[:min(len(texts), count)]
	all := texts
	if f.Negative != nil {
		all = append(slices.Clone(texts), *f.Negative)
	}
	conditions, remarks, err := p.Prompts(a.ctx, all)
	if err != nil {
		return err
	}
	a.notePrompts(remarks)
	if f.Negative != nil {
		req.Negative = conditions[len(texts)]
	}
	for i := range count {
		req.Conditions = append(req.Conditions, conditions[i%len(texts)])
	}
	return nil
}

type encodeCmd struct {
	Prompts []string `arg:"" help:"Prompts, or files with a prompt in each line." placeholder:"PROMPT|FILE"`
	Out     string   `short:"o" once:"" required:"" help:"Safetensors file to write, for generate --encoded." placeholder:"FILE"`
	Length  int      `help:"Tokens of a prompt that the model takes; longer ones are cut." default:"256" placeholder:"N"`
	textFlags
	Model string `short:"m" once:"" help:"Text-to-image model whose text encoder, and length of prompts, are used." placeholder:"PATH"`
}

func (c *encodeCmd) Help() string {
	return `Examples:
  tokencache encode --model minit2i "a red lighthouse" --out lighthouse.safetensors
  tokencache encode --text-encoder flan-t5-large prompts.txt --out prompts.safetensors
  tokencache generate --model minit2i --encoded prompts.safetensors --prompt-file prompts.txt

A text encoder may be larger than the model. Prompts that are encoded ahead need none.`
}

func (c *encodeCmd) Run(a *app) error {
	if err := errors.Join(output.Apart([]string{c.Out}, c.Prompts...), atomicfile.Prepare(c.Out)); err != nil {
		return err
	}
	var texts []string
	for _, text := range c.Prompts {
		if info, err := os.Stat(text); err == nil && info.Mode().IsRegular() {
			lines, err := readPrompts(text)
			if err != nil {
				return err
			}
			texts = append(texts, lines...)
			continue
		}
		texts = append(texts, text)
	}
	e, err := c.encoder(a)
	if err != nil {
		return err
	}
	e.Store = cmp.Or(c.TextStore, e.Store)
	encoded, err := e.Encode(a.ctx, texts)
	if err != nil {
		return err
	}
	for _, t := range encoded {
		r := tokencache.PromptRemark{Text: t.Text, Cut: t.Cut, Unknown: t.Unknown}
		if text := r.String(); text != "" {
			a.note("%s", text)
		}
	}
	if err := prompt.Write(c.Out, encoded); err != nil {
		return err
	}
	a.note("wrote %d encoded prompts to %s", len(encoded), c.Out)
	return nil
}

// encoder opens the text encoder that is asked for.
func (c *encodeCmd) encoder(a *app) (*prompt.Encoder, error) {
	switch {
	case c.Length < 1 || c.Length > 1<<14:
		return nil, fmt.Errorf("--length %d: want 1 to %d", c.Length, 1<<14)
	case c.Model == "" && c.TextEncoder == "":
		return nil, errors.New("no text encoder: give a model with --model, or a folder with --text-encoder")
	case c.Model == "":
		return prompt.Open(c.TextEncoder, c.Length)
	}
	p, _, _, err := models.Resolve(a.ctx, c.Model, tokencache.Options{TextEncoder: c.TextEncoder})
	if err != nil {
		return nil, err
	}
	defer p.Close()
	switch e := p.Encoder(); {
	case !p.TakesPrompts():
		return nil, fmt.Errorf("--model %s: %s takes classes, not prompts", c.Model, p.Name())
	case e == nil:
		return nil, fmt.Errorf("--model %s: it has no text encoder next to it, or reads text by itself", c.Model)
	default:
		return e, nil
	}
}
