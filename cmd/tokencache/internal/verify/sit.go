package verify

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tokencache/tokencache/checkpoint"
	"github.com/tokencache/tokencache/diffusion"
	"github.com/tokencache/tokencache/dit"
	"github.com/tokencache/tokencache/internal/regularfile"
	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
)

// flows are the networks of a folder of SiT's recordings: one for each thing that they predict, as
// the recordings name it.
type flows struct {
	weights map[string]*dit.Weights
	models  map[string]*dit.Model
}

const (
	mainFlow    = "velocity"
	smallConfig = "config_small.json"
)

// smallFlows are the networks of smallConfig.
var smallFlows = map[string]diffusion.Prediction{"noise": diffusion.PredictNoise, "score": diffusion.PredictScore}

// sit checks recordings of a SiT.
func (r *run) sit(dir string, weights, recordings []string) error {
	f := &flows{map[string]*dit.Weights{}, map[string]*dit.Model{}}
	defer f.close()
	others, err := f.open(r.DType, dir, weights)
	if err != nil {
		return err
	}
	for _, other := range others {
		r.sameModel(f.weights[mainFlow], f.models[mainFlow].Fingerprint, other)
	}
	for _, name := range recordings {
		c, err := openRecording(filepath.Join(dir, name))
		if err == nil {
			r.rounding = roundingOf(f.models[mainFlow])
			switch name {
			case "sampling.safetensors":
				err = r.flowSampling(f, c)
			case "training.safetensors":
				r.rounding = rounding{}
				err = r.flowTraining(f, c, filepath.Join(dir, "parameters.json"))
			default:
				err = r.flowForward(f, c)
			}
			c.Close()
		}
		if err != nil {
			r.fail(stem(name), err)
		}
		if err := r.graph.Err(); err != nil {
			return err
		}
	}
	return nil
}

// open loads the networks in a number format, and returns other files with the weights of the main one.
func (f *flows) open(d tensor.DType, dir string, weights []string) (others []string, err error) {
	load := func(name string, w *dit.Weights, err error) error {
		if err != nil {
			return err
		}
		f.weights[name] = w
		w.DType = d
		f.models[name], err = w.Load()
		return err
	}
	for _, path := range weights {
		small, isSmall := strings.CutPrefix(stem(path), "model_")
		switch {
		case isSmall:
			w, err := openSmall(dir, path, smallFlows[small])
			if err := load(small, w, err); err != nil {
				return nil, err
			}
		case f.weights[mainFlow] == nil:
			w, err := dit.Open(path, dit.Options{})
			if err := load(mainFlow, w, err); err != nil {
				return nil, err
			}
		default:
			others = append(others, path)
		}
	}
	if f.models[mainFlow] == nil {
		return nil, fmt.Errorf("the folder has no weights of the network that predicts velocities")
	}
	return others, nil
}

func (f *flows) close() {
	for _, w := range f.weights {
		w.Close()
	}
}

// openSmall opens a network of the folder's other configuration.
func openSmall(dir, path string, predicts diffusion.Prediction) (*dit.Weights, error) {
	var config struct {
		Heads int `json:"num_heads"`
	}
	b, err := regularfile.Read(filepath.Join(dir, smallConfig), regularfile.MaxText)
	if err == nil {
		err = json.Unmarshal(b, &config)
	}
	if err != nil {
		return nil, err
	}
	file, err := checkpoint.Open(path)
	if err != nil {
		return nil, err
	}
	return dit.FromFile(file, dit.Options{Heads: config.Heads, Prediction: predicts})
}

// model returns the network that predicts what a recording names.
func (f *flows) model(predicts string) (*dit.Model, error) {
	m, ok := f.models[predicts]
	if !ok {
		return nil, fmt.Errorf("there is no network that predicts %s", predicts)
	}
	return m, nil
}

// flowForward checks forward passes of all networks.
func (r *run) flowForward(f *flows, c *recording) error {
	if err := r.forward(f.models[mainFlow], c); err != nil {
		return err
	}
	for name := range smallFlows {
		if !c.has(name + ".out") {
			continue
		}
		m, err := f.model(name)
		if err != nil {
			return err
		}
		b, err := c.batch(m, "")
		if err != nil {
			return err
		}
		r.rounding = roundingOf(m)
		r.graph.Reset()
		r.compareRecorded(c, name+".out", slices.Clone(m.Forward(r.graph, seam.Always, b).Flat()), tolerance)
		if err := r.guidance(m, c, name+"."); err != nil {
			return err
		}
	}
	return r.graph.Err()
}

// flowPass is a guided pass of a network: of x twice, under the classes and without.
type flowPass struct {
	r        *run
	m        *dit.Model
	batch    *seam.Batch
	guidance *diffusion.Guidance // nil: none, and the batch has the images once
}

func (r *run) newFlowPass(m *dit.Model, rows, size int, labels []int32, g *diffusion.Guidance) (*flowPass, error) {
	p := &flowPass{r: r, m: m, guidance: g}
	p.batch = &seam.Batch{
		X:    tensor.FromSlice(make([]float32, rows*size), rows, size),
		T:    make([]float32, rows),
		Cond: dit.Classes(labels[:rows]...),
	}
	return p, m.CheckBatch(p.batch)
}

// output returns the guided predictions for all rows of the batch at a timestep.
func (p *flowPass) output(timestep float64) (*tensor.Tensor, error) {
	for i := range p.batch.T {
		p.batch.T[i] = float32(timestep)
	}
	p.r.graph.Reset()
	out := p.m.Forward(p.r.graph, seam.Always, p.batch)
	if p.guidance != nil {
		guideBoth(p.m.Config, *p.guidance, out, p.batch.T)
	}
	return out, p.r.graph.Err()
}
