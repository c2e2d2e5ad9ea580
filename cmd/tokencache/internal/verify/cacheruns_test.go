package verify

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestNetworkOfAnotherFolder checks where recordings find the network that they are of: beside
// their folder, with the folder's suffix if there is such a one.
func TestNetworkOfAnotherFolder(t *testing.T) {
	for _, test := range []struct {
		name       string
		folders    []string // that have a network
		recordings string
		want       string // "" if there is none
	}{
		{"no suffix", []string{"cache-methods"}, "cache-methods-2026", "cache-methods"},
		{"the same suffix", []string{"cache-methods", "cache-methods-x"}, "cache-methods-2026-x", "cache-methods-x"},
		{"no network of that suffix", []string{"cache-methods"}, "cache-methods-2026-x", "cache-methods"},
		{"its own network", []string{"cache-methods", "cache-methods-2026"}, "cache-methods-2026", "cache-methods-2026"},
		{"no year", []string{"cache-methods"}, "cache-methods-x", "cache-methods-x"},
		{"none", nil, "cache-methods-2026-x", "cache-methods-x"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			for _, f := range append([]string{test.recordings}, test.folders...) {
				if err := os.MkdirAll(filepath.Join(dir, f), 0o777); err != nil {
					t.Fatal(err)
				}
			}
			for _, f := range test.folders {
				if err := os.WriteFile(filepath.Join(dir, f, "config.json"), []byte("{}"), 0o666); err != nil {
					t.Fatal(err)
				}
			}
			if got, want := networkDir(filepath.Join(dir, test.recordings)), filepath.Join(dir, test.want); got != want {
				t.Errorf("%s, want %s", got, want)
			}
		})
	}
}

// TestRunsWithoutNetwork checks that an error names the folder that is missing.
func TestRunsWithoutNetwork(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache-methods-2026-x")
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(testdata, "cache-methods-2026"))); err != nil {
		t.Fatal(err)
	}
	_, err := verifyPaths(t, Options{}, dir)
	if err == nil || !strings.Contains(err.Error(), filepath.Join(filepath.Dir(dir), "cache-methods-x")) {
		t.Errorf("error %v, want one that names cache-methods-x", err)
	}
}

// TestUnknownOptions checks that a run whose options have a name or a value that the method does
// not know is not passed over as if they were not there.
func TestUnknownOptions(t *testing.T) {
	c := &recording{stem: "hicache"}
	for _, test := range []struct {
		options, want string // an error
		policy        bool
	}{
		{`{"interval": 3, "order": 2, "first": 3, "sigma": 0.5}`, "", true},
		{`{"interval": 3, "order": 2, "first": 3, "sigma": 0.5, "basis": "legendre"}`, "", false},
		{`{"interval": 3, "lead": 2}`, `options: json: unknown field "lead"`, false},
	} {
		t.Run(test.options, func(t *testing.T) {
			p, err := recordedMethods["hicache"].policy(c, recordedRun{Options: []byte(test.options)})
			if (p != nil) != test.policy || (err == nil) != (test.want == "") || err != nil && err.Error() != test.want {
				t.Errorf("policy %v, error %v; want a policy: %v, error %q", p, err, test.policy, test.want)
			}
		})
	}
}
