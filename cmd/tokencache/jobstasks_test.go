package main

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// TestInputs checks which files --send sends, and which folders it leaves.
func TestInputs(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	for _, name := range []string{"a.npz", "net", "noise", "solver"} {
		if err := os.WriteFile(path(name), nil, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		args       []string
		sent, kept []string
	}{
		{
			args: []string{"evaluate", "--samples", path("a.npz"), "--reference", dir, "--features", path("net")},
			sent: []string{path("a.npz"), path("net")},
			kept: []string{dir},
		},
		{
			args: []string{"generate", "--model", "fashion", "--noise", path("noise"), "--solver", path("solver")},
			sent: []string{path("noise"), path("solver")},
		},
	} {
		_, command, err := parseCommand(test.args)
		if err != nil {
			t.Fatal(err)
		}
		sent, kept := inputs(command)
		if !slices.Equal(sent, test.sent) || !slices.Equal(kept, test.kept) {
			t.Errorf("%q: sent %q, kept %q, want %q and %q", test.args, sent, kept, test.sent, test.kept)
		}
	}
}
