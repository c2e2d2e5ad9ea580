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

func (c *versionCmd) Run(a *app) error {
	v := struct {
		Version  string `json:"version"`
		Go       string `json:"go"`
		Platform string `json:"platform"`
		Level    string `json:"cpu_level"`
	}{"(devel)", runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH, kernel.ActiveLevel().String()}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		v.Version = info.Main.Version
	}
	if c.JSON {
		return a.printJSON(v)
	}
	_, err := fmt.Fprintf(a.stdout, "tokencache %s (%s, %s), CPU level %s\n", v.Version, v.Go, v.Platform, v.Level)
	return err
}
