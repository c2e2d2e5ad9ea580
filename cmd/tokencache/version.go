package main

import (
	"fmt"

	"github.com/tokencache/tokencache/cmd/tokencache/internal/version"
)

type versionCmd struct {
	JSON bool `name:"json" help:"Print one JSON object on standard output."`
}

func (c *versionCmd) Run(a *app) error {
	v := version.Describe()
	if c.JSON {
		return a.printJSON(v)
	}
	_, err := fmt.Fprintln(a.stdout, v)
	return err
}
