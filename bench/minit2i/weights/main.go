// Command weights writes MiniT2I-B/16 and the encoder of FLAN-T5-Large at their full sizes, with
// weights from a formula, as the folders that generate opens: weights FOLDER. The tokenizer is a small
// one, from this repository.
package main

import (
	"encoding/json"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/tokencache/tokencache/checkpoint"
	"github.com/tokencache/tokencache/internal/formula"
	"github.com/tokencache/tokencache/internal/regularfile"
	"github.com/tokencache/tokencache/minit2i"
	"github.com/tokencache/tokencache/t5"
)

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: weights FOLDER")
	}
	if err := write(os.Args[1]); err != nil {
		log.Fatal(err)
	}
}

// tiny is a pipeline whose tokenizer and schedule are taken.
const tiny = "testdata/minit2i-pipeline-tiny"

func write(dir string) error {
	model, encoder := minit2i.MiniT2IB16(), t5.FlanT5Large()
	config, err := model.JSON()
	if err != nil {
		return err
	}
	network := filepath.Join(dir, "minit2i-b-16", "transformer")
	if err := weights(filepath.Join(network, "diffusion_pytorch_model.safetensors"), model.Tensors()); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(network, "config.json"), config, 0o644); err != nil {
		return err
	}
	text := filepath.Join(dir, "flan-t5-large")
	if err := weights(filepath.Join(text, "model.safetensors"), encoder.Tensors()); err != nil {
		return err
	}
	if config, err = json.Marshal(struct {
		t5.Config
		Forward string `json:"feed_forward_proj"`
	}{encoder, "gated-gelu"}); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(text, "config.json"), config, 0o644); err != nil {
		return err
	}
	for _, name := range []string{
		"flan-t5-large/tokenizer.json", "flan-t5-large/tokenizer_config.json", "minit2i-b-16/scheduler/scheduler_config.json",
	} {
		if err := copyFile(filepath.Join(dir, name), filepath.Join(tiny, name)); err != nil {
			return err
		}
	}
	return nil
}

// weights writes tensors as float32.
func weights(path string, wants []checkpoint.Want) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	src := new(formula.Source)
	c := checkpoint.Content{Read: src.Read}
	for _, w := range wants {
		src.Add(w.Name, w.Shape...)
		c.Tensors = append(c.Tensors, checkpoint.Info{Name: w.Name, DType: checkpoint.F32, Shape: w.Shape})
	}
	fmt.Println(path)
	return checkpoint.WriteSafetensors(path, c)
}

func copyFile(to, from string) error {
	b, err := regularfile.Read(from, regularfile.MaxText)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	return os.WriteFile(to, b, 0o644)
}
