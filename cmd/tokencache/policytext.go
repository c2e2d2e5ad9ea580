package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/tokencache/tokencache/reuse"
)

// policyText is the value of a flag that names a policy; "help" prints which there are and ends.
type policyText string

// AfterApply is called by kong when the flag was read.
func (t policyText) AfterApply(k *kong.Kong) error {
	if t == "help" {
		printMethods(k.Stdout)
		fmt.Fprintln(k.Stdout, "Or the folder of a policy that calibrate made, "+
			"or one that is bundled with the model: see tokencache list policies.")
		k.Exit(0)
	}
	return nil
}

// printMethods writes what can be reused, by the names that --policy takes.
func printMethods(w io.Writer) {
	for _, m := range reuse.Methods() {
		summary := m.Summary
		if m.Paper != "" {
			summary += " (" + m.Paper + ")"
		}
		fmt.Fprintln(w, m.Name)
		printWrapped(w, "    ", summary)
		for _, p := range m.Params {
			text := fmt.Sprintf("%s=%s: %s", p.Name, p.Values, p.Help)
			if p.Default != "" {
				text += "; default " + p.Default
			}
			printWrapped(w, "      ", text)
		}
	}
}

// printWrapped writes a text in lines of at most 100 columns, the first after indent, the others deeper.
func printWrapped(w io.Writer, indent, text string) {
	for i, line := range wrap(text, 96-len(indent)) {
		if i > 0 {
			line = "  " + line
		}
		fmt.Fprintln(w, indent+line)
	}
}

// wrap breaks a text into lines of at most width bytes, where its words allow.
func wrap(text string, width int) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		switch {
		case line == "":
			line = word
		case len(line)+1+len(word) > width:
			lines, line = append(lines, line), word
		default:
			line += " " + word
		}
	}
	return append(lines, line)
}
