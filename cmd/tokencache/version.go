package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/tokencache/tokencache/internal/kernel"
)

type versionCmd struct {
	JSON bool `name:"json" help:"Print one JSON object on standard output."`
}

// version is what this program is, and what it runs on.
type version struct {
	Version  string `json:"version"`
	Commit   string `json:"commit,omitempty"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
	Level    string `json:"cpu_level"`
}

func describeVersion() version {
	v := version{
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
		if s.Key == "vcs.revision" {
			v.Commit = s.Value
		}
	}
	return v
}

func (v version) String() string {
	return fmt.Sprintf("tokencache %s (%s, %s), CPU level %s", v.Version, v.Go, v.Platform, v.Level)
}

func (c *versionCmd) Run(a *app) error {
	v := describeVersion()
	if c.JSON {
		return a.printJSON(v)
	}
	_, err := fmt.Fprintln(a.stdout, v)
	return err
}
