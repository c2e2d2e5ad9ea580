package report

import (
	"fmt"
	"strings"

	"github.com/tokencache/tokencache/diffusion"
)

// Command is a command line of the program that a report shows. A POSIX shell reads its words as
// they were added.
type Command struct{ words []string }

// NewCommand returns the command line that begins with words.
func NewCommand(words ...string) *Command { return &Command{words: words} }

// Flag adds a flag with its value.
func (c *Command) Flag(name, value string) *Command {
	c.words = append(c.words, name, value)
	return c
}

// Optional adds a flag with its value unless that is "".
func (c *Command) Optional(name, value string) *Command {
	if value == "" {
		return c
	}
	return c.Flag(name, value)
}

// Switch adds a flag without a value if it is on.
func (c *Command) Switch(name string, on bool) *Command {
	if on {
		c.words = append(c.words, name)
	}
	return c
}

// Sampling adds the flags of how images are sampled. The steps are left out if there are none.
func (c *Command) Sampling(s diffusion.Sampling) *Command {
	c.Optional("--sampler", s.Sampler)
	if s.Steps != 0 {
		c.Flag("--steps", s.StepsText())
	}
	if s.Order != 0 {
		c.Flag("--order", fmt.Sprint(s.Order))
	}
	c.Optional("--variant", s.Variant)
	c.Optional("--eta", known(s.Eta))
	c.Optional("--guidance", known(s.Guidance))
	if s.Guidance != 0 && s.Guidance != 1 {
		c.Flag("--guidance-power", exact(s.GuidancePower)) // 0 too: a model may have another default
	}
	for _, o := range s.FlowSettings() {
		if o.Value == "" {
			c.Switch("--"+o.Name, true)
		} else {
			c.Flag("--"+o.Name, o.Value)
		}
	}
	c.Switch("--guidance-all-channels", s.GuideAll).Switch("--clip", s.Clip)
	if s.RNG != "" && s.RNG != diffusion.RNGOwn {
		c.Flag("--rng", string(s.RNG))
	}
	return c
}

func (c *Command) String() string {
	quoted := make([]string, len(c.words))
	for i, word := range c.words {
		quoted[i] = quote(word)
	}
	return strings.Join(quoted, " ")
}

// quote writes a word so that a POSIX shell reads it as it is.
func quote(word string) string {
	special := func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' ||
			strings.ContainsRune("_-+=:,./@%", r))
	}
	if word != "" && !strings.ContainsFunc(word, special) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// generate returns the command line that generates as a cell did, or without a policy if there is
// none.
func (r *Results) generate(cell *Cell) string {
	sampling, policy := r.Sampling, "none"
	if cell != nil {
		policy = cell.Policy
		if cell.Sampling != nil {
			sampling, policy = *cell.Sampling, "none"
			if on := strings.LastIndex(cell.Policy, "@"); on >= 0 { // a policy on that sampler
				policy = cell.Policy[:on]
			}
		}
	}
	c := NewCommand("tokencache", "generate").Optional("--policy", policy).Optional("--model", r.Model)
	dtype := r.DType
	if cell != nil {
		dtype = cell.dtype(r)
	}
	if dtype != "f32" { // the command's own
		c.Optional("--dtype", dtype)
	}
	c.Optional("--vae", r.VAE).Sampling(sampling).Flag("--seed", fmt.Sprint(r.Seed))
	if r.Batch > 0 {
		c.Flag("--batch", fmt.Sprint(r.Batch))
	}
	return c.String()
}

// stepsText is the steps of all cells, "" if they are not known.
func (r *Results) stepsText() string {
	if r.Sampling.Steps == 0 {
		return ""
	}
	return r.StepsText()
}
