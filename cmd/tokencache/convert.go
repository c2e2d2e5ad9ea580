package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/checkpoint"
	"github.com/tokencache/tokencache/dit"
	"github.com/tokencache/tokencache/internal/atomicfile"
	"github.com/tokencache/tokencache/models"
)

type convertCmd struct {
	From  string `arg:"" help:"A checkpoint, a folder with one, a diffusers pipeline (its transformer), or the name of a bundled model: ${models}."`
	To    string `arg:"" help:"FILE.safetensors, or FILE.pt, .pth or .bin for PyTorch's format."`
	Key   string `help:"Which of several sets of weights to convert, such as model. Default: the ema, if there is one." placeholder:"KEY"`
	DType string `name:"dtype" help:"Type of the numbers: f32, f16, bf16 or f64, with --packed f32, bf16 or int8. Default: as they are, with --packed f32." enum:",f32,f16,bf16,f64,int8" default:""`
	Pack  bool   `name:"packed" help:"Write a model as the kernels of this machine's CPU level want it: a file that is mapped, not read, and shared by processes."`
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
	if c.Pack {
		return c.packed(a)
	}
	if c.DType == "int8" {
		return errors.New("--dtype int8 is for --packed files")
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

// packed writes a packed file.
func (c *convertCmd) packed(a *app) error {
	d := tokencache.F32
	if c.DType != "" {
		var err error
		if d, err = tokencache.ParseDType(c.DType); err != nil {
			return fmt.Errorf("--dtype: %w", err)
		}
	}
	w, err := dit.OpenContext(a.ctx, c.From, dit.Options{Key: c.Key})
	if err != nil {
		return err
	}
	defer w.Close()
	if err := w.WritePacked(c.To, d); err != nil {
		return err
	}
	if c.JSON {
		return a.printJSON(map[string]any{"file": c.To, "dtype": d.String()})
	}
	a.note("wrote %s", c.To)
	return nil
}
