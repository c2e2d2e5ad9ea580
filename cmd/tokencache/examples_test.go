package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// TestExamples parses the commands of the examples of jobs, and opens the runs that they make.
func TestExamples(t *testing.T) {
	for file, want := range map[string][]string{
		"compose.yaml":    {"jobs", "jobs", "jobs", "jobs", "jobs"}, // the anchor, its uses, the coordinator
		"kubernetes.yaml": {"generate", "merge"},
		"slurm.sh":        {"generate"},
	} {
		t.Run(file, func(t *testing.T) {
			text, err := os.ReadFile(filepath.Join("../../examples/jobs", file))
			if err != nil {
				t.Fatal(err)
			}
			var commands [][]string
			if file == "slurm.sh" {
				_, flags, _ := strings.Cut(string(text), "slurm.sh ")
				flags, _, _ = strings.Cut(flags, "&&")
				commands = [][]string{append([]string{"generate"}, strings.Fields(flags)...)}
			} else {
				commands = yamlCommands(t, text)
			}
			var verbs []string
			for _, args := range commands {
				verbs = append(verbs, args[0])
				checkExample(t, args)
			}
			if !slices.Equal(verbs, want) {
				t.Errorf("commands %v, want %v", verbs, want)
			}
		})
	}
}

// checkExample parses a command, and opens the run of the flags of generate that it has.
func checkExample(t *testing.T, args []string) {
	t.Helper()
	for i, arg := range args {
		args[i] = strings.ReplaceAll(arg, "$(JOB_COMPLETION_INDEX)", "15")
	}
	c, _, err := parseCommand(args)
	if err != nil {
		t.Errorf("%q: %v", args, err)
		return
	}
	flags := c.Jobs.Run.Args
	if args[0] == "generate" {
		flags = slices.DeleteFunc(slices.Clone(args[1:]), func(arg string) bool {
			return strings.HasPrefix(arg, "--shard-index=") || strings.HasPrefix(arg, "--out=")
		})
	}
	if len(flags) == 0 {
		return
	}
	a := &app{ctx: t.Context(), stdout: io.Discard, stderr: io.Discard}
	run, err := a.openRun(0)(flags, nil)
	if err != nil {
		t.Errorf("%q: %v", args, err)
		return
	}
	defer run.Pipeline.Close()
	if a.opened.model != "fashion" || !run.Labels {
		t.Errorf("%q: model %s, labels %v: want fashion and its labels", args, a.opened.model, run.Labels)
	}
}

// yamlCommands returns the lists under the keys command and args, of all documents.
func yamlCommands(t *testing.T, text []byte) (list [][]string) {
	t.Helper()
	for d := yaml.NewDecoder(bytes.NewReader(text)); ; {
		var doc any
		if err := d.Decode(&doc); errors.Is(err, io.EOF) {
			return list
		} else if err != nil {
			t.Fatal(err)
		}
		list = append(list, commandsIn(doc)...)
	}
}

func commandsIn(v any) (list [][]string) {
	switch v := v.(type) {
	case map[string]any:
		for key, under := range v {
			words, ok := under.([]any)
			if !ok || key != "command" && key != "args" {
				list = append(list, commandsIn(under)...)
				continue
			}
			var args []string
			for _, word := range words {
				args = append(args, word.(string))
			}
			list = append(list, args)
		}
	case []any:
		for _, under := range v {
			list = append(list, commandsIn(under)...)
		}
	}
	return list
}
