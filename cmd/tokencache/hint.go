package main

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/tokencache/tokencache/models/bundle"
)

// calibrateCommand returns the command that makes a policy for the model and the sampling in use;
// speed 0 means bundle.DefaultSpeed.
func (a *app) calibrateCommand(speed float64) string {
	if speed == 0 {
		speed = bundle.DefaultSpeed
	}
	o := a.opened.options
	words := []string{"tokencache calibrate --model", quote(a.opened.model)}
	if o.VAE != "" {
		words = append(words, "--vae", quote(o.VAE))
	}
	if o.Key != "" {
		words = append(words, "--key", quote(o.Key))
	}
	if o.Heads != 0 {
		words = append(words, "--heads", fmt.Sprint(o.Heads))
	}
	words = append(words, a.samplingText(), fmt.Sprintf("--speed %gx --out DIR", speed))
	return strings.Join(words, " ")
}

// samplingText returns the flags that say how images are sampled.
func (a *app) samplingText() string {
	s := a.opened.sampling
	text := fmt.Sprintf("--sampler %s --steps %s --guidance %g", s.Sampler, s.StepsText(), s.Guidance)
	if s.GuidancePower != 0 || a.opened.suits.GuidancePower != 0 {
		text += fmt.Sprintf(" --guidance-power %g", s.GuidancePower)
	}
	if s.Eta != 0 {
		text += fmt.Sprintf(" --eta %g", s.Eta)
	}
	if s.GuideAll {
		text += " --guidance-all-channels"
	}
	if s.Clip {
		text += " --clip"
	}
	return text
}

var plainWord = regexp.MustCompile(`^[\w@%+=:,./\\-]+$`)

// quote returns a word as a shell reads it.
func quote(word string) string {
	if plainWord.MatchString(word) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
