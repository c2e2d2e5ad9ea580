package main

import (
	"testing"

	"github.com/alecthomas/kong"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/reuse"
)

// TestPolicysSampling checks that a calibrated policy brings its sampling, and that flags win.
func TestPolicysSampling(t *testing.T) {
	suits := tokencache.Sampling{Guidance: 4}
	made := tokencache.Sampling{Sampler: "unipc", Order: 3, Steps: 19, Spacing: "logsnr", Guidance: 1.5}.WithDefaults()
	with := func(change func(s *tokencache.Sampling)) tokencache.Sampling {
		s := made
		change(&s)
		return s
	}
	for _, test := range []struct {
		name string
		args []string
		want tokencache.Sampling
	}{
		{"no flags", nil, made},
		{"the same sampler", []string{"--sampler", "unipc"}, made},
		{"steps", []string{"--steps", "15"}, with(func(s *tokencache.Sampling) { s.Steps, s.Spacing = 15, "" })},
		{"order", []string{"--sampler", "unipc", "--order", "1"}, with(func(s *tokencache.Sampling) { s.Order = 1 })},
		{"guidance", []string{"--guidance", "2"}, with(func(s *tokencache.Sampling) { s.Guidance = 2 })},
		{"eta", []string{"--eta", "1"}, with(func(s *tokencache.Sampling) { s.Eta = 1 })}, // which is refused later
		{
			"another sampler",
			[]string{"--sampler", "ddpm"},
			tokencache.Sampling{Sampler: "ddpm", Steps: 50, Guidance: 4}.WithDefaults(),
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			var c cli
			args := append([]string{"generate"}, test.args...)
			if _, err := newParser(&c, kong.Exit(func(int) {})).Parse(args); err != nil {
				t.Fatal(err)
			}
			s, err := c.Generate.sampling(suits)
			if err != nil {
				t.Fatal(err)
			}
			if got := c.Generate.of(&reuse.Trained{Spec: "none", Sampling: made}, s); got != test.want {
				t.Errorf("%+v, want %+v", got, test.want)
			}
			if got := c.Generate.of(reuse.None{}, s); got != s {
				t.Errorf("no policy changes %+v to %+v", s, got)
			}
		})
	}
}

// TestShiftOfScheduler checks that the shift of a model's scheduler is taken, and that flags win.
func TestShiftOfScheduler(t *testing.T) {
	suits := tokencache.Sampling{Guidance: 4, Shift: 3}
	for _, test := range []struct {
		name string
		args []string
		want tokencache.Sampling
	}{
		{"no flags", nil, tokencache.Sampling{Guidance: 4, Shift: 3}},
		{"another", []string{"--shift", "2"}, tokencache.Sampling{Guidance: 4, Shift: 2}},
		{"none", []string{"--shift", "1"}, tokencache.Sampling{Guidance: 4, Shift: 1}},
		{"by resolution", []string{"--shift-by-resolution"}, tokencache.Sampling{Guidance: 4, ShiftByResolution: true}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var c cli
			if _, err := newParser(&c, kong.Exit(func(int) {})).Parse(append([]string{"generate"}, test.args...)); err != nil {
				t.Fatal(err)
			}
			if s, err := c.Generate.sampling(suits); err != nil || s != test.want.WithDefaults() {
				t.Errorf("%+v, %v, want %+v", s, err, test.want.WithDefaults())
			}
		})
	}
}
