package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

// TestHelpIsGrouped checks that every verb of the program is in a group of its help, and that in
// verbs of many flags only what every verb has, and a few besides, is outside of groups.
func TestHelpIsGrouped(t *testing.T) {
	program := newParser(&cli{}).Model
	for _, verb := range program.Children {
		if verb.Group == nil {
			t.Errorf("verb %s: in no group", verb.Name)
		}
	}
	for _, verb := range program.Leaves(false) {
		var shown, ungrouped []string
		for _, f := range verb.Flags {
			if f.Hidden {
				continue
			}
			if shown = append(shown, f.Name); f.Group == nil {
				ungrouped = append(ungrouped, f.Name)
			}
		}
		if len(shown) >= manyFlags && len(ungrouped) > 3 {
			t.Errorf("verb %s: flags in no group: %s", verb.Path(), strings.Join(ungrouped, ", "))
		}
	}
}

// TestHelpSaysDefaults checks that the help of every flag that has a value says its default, or why
// there is none.
func TestHelpSaysDefaults(t *testing.T) {
	// What these do is off unless they are given, or they must be given.
	optional := map[string]bool{
		"clip": true, "contract": true, "encoded": true, "negative": true, "prompt-file": true, "text-cache": true, "full": true, "heads": true, "input-size": true, "min-psnr": true,
		"neighbours": true, "noise": true, "out": true, "paper": true, "ratio": true, "save-latents": true,
		"size": true, "speed": true, "speeds": true, "statistics": true, "target": true, "vae": true,
		"reference": true, "samples": true, "data": true, "model": true, "key": true, "policy": true,
		"samples-split": true, "preprocess": true, "path-type": true, "prediction": true,
		"config": true, "keys": true, "new-key": true, "tls-cert": true, "tls-key": true, "origin": true,
		"adaptive": true, "state": true,
	}
	for _, verb := range newParser(&cli{}).Model.Leaves(false) {
		for _, f := range verb.Flags {
			if f.IsBool() || f.HasDefault || f.Hidden || optional[f.Name] {
				continue
			}
			if !strings.Contains(f.Help, "efault") {
				t.Errorf("%s --%s: the help does not say the default: %s", verb.Path(), f.Name, f.Help)
			}
		}
	}
}

// TestHelpPrints checks that the help of every verb is printed and ends the program with 0.
func TestHelpPrints(t *testing.T) {
	for _, verb := range newParser(&cli{}, kong.Exit(func(int) {})).Model.Leaves(false) {
		t.Run(verb.Path(), func(t *testing.T) {
			var out, errs bytes.Buffer
			args := append(strings.Fields(verb.Path()), "--help")
			if status := run(args, &out, &errs); status != 0 || !strings.HasPrefix(out.String(), "Usage: tokencache") {
				t.Errorf("status %d: %s%s", status, &out, &errs)
			}
		})
	}
}
