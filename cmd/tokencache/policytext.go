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
	for _, name := range reuse.Names() {
		help := reuse.Help(name)
		if help == "" {
			help = "Computes everything at every step."
		}
		fmt.Fprintf(w, "%s\n", name)
		for _, line := range wrap(help, 96) {
			fmt.Fprintf(w, "    %s\n", line)
		}
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
