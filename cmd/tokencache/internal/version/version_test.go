package version

import (
	"runtime/debug"
	"strings"
	"testing"
)

// TestDescribe checks that a program says which version and commit it was built of, as far as that
// is known, and that builds which may differ are told apart.
func TestDescribe(t *testing.T) {
	build := func(version string, settings ...debug.BuildSetting) *debug.BuildInfo {
		return &debug.BuildInfo{Main: debug.Module{Version: version}, Settings: settings}
	}
	commit := debug.BuildSetting{Key: "vcs.revision", Value: "0123abc"}
	clean := debug.BuildSetting{Key: "vcs.modified", Value: "false"}
	modified := debug.BuildSetting{Key: "vcs.modified", Value: "true"}
	for _, c := range []struct {
		name   string
		info   *debug.BuildInfo
		want   string
		hashed bool // Build tells executables apart
	}{
		{"a release", build("v1.2.3", commit, clean), "tokencache v1.2.3 (commit 0123abc, go", false},
		{"a release without its repository", build("v1.2.3"), "tokencache v1.2.3 (go", false},
		{"a commit", build("(devel)", clean, commit), "tokencache (devel) (commit 0123abc, go", false},
		{"changed files", build("(devel)", commit, modified), "tokencache (devel) (commit 0123abc with changes, go", true},
		{"an export without a repository", build("(devel)"), "tokencache (devel) (go", true},
		{"nothing noted", nil, "tokencache (devel) (go", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := describe(c.info)
			if got := v.String(); !strings.HasPrefix(got, c.want) || !strings.Contains(got, "), CPU level "+v.Level) {
				t.Errorf("%s, want %s...), CPU level %s", got, c.want, v.Level)
			}
			of, err := v.Build()
			if err != nil {
				t.Fatal(err)
			}
			sum, err := hashExecutable()
			if err != nil || strings.HasSuffix(of, sum) != c.hashed {
				t.Errorf("build %q, error %v; want the hash of the executable: %t", of, err, c.hashed)
			}
		})
	}
}
