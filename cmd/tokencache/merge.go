package main

import (
	"fmt"
	"strings"

	"github.com/tokencache/tokencache/cmd/tokencache/internal/output"
	"github.com/tokencache/tokencache/shard"
)

type mergeCmd struct {
	Parts     []string `arg:"" name:"dir" help:"Folders of the parts that generate --shard wrote." placeholder:"DIR"`
	Out       string   `short:"o" once:"" help:"Where to write: FILE.npz, a folder (a PNG for each image, and sheet.png), or FILE.png (the sheet alone), as generate does." placeholder:"FILE|DIR" required:""`
	Identity  string   `help:"Merge the run whose identity begins so. Default: the only one that is whole." placeholder:"HEX"`
	Overwrite bool     `help:"Replace the images of another run in --out."`
	JSON      bool     `name:"json" help:"Print one JSON object on standard output."`
}

func (c *mergeCmd) Help() string {
	return `Examples:
  tokencache generate --model fashion --count 2000 --seed 0 --shard 1/8 --out parts
  tokencache merge parts --out samples.npz

The shards may be made in any order, on any machines, and more than once: what is merged is, bit for bit,
what one process writes with the same flags. If images are missing the error names them. Parts of other runs,
such as of another CPU level, are named and left alone.`
}

func (c *mergeCmd) Run(a *app) error {
	folder, err := shard.Scan(c.Parts...)
	if err != nil {
		return err
	}
	parts, err := folder.Choose(c.Identity)
	if err != nil {
		return fmt.Errorf("merge %s: %w", strings.Join(c.Parts, " "), err)
	}
	for _, other := range append(folder.Foreign(parts), folder.Damaged...) {
		a.note("left out: %v", other)
	}
	files, err := output.Merge(parts, c.Out, output.Mode{Resume: true, Overwrite: c.Overwrite})
	if err != nil {
		return err
	}
	if c.JSON {
		return a.printJSON(map[string]any{
			"identity": parts.Run.Identity,
			"images":   parts.Run.Images,
			"parts":    len(parts.Parts),
			"files":    files,
		})
	}
	a.note("merged %d images of %d parts; wrote %s", parts.Run.Images, len(parts.Parts), strings.Join(files, ", "))
	return nil
}
