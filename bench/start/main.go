// Start measures how long a packed model takes to start from a warm page cache, and the memory of
// two processes that share it:
//
//	go run ./bench/start                        # DiT-XL/2 in int8, with made-up weights
//	go run ./bench/start -dtype f32
//	go run ./bench/start -model DiT.packed -vae sd-vae-ft-ema
//
// It prints one JSON object. start_ms is from the start of a process to its opened model, the
// median of several; rss_mb is the resident memory of each of two processes that have made an image
// at the same time, shared_mb what of it they share, and open_ms is like start_ms of the weights as
// they are published, read and packed.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/checkpoint"
	"github.com/tokencache/tokencache/dit"
	"github.com/tokencache/tokencache/internal/formula"
	"github.com/tokencache/tokencache/tensor"
)

func main() {
	var o options
	flag.StringVar(&o.model, "model", "", "packed `file`; none: one of -arch is made")
	flag.StringVar(&o.vae, "vae", "testdata/vae-tiny", "autoencoder `path`")
	flag.StringVar(&o.arch, "arch", "DiT-XL/2", "architecture that is made")
	flag.StringVar(&o.dtype, "dtype", "int8", "its number format")
	flag.IntVar(&o.runs, "runs", 7, "starts")
	flag.BoolVar(&o.child, "child", false, "open the model, say so, and make an image when told; for itself")
	flag.Parse()
	do := o.measure
	if o.child {
		do = o.open
	}
	if err := do(); err != nil {
		fmt.Fprintln(os.Stderr, "start:", err)
		os.Exit(1)
	}
}

type options struct {
	model, vae, arch, dtype string
	runs                    int
	child                   bool
}

// report is what is printed.
type report struct {
	Model  string  `json:"model"`
	Bytes  int64   `json:"bytes"`             // of the packed file
	Start  float64 `json:"start_ms"`          // median
	Starts []int64 `json:"starts_ms"`         // all
	Open   float64 `json:"open_ms,omitempty"` // of the weights that were packed
	RSS    float64 `json:"rss_mb"`            // of each of two processes
	Shared float64 `json:"shared_mb"`         // of that
}

// open is a child: it says when the model is open, makes an image for each line that it reads, and
// says that.
func (o *options) open() error {
	p, err := tokencache.Open(o.model, tokencache.Options{VAE: o.vae})
	if err != nil {
		return err
	}
	defer p.Close()
	fmt.Println("open")
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		_, err := p.Generate(context.Background(), tokencache.Request{
			Classes:  []int{0},
			Sampling: tokencache.Sampling{Steps: 1, Guidance: 1},
		})
		if err != nil {
			return err
		}
		fmt.Println("made")
	}
	return nil
}

// process is a child that runs.
type process struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// start starts a child and waits until its model is open.
func (o *options) start(model string) (*process, time.Duration, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, 0, err
	}
	p := &process{cmd: exec.Command(self, "-child", "-model", model, "-vae", o.vae)}
	p.cmd.Stderr = os.Stderr
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, 0, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, 0, err
	}
	p.out = bufio.NewReader(out)
	begin := time.Now()
	if err := p.cmd.Start(); err != nil {
		return nil, 0, err
	}
	err = p.said("open")
	return p, time.Since(begin), err
}

// said waits for a word of the child.
func (p *process) said(word string) error {
	line, err := p.out.ReadString('\n')
	if err != nil || strings.TrimSpace(line) != word {
		return fmt.Errorf("a process said %q (%w), want %q", line, err, word)
	}
	return nil
}

// end lets the child end.
func (p *process) end() error { return errors.Join(p.in.Close(), p.cmd.Wait()) }

func (o *options) measure() error {
	r := report{Model: o.model}
	if o.model == "" {
		dir, err := os.MkdirTemp("", "tokencache-start-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		if r.Open, err = o.make(dir); err != nil {
			return err
		}
		r.Model = o.arch + " in " + o.dtype
	}
	info, err := os.Stat(o.model)
	if err != nil {
		return err
	}
	r.Bytes = info.Size()
	for i := range o.runs + 1 { // the first warms the page cache
		p, took, err := o.start(o.model)
		if err != nil {
			return err
		}
		if i == 0 {
			err = p.image()
		} else {
			r.Starts = append(r.Starts, took.Milliseconds())
		}
		if err := errors.Join(err, p.end()); err != nil {
			return err
		}
	}
	sorted := slices.Sorted(slices.Values(r.Starts))
	r.Start = float64(sorted[len(sorted)/2])
	if err := o.share(&r); err != nil {
		return err
	}
	e := json.NewEncoder(os.Stdout)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// image lets a child make an image, which touches all weights.
func (p *process) image() error {
	if _, err := fmt.Fprintln(p.in); err != nil {
		return err
	}
	return p.said("made")
}

// share measures the memory of two processes at the same time.
func (o *options) share(r *report) error {
	var both []*process
	for range 2 {
		p, _, err := o.start(o.model)
		if err != nil {
			return err
		}
		both = append(both, p)
	}
	var err error
	for _, p := range both {
		err = errors.Join(err, p.image())
	}
	for _, p := range both {
		rss, shared, failed := memory(p.cmd.Process.Pid)
		r.RSS, r.Shared, err = max(r.RSS, rss), max(r.Shared, shared), errors.Join(err, failed)
	}
	for _, p := range both {
		err = errors.Join(err, p.end())
	}
	return err
}

// memory returns the resident memory of a process and what of it is shared with others, in MB.
func memory(pid int) (rss, shared float64, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(text)) {
		name, rest, _ := strings.Cut(line, ":")
		var kB float64
		if _, err := fmt.Sscan(rest, &kB); err != nil {
			continue // the first line is of addresses
		}
		switch name {
		case "Rss":
			rss = kB / 1024
		case "Shared_Clean", "Shared_Dirty":
			shared += kB / 1024
		}
	}
	return rss, shared, nil
}

// make makes a packed model of made-up weights in dir, and returns the milliseconds that a process
// takes to open those as they are published.
func (o *options) make(dir string) (float64, error) {
	const inputSize = 32
	config, err := dit.Official(o.arch, inputSize)
	if err != nil {
		return 0, err
	}
	d, err := tensor.ParseDType(o.dtype)
	if err != nil {
		return 0, err
	}
	var source formula.Source
	content := checkpoint.Content{Read: source.Read}
	for _, w := range config.Tensors() {
		if w.Name == "pos_embed" { // computed where there is none
			continue
		}
		source.Add(w.Name, w.Shape...)
		content.Tensors = append(content.Tensors, checkpoint.Info{Name: w.Name, DType: checkpoint.F32, Shape: w.Shape})
	}
	whole := filepath.Join(dir, "model.safetensors")
	if err := checkpoint.WriteSafetensors(whole, content); err != nil {
		return 0, err
	}
	p, took, err := o.start(whole)
	if err == nil {
		err = p.end()
	}
	if err != nil {
		return 0, err
	}
	w, err := dit.Open(whole, dit.Options{})
	if err != nil {
		return 0, err
	}
	defer w.Close()
	o.model = filepath.Join(dir, "model.packed")
	return float64(took.Milliseconds()), w.WritePacked(o.model, d)
}
