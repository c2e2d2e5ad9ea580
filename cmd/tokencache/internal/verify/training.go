package verify

import (
	"errors"
	"fmt"
	"strings"

	"github.com/tokencache/tokencache/dit"
	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
	"github.com/tokencache/tokencache/train"
)

// The settings of the recorded updates: PyTorch's AdamW by default, but for the rate.
const (
	trainingRate  = 1e-3
	trainingDecay = 0.01
	trainingEMA   = 0.99
	trainingSteps = 3
)

// training checks a recorded batch: its losses, every parameter's gradient of their mean, and
// weights and their average after three updates on it.
func (r *run) training(w *dit.Weights, c *recording) error {
	m, params, err := w.Trainable()
	if err != nil {
		return err
	}
	objective, err := train.NewObjective(m.LearnSigma, 0)
	if err != nil {
		return err
	}
	b, samples, err := c.trainingBatch(m, objective)
	if err != nil {
		return err
	}
	r.compareRecorded(c, "x_t", b.X.Flat(), tolerance)

	scale := 1 / float64(len(samples))
	adam, ema := train.NewAdamW(params, trainingDecay), train.NewEMA(params, trainingEMA)
	for step := range trainingSteps {
		train.ZeroGrads(params)
		losses, err := train.Gradients(r.graph, m, objective, b, samples, scale)
		if err != nil {
			return err
		}
		if step == 0 {
			r.compareLosses(c, losses, m.LearnSigma)
			r.compareParams(c, "grad.", params, func(i int) []float32 { return params[i].Grad }, tolerance)
		}
		mean := 0.0
		for _, l := range losses {
			mean += l.Total * scale
		}
		r.compareRecorded(c, fmt.Sprintf("adamw.loss_before_step_%d", step), []float32{float32(mean)}, samplingTolerance)
		adam.Update(trainingRate)
		m.Repack()
		ema.Update(trainingEMA)
	}
	after := fmt.Sprintf("step%d.", trainingSteps)
	r.compareParams(c, "adamw."+after, params, func(i int) []float32 { return params[i].Value }, samplingTolerance)
	r.compareParams(c, "ema."+after, params, func(i int) []float32 { return ema.Values[i] }, samplingTolerance)
	for _, name := range c.Names() {
		if fixed, ok := strings.CutSuffix(name, ".pos_embed"); ok && fixed != "grad" {
			want, err := w.File.Float32("pos_embed") // it is not trained
			if err != nil {
				return err
			}
			r.compareRecorded(c, name, want, tolerance)
		}
	}
	return nil
}

// trainingBatch reads x_start, noise, t and y, and adds the noise.
func (c *recording) trainingBatch(m *dit.Model, o *train.Objective) (*seam.Batch, []train.Example, error) {
	start, err := c.matrix("x_start")
	if err != nil {
		return nil, nil, err
	}
	noise, err := c.matrix("noise")
	if err != nil {
		return nil, nil, err
	}
	b := &seam.Batch{X: tensor.FromSlice(make([]float32, len(start.Data)), start.Rows, start.Cols)}
	if b.T, err = c.Float32("t"); err != nil {
		return nil, nil, err
	}
	labels, err := c.labels("y")
	if err != nil {
		return nil, nil, err
	}
	b.Cond = dit.Classes(labels...)
	if err := m.CheckBatch(b); err != nil {
		return nil, nil, err
	}
	if noise.Rows != start.Rows || noise.Cols != start.Cols {
		return nil, nil, errors.New("x_start and noise have different shapes")
	}
	samples := make([]train.Example, start.Rows)
	for i := range samples {
		t := int(b.T[i])
		if t < 0 || t >= o.Process.Steps() {
			return nil, nil, fmt.Errorf("tensor t: timestep %d is not in 0..%d", t, o.Process.Steps()-1)
		}
		samples[i] = train.Example{T: t, XStart: start.Row(i), Noise: noise.Row(i), X: b.X.Row(i)}
		o.Process.QSample(b.X.Row(i), start.Row(i), noise.Row(i), t)
	}
	return b, samples, nil
}

func (r *run) compareLosses(c *recording, losses []train.Loss, learned bool) {
	var total, mse, vb []float32
	for _, l := range losses {
		total, mse, vb = append(total, float32(l.Total)), append(mse, float32(l.MSE)), append(vb, float32(l.VB))
	}
	r.compareRecorded(c, "loss.loss", total, tolerance)
	r.compareRecorded(c, "loss.mse", mse, tolerance)
	if learned {
		r.compareRecorded(c, "loss.vb", vb, tolerance)
	}
}

// compareParams compares an array of every parameter with the recorded tensor prefix+name.
func (r *run) compareParams(c *recording, prefix string, params []*tensor.Param, array func(i int) []float32, tolerance float64) {
	for i, p := range params {
		r.compareRecorded(c, prefix+p.Name, array(i), tolerance)
	}
}

// compareRecorded compares got with the recorded tensor of that name, which must be there.
func (r *run) compareRecorded(c *recording, name string, got []float32, tolerance float64) {
	want, err := c.Float32(name)
	if err != nil {
		r.fail(c.stem+"/"+name, err)
		return
	}
	r.compare(c.stem+"/"+name, got, want, tolerance)
}
