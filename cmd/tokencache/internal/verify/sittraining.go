package verify

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/tokencache/tokencache/diffusion"
	"github.com/tokencache/tokencache/dit"
	"github.com/tokencache/tokencache/internal/regularfile"
	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
	"github.com/tokencache/tokencache/train"
)

// flowTraining checks recorded batches of SiT's losses: their times, data with noise, predictions,
// targets and losses, and the gradients of their mean.
func (r *run) flowTraining(f *flows, c *recording, parameters string) error {
	order := map[string][]string{}
	b, err := regularfile.Read(parameters, regularfile.MaxText)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, &order); err != nil {
		return fmt.Errorf("%s: %w", parameters, err)
	}
	for _, name := range c.Names() {
		prefix, ok := strings.CutSuffix(name, ".loss")
		if !ok {
			continue
		}
		if err := r.flowLoss(f, c, prefix, order); err != nil {
			return fmt.Errorf("%s: %w", prefix, err)
		}
	}
	return nil
}

// flowLoss checks one batch: path.prediction, and perhaps the weight of its loss.
func (r *run) flowLoss(f *flows, c *recording, prefix string, order map[string][]string) error {
	fields := strings.SplitN(prefix, ".", 3)
	if len(fields) < 2 {
		return errors.New("want a path and a prediction")
	}
	w, ok := f.weights[fields[1]]
	if !ok {
		return fmt.Errorf("there is no network that predicts %s", fields[1])
	}
	m, params, err := w.Trainable()
	if err != nil {
		return err
	}
	config := m.Config
	config.Path = diffusion.Path(fields[0])
	weight := ""
	if len(fields) == 3 {
		weight = strings.TrimPrefix(fields[2], "weight_")
	}
	objective, err := train.NewFlow(config, weight)
	if err != nil {
		return err
	}
	batch, samples, times, err := c.flowBatch(m, objective)
	if err != nil {
		return err
	}
	if weight == "" {
		r.compareRecorded(c, prefix+".t", times, tolerance)
		r.compareRecorded(c, prefix+".x_t", batch.X.Flat(), tolerance)
		if err := r.flowTargets(c, m, objective, batch, samples, prefix); err != nil {
			return err
		}
	}
	losses, err := train.Gradients(r.graph, m, objective, batch, samples, 1/float64(len(samples)))
	if err != nil {
		return err
	}
	var totals []float32
	for _, l := range losses {
		totals = append(totals, float32(l.Total))
	}
	r.compareRecorded(c, prefix+".loss", totals, tolerance)
	return r.flowGradients(c, params, prefix, order)
}

// flowBatch reads x_start, noise, u and y, and adds the noise.
func (c *recording) flowBatch(m *dit.Model, o *train.Flow) (*seam.Batch, []train.Example, []float32, error) {
	start, err := c.matrix("x_start")
	if err != nil {
		return nil, nil, nil, err
	}
	noise, err := c.matrix("noise")
	if err != nil {
		return nil, nil, nil, err
	}
	u, err := c.Float32("u")
	if err != nil {
		return nil, nil, nil, err
	}
	labels, err := c.labels("y")
	if err != nil {
		return nil, nil, nil, err
	}
	if noise.Rows != start.Rows || noise.Cols != start.Cols || len(u) != start.Rows {
		return nil, nil, nil, errors.New("x_start, noise and u have different shapes")
	}
	b := &seam.Batch{
		X:    tensor.FromSlice(make([]float32, len(start.Data)), start.Rows, start.Cols),
		T:    make([]float32, start.Rows),
		Cond: dit.Classes(labels...),
	}
	samples := make([]train.Example, start.Rows)
	t0, t1 := o.Span()
	var times []float32
	for i := range samples {
		t := float64(float32(t0 + float64(u[i])*(t1-t0)))
		times = append(times, float32(t))
		samples[i] = train.Example{XStart: start.Row(i), Noise: noise.Row(i), X: b.X.Row(i)}
		b.T[i] = o.At(&samples[i], t)
		o.Corrupt(&samples[i])
	}
	return b, samples, times, m.CheckBatch(b)
}

// flowTargets checks what is predicted, and what should be.
func (r *run) flowTargets(c *recording, m *dit.Model, o *train.Flow, b *seam.Batch, samples []train.Example, prefix string) error {
	r.graph.Reset()
	out := m.Forward(r.graph, seam.Always, b)
	if err := r.graph.Err(); err != nil {
		return err
	}
	r.compareRecorded(c, prefix+".pred", out.Flat(), tolerance)
	schedule, err := o.Config.Network().Levels()
	if err != nil {
		return err
	}
	var velocities, targets []float32
	for i := range samples {
		s, timestep := &samples[i], float64(b.T[i])
		rate, sigma := schedule.Rate(timestep), schedule.Level(timestep).Sigma
		for k, x := range s.XStart {
			noise := float64(s.Noise[k])
			v := -rate.Alpha*float64(x) - rate.Sigma*noise
			target := v
			switch o.Config.Prediction {
			case diffusion.PredictNoise:
				target = noise
			case diffusion.PredictScore:
				target = -noise / sigma
			}
			velocities, targets = append(velocities, float32(v)), append(targets, float32(target))
		}
	}
	r.compareRecorded(c, prefix+".target", targets, tolerance)
	if c.has(prefix + ".velocity") {
		r.compareRecorded(c, prefix+".velocity", velocities, tolerance)
	}
	return nil
}

// flowGradients checks the norms of all gradients, and those gradients that were recorded.
func (r *run) flowGradients(c *recording, params []*tensor.Param, prefix string, order map[string][]string) error {
	norms, byName := map[string]float32{}, map[string]*tensor.Param{}
	for _, p := range params {
		sum := 0.0
		for _, g := range p.Grad {
			sum += float64(g) * float64(g)
		}
		norms[p.Name], byName[p.Name] = float32(math.Sqrt(sum)), p
	}
	for _, names := range order {
		var list []float32
		for _, name := range names {
			if n, ok := norms[name]; ok {
				list = append(list, n)
			}
		}
		if len(list) == len(params) && len(names) == len(params) {
			r.compareRecorded(c, prefix+".grad_norms", list, tolerance)
		}
	}
	for _, name := range c.Names() {
		of, ok := strings.CutPrefix(name, prefix+".grad.")
		if !ok {
			continue
		}
		p, ok := byName[of]
		if !ok {
			return fmt.Errorf("there is no parameter %s", of)
		}
		r.compareRecorded(c, name, p.Grad, tolerance)
	}
	return nil
}

// likelihoodTolerance is relative to the logarithm: the derivative along a direction is a difference
// of predictions in float32.
const likelihoodTolerance = 2e-4

// flowLikelihood checks the log-likelihood of data by Euler's method from data to noise with the
// divergence of the velocity along recorded directions (Hutchinson's estimate).
func (r *run) flowLikelihood(s *sitRuns, name string) error {
	eps, err := s.matrix(name + ".eps")
	if err != nil {
		return err
	}
	m, err := s.flows.model(mainFlow)
	if err != nil {
		return err
	}
	images, size := s.z.Rows/2, s.z.Cols
	pass, err := r.newFlowPass(m, images, size, s.labels, nil)
	if err != nil || s.ahead == nil {
		return fmt.Errorf("want reverse.x1: %w", err)
	}
	x := append([]float32(nil), s.ahead.Flat()[:images*size]...)
	velocity := func(away float64, direction []float32, t float64) ([]float32, error) {
		for k, v := range x {
			pass.batch.X.Data[k] = v
			if away != 0 {
				pass.batch.X.Data[k] += float32(away * float64(direction[k]))
			}
		}
		out, err := pass.output(diffusion.Timesteps * (1 - t))
		if err != nil {
			return nil, err
		}
		return append([]float32(nil), out.Flat()...), nil
	}
	integral := make([]float64, images)
	dt := 1 / float64(eps.Rows)
	for step := range eps.Rows {
		t, direction := 1-float64(step)*dt, eps.Row(step)
		v, err := velocity(0, direction, t)
		if err != nil {
			return err
		}
		const h = 0.005 // the error falls with its square, until that of float32 shows
		above, err := velocity(h, direction, t)
		if err != nil {
			return err
		}
		below, err := velocity(-h, direction, t)
		if err != nil {
			return err
		}
		for k := range x {
			integral[k/size] += dt * float64(direction[k]) * (float64(above[k]) - float64(below[k])) / (2 * h)
			x[k] -= float32(dt * float64(v[k]))
		}
	}
	var logp []float32
	for i, sum := range integral {
		for _, z := range x[i*size : (i+1)*size] {
			sum += float64(z)*float64(z)/2 + math.Log(2*math.Pi)/2
		}
		logp = append(logp, float32(-sum))
	}
	r.compareRecorded(s.recording, name+".z", x, solverTolerance)
	r.compareRecorded(s.recording, name+".logp", logp, likelihoodTolerance)
	return nil
}
