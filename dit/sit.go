package dit

import (
	"cmp"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/tokencache/tokencache/checkpoint"
	"github.com/tokencache/tokencache/diffusion"
	"github.com/tokencache/tokencache/tensor"
)

// SiT is a DiT that is trained as a flow: "SiT: Exploring Flow and Diffusion-based Generative Models
// with Scalable Interpolant Transformers", arXiv 2401.08740. Its tensors are a DiT's. It is told t,
// from 0 for noise to 1 for data, in place of a timestep up to 999, and predicts the velocity, the
// noise or the score. Its last layer has a DiT's channels for the variance, which nothing uses.
//
// REPA (arXiv 2410.06940) trains SiTs whose t runs from data to noise, and whose velocity does: what
// diffusers calls flow_prediction.

// projectorPrefix begins the names of REPA's tensors that only training runs.
const projectorPrefix = "projectors."

// times returns what the model is told of timesteps, 1000 for noise to 0 for data.
func (m *Model) times(g *tensor.Graph, timesteps []float32) []float32 {
	if m.Arch != ArchSiT {
		return timesteps
	}
	times := g.New(1, len(timesteps)).Flat()
	for i, t := range timesteps {
		u := float64(t) / diffusion.Timesteps
		if m.Prediction != diffusion.PredictFlow {
			u = 1 - u
		}
		times[i] = float32(u)
	}
	return times
}

// predicted returns the channels of the last layer that are the prediction.
func (m *Model) predicted(g *tensor.Graph, out *tensor.Tensor) *tensor.Tensor {
	if m.lastChannels() == m.OutChannels() {
		return out
	}
	return g.Copy(g.Columns(out, 0, m.OutChannels()*m.InputSize*m.InputSize))
}

// validateFlow reports a path or a prediction that there is not.
func (c Config) validateFlow() error {
	switch {
	case c.Arch != ArchSiT && (c.Path != "" || c.Prediction != ""):
		return fmt.Errorf("a %s has no path: only a %s", c.Arch, ArchSiT)
	case c.Arch != ArchSiT:
		return nil
	}
	_, err := c.Network().Levels()
	return err
}

// trainedFor returns c with a SiT's path and prediction, which are the official models' where they
// are "".
func (c Config) trainedFor(path diffusion.Path, p diffusion.Prediction) Config {
	if c.Arch == ArchSiT {
		c.Path = cmp.Or(path, diffusion.LinearPath)
		c.Prediction = cmp.Or(p, diffusion.PredictVelocity)
	}
	return c
}

// legacyREPANaming is that of REPA's first checkpoints, which count the blocks after those that are
// aligned with another encoder from 0 again.
func legacyREPANaming(f checkpoint.Lister) naming {
	first := 0
	for _, name := range f.Names() {
		if m := officialNaming.block.FindStringSubmatch(name); m != nil {
			if i, err := strconv.Atoi(m[1]); err == nil && i < len(f.Names()) {
				first = max(first, i+1)
			}
		}
	}
	return naming{
		block: regexp.MustCompile(`^decoder_blocks\.(\d+)\.`),
		more:  first,
		rename: func(name string) []string {
			rest, ok := strings.CutPrefix(name, "blocks.")
			number, rest, _ := strings.Cut(rest, ".")
			if i, err := strconv.Atoi(number); ok && err == nil && i >= first {
				return []string{fmt.Sprintf("decoder_blocks.%d.%s", i-first, rest)}
			}
			return []string{name}
		},
	}
}

// isREPA tells whether a file is of REPA's code: by the projectors that its training aligns, or the
// arguments of its training script.
func isREPA(f *checkpoint.File) bool {
	if _, ok := f.Lookup(projectorPrefix + "0.0.weight"); ok {
		return true
	}
	if _, ok := f.Lookup("decoder_blocks.0.attn.qkv.weight"); ok {
		return true
	}
	_, ok := f.Setting("proj_coeff")
	return ok
}

// isSiT tells whether a model with the tensors of a DiT is a SiT.
func (w *Weights) isSiT(given *fileConfig, o Options) bool {
	return strings.EqualFold(given.Arch, string(ArchSiT)) || o.Path != "" || o.Prediction != "" ||
		isREPA(w.File) || w.Process.Schedule == flowSchedule && !w.Process.diffusers
}

// settleFlow finds out what a SiT was trained for: what is asked for, else what config.json says,
// else the arguments of the training script.
func (w *Weights) settleFlow(c *Config, given *fileConfig, o Options) error {
	if c.Arch != ArchSiT {
		return nil
	}
	if !w.Process.diffusers {
		w.noteNoise()
	}
	path, _ := w.File.Setting("path_type")
	predicts, ok := w.File.Setting("prediction")
	if !ok {
		predicts, _ = w.File.Setting("prediction_type")
	}
	if w.Process.told == string(diffusion.PredictFlow) {
		predicts = cmp.Or(predicts, w.Process.told)
	}
	repa := isREPA(w.File)
	if repa && predicts == "" {
		predicts = "v"
	}
	predicts = cmp.Or(string(o.Prediction), given.Prediction, given.more["prediction_type"], predicts)
	name := map[string]diffusion.Path{"": "", "linear": diffusion.LinearPath, "gvp": diffusion.GVPPath,
		"cosine": diffusion.GVPPath, "vp": diffusion.VPPath}
	for _, alias := range []string{"interpolant", "transport"} {
		text, _ := w.File.Setting(alias)
		text = cmp.Or(given.more[alias], text)
		if _, known := name[strings.ToLower(text)]; known {
			path = cmp.Or(path, text)
		}
	}
	path = cmp.Or(string(o.Path), given.PathType, path)
	words := map[string]diffusion.Prediction{"": "", "velocity": diffusion.PredictVelocity, "noise": diffusion.PredictNoise,
		"score": diffusion.PredictScore, "v": diffusion.PredictFlow, "x": diffusion.PredictSample, "x0": diffusion.PredictSample}
	for _, p := range diffusion.Predictions() {
		words[string(p)] = p
	}
	p, known := name[strings.ToLower(path)]
	if !known {
		return fmt.Errorf("path_type %s: want one of %v", checkpoint.Clean(path), diffusion.Paths())
	}
	q, known := words[strings.ToLower(predicts)]
	if !known {
		return fmt.Errorf("prediction %s: want velocity, noise, score or sample", checkpoint.Clean(predicts))
	}
	if repa && q == diffusion.PredictVelocity {
		q = diffusion.PredictFlow
	}
	*c = c.trainedFor(p, q)
	w.Process.Schedule, w.Process.Prediction = flowSchedule, string(c.Prediction)
	return nil
}
