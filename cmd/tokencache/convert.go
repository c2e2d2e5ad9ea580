package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/tokencache/tokencache/checkpoint"
	"github.com/tokencache/tokencache/internal/atomicfile"
	"github.com/tokencache/tokencache/models"
)

type convertCmd struct {
	From  string `arg:"" help:"A checkpoint, a folder with one, a diffusers pipeline (its transformer), or the name of a bundled model: ${models}."`
	To    string `arg:"" help:"FILE.safetensors, or FILE.pt, .pth or .bin for PyTorch's format."`
	Key   string `help:"Which of several sets of weights to convert, such as model. Default: the ema, if there is one." placeholder:"KEY"`
	DType string `name:"dtype" help:"Type of the numbers: f32, f16, bf16 or f64. Default: as they are." enum:",f32,f16,bf16,f64" default:""`
	Over  bool   `name:"overwrite" help:"Replace a file that is there."`
	JSON  bool   `name:"json" help:"Print one JSON object on standard output."`
}

func (c *convertCmd) Run(a *app) error {
	if _, err := os.Lstat(c.To); err == nil && !c.Over {
		return fmt.Errorf("%s is there already: give another name, or --overwrite to replace it", c.To)
	}
	if err := atomicfile.Prepare(c.To); err != nil {
		return err
	}
	leftOut, err := models.Convert(c.From, c.To, checkpoint.ConvertOptions{
		Key:   c.Key,
		DType: checkpoint.DType(strings.ToUpper(c.DType)),
	})
	if err != nil {
		return err
	}
	for _, name := range leftOut {
		a.note("left out: %s, which has no floating-point numbers", name)
	}
	if c.JSON {
		return a.printJSON(map[string]any{"file": c.To, "left_out": leftOut})
	}
	a.note("wrote %s", c.To)
	return nil
}
