// Package version tells what this program is: its version, commit, Go, platform and CPU level.
package version

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/tokencache/tokencache/internal/kernel"
)

// Version is what this program is, and what it runs on.
type Version struct {
	Version  string `json:"version"`
	Commit   string `json:"commit,omitempty"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
	Level    string `json:"cpu_level"`
}

// Describe describes this program.
func Describe() Version {
	v := Version{
		Version:  "(devel)",
		Go:       runtime.Version(),
		Platform: runtime.GOOS + "/" + runtime.GOARCH,
		Level:    kernel.ActiveLevel().String(),
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	if info.Main.Version != "" {
		v.Version = info.Main.Version
	}
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			v.Commit = s.Value + v.Commit
		case s.Key == "vcs.modified" && s.Value == "true":
			v.Commit += " with changes"
		}
	}
	return v
}

func (v Version) String() string {
	commit := ""
	if v.Commit != "" {
		commit = "commit " + v.Commit + ", "
	}
	return fmt.Sprintf("tokencache %s (%s%s, %s), CPU level %s", v.Version, commit, v.Go, v.Platform, v.Level)
}
