package main

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/reuse"
)

// TestCalibrateCommandParses checks that the command of a hint is one that the program takes, for
// the same model and sampling.
func TestCalibrateCommandParses(t *testing.T) {
	plain := tokencache.Sampling{Sampler: "ddim", Steps: 50, Guidance: 1.5}
	for _, test := range []struct {
		name     string
		model    string
		options  tokencache.Options
		suits    tokencache.Sampling
		sampling tokencache.Sampling
		speed    float64
	}{
		{name: "bundled", model: "fashion-mdt", sampling: plain},
		{name: "path", model: "runs/mine", options: tokencache.Options{VAE: "sd-vae", Heads: 6}, sampling: plain, speed: 3},
		{
			name:     "spacing",
			model:    "fashion",
			sampling: tokencache.Sampling{Sampler: "ddim", Steps: 20, Spacing: "ddim", Guidance: 4},
		},
		{
			name:     "no power where the model would have one",
			model:    "mdt",
			suits:    tokencache.Sampling{Guidance: 3.8, GuidancePower: 4},
			sampling: plain,
		},
		{
			name:  "all settings",
			model: "fashion",
			sampling: tokencache.Sampling{
				Sampler:       "ddim",
				Steps:         6,
				Spacing:       "1,2,3",
				Guidance:      3.8,
				GuidancePower: 4,
				Eta:           0.5,
				GuideAll:      true,
				Clip:          true,
			},
			speed: 1.5,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := &app{opened: opened{
				model:    test.model,
				options:  test.options,
				suits:    test.suits,
				sampling: test.sampling.WithDefaults(),
			}}
			words := strings.Fields(a.calibrateCommand(test.speed))
			var c cli
			if _, err := newParser(&c, kong.Exit(func(int) {})).Parse(words[1:]); err != nil {
				t.Fatalf("%s: %v", strings.Join(words, " "), err)
			}
			got, err := c.Calibrate.sampling(test.suits)
			if want := test.sampling.WithDefaults(); err != nil || got != want {
				t.Errorf("samples with %+v (%v), want %+v", got, err, want)
			}
			o := tokencache.Options{VAE: c.Calibrate.VAE, Heads: c.Calibrate.HeadsOpt}
			if c.Calibrate.Model != test.model || !reflect.DeepEqual(o, test.options) {
				t.Errorf("%s: another model or options", strings.Join(words, " "))
			}
		})
	}
}

// TestExplain checks what is added to the packages' errors, also where they are wrapped.
func TestExplain(t *testing.T) {
	sampling := tokencache.Sampling{Sampler: "ddim", Steps: 9, Guidance: 1.5}
	a := &app{opened: opened{model: "fashion", sampling: sampling}}
	calibrate := "make one with tokencache calibrate --model fashion " +
		"--sampler ddim --steps 9 --guidance 1.5 --speed 2.4x --out DIR"
	made := tokencache.Sampling{Sampler: "ddpm", Steps: 250}
	for _, test := range []struct {
		name string
		err  error
		want string
	}{
		{"other", errors.New("no such file"), "no such file"},
		{
			"field",
			fmt.Errorf("model x: %w", &tokencache.FieldError{Field: "GuidancePower", Value: -1, Want: "0 or more"}),
			"model x: --guidance-power -1: want 0 or more",
		},
		{
			"field without a flag",
			&tokencache.FieldError{Field: "Limits", Value: -1, Want: "0 or more each"},
			"limits -1: want 0 or more each",
		},
		{
			"limit",
			&tokencache.LimitError{What: "cache memory", Need: 3 << 20, Limit: 1 << 20},
			"one image needs 3.0 MB of cache memory, the limit is 1.0 MB; " +
				"raise --cache-memory, or lower --batch if the policy needs whole batches",
		},
		{
			"steps",
			fmt.Errorf("x: %w", &reuse.MismatchError{Policy: "p", Field: "Steps", Made: "m", Used: "u", For: made}),
			"x: policy p was made for m, not for u: give --sampler ddpm --steps 250, or " + calibrate,
		},
		{
			"model",
			&reuse.MismatchError{Policy: "p", Field: "Model", Made: "m", Used: "u", For: made},
			"policy p was made for m, not for u: " + calibrate,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := a.explain(test.err); got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
		})
	}
}

// TestErrorsArePlain checks that control characters and long names do not reach the terminal.
func TestErrorsArePlain(t *testing.T) {
	for name, path := range map[string]string{
		"escape codes": "\x1b[31mred\x1b]0;title\a.pt",
		"long":         strings.Repeat("long", 1<<18) + ".pt",
	} {
		t.Run(name, func(t *testing.T) {
			var out, errs bytes.Buffer
			if status := run([]string{"inspect", path}, &out, &errs); status != 1 {
				t.Errorf("status %d", status)
			}
			if text := errs.String(); strings.ContainsAny(text, "\x1b\a") || len(text) > 20<<10 || out.Len() > 0 {
				t.Errorf("%d bytes: %.200q", len(text), text)
			}
		})
	}
}

// TestFlagsExist checks that the flags named in errors are flags of some verb.
func TestFlagsExist(t *testing.T) {
	known := map[string]bool{}
	for _, verb := range newParser(new(cli)).Model.Leaves(true) {
		for _, group := range verb.AllFlags(false) {
			for _, f := range group {
				known["--"+f.Name] = true
			}
		}
	}
	for field, flag := range flagOf {
		if !known[flag] {
			t.Errorf("field %s: no verb has the flag %s", field, flag)
		}
	}
}
