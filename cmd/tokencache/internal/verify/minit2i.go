package verify

import (
	"context"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/tokencache/tokencache/internal/formula"
	"github.com/tokencache/tokencache/minit2i"
	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
	"github.com/tokencache/tokencache/train"
)

// minit2iModels checks recordings of a MiniT2I with the weights in the folder transformer.
func (r *run) minit2iModels(dir string, recordings []string) error {
	w, err := minit2i.Open(context.Background(), dir, minit2i.Options{})
	if err != nil {
		return err
	}
	defer w.Close()
	r.work("loading %s", w.File.Path)
	w.DType = r.DType
	m, err := w.Load()
	if err != nil {
		return err
	}
	for _, name := range recordings {
		c, err := openRecording(filepath.Join(dir, name))
		if err == nil {
			r.rounding = roundingOfText(m)
			switch name {
			case "forward.safetensors":
				err = r.minit2iForward(w, m, c)
			case "training.safetensors":
				r.rounding = rounding{}
				err = r.minit2iTraining(w, c)
			case "sampling.safetensors":
				err = r.minit2iSampling(m, c)
			default:
				r.skip(name, "no recording of this name: want forward, sampling or training")
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

// prompts reads the encoded texts of a recording and their masks.
func (c *recording) prompts(prefix string, raw func(*tensor.Tensor, []bool) (*minit2i.Prompt, error)) ([]seam.Condition, error) {
	shape, err := c.shape(prefix+"text", 3)
	if err != nil {
		return nil, err
	}
	text, err := c.Float32(prefix + "text")
	if err != nil {
		return nil, err
	}
	mask, err := c.Float32(prefix + "mask")
	if err != nil {
		return nil, err
	}
	samples, length, width := shape[0], shape[1], shape[2]
	if len(mask) != samples*length {
		return nil, fmt.Errorf("tensor %smask has %d numbers, want %d", prefix, len(mask), samples*length)
	}
	var prompts []seam.Condition
	for s := range samples {
		real := make([]bool, length)
		for i := range real {
			real[i] = mask[s*length+i] > 0.5
		}
		p, err := raw(tensor.FromSlice(text[s*length*width:][:length*width], length, width), real)
		if err != nil {
			return nil, err
		}
		prompts = append(prompts, p)
	}
	return prompts, nil
}

// streams records what every joint block makes of text and image.
type streams struct {
	textTokens  int
	text, image [][]float32
}

func (*streams) Sites() seam.Sites { return seam.SitesOf(seam.Block) }

func (s *streams) Apply(_ seam.Site, x *seam.Tokens, f func(*seam.Tokens) *seam.Tokens) *seam.Tokens {
	y := f(x)
	var text, image []float32
	for i, p := range y.Pos {
		if int(p) < s.textTokens {
			text = append(text, y.X.Row(i)...)
		} else {
			image = append(image, y.X.Row(i)...)
		}
	}
	s.text, s.image = append(s.text, text), append(s.image, image)
	return y
}

// minit2iForward checks the output, every block's tokens, and the velocity, with and without
// guidance.
func (r *run) minit2iForward(w *minit2i.Weights, m *minit2i.Model, c *recording) error {
	x, err := c.matrix("x")
	if err != nil {
		return err
	}
	t, err := c.Float32("t")
	if err != nil {
		return err
	}
	prompts, err := c.prompts("", m.RawPrompt)
	if err != nil {
		return err
	}
	r.graph.Reset()
	rec := &streams{textTokens: m.TextTokens}
	out := slices.Clone(m.Forward(r.graph, rec, &seam.Batch{X: x, T: t, Cond: prompts}).Flat())
	for i := range rec.image {
		r.compareRecorded(c, fmt.Sprintf("double_blocks.%d.img", i), rec.image[i], tolerance)
		if i < len(rec.image)-1 { // nothing reads the last one's text
			r.compareRecorded(c, fmt.Sprintf("double_blocks.%d.txt", i), rec.text[i], tolerance)
		}
	}
	r.compareRecorded(c, "out", out, tolerance)
	velocity := velocities(x.Flat(), out, t)
	r.rounding.afterVelocity(x.Flat(), out, 1, 1)
	r.compareRecorded(c, "velocity", velocity, tolerance)

	null := make([]seam.Condition, len(prompts))
	for i := range null {
		null[i] = m.NullCondition()
	}
	r.graph.Reset()
	unconditional := velocities(x.Flat(), m.Forward(r.graph, seam.Always, &seam.Batch{X: x, T: t, Cond: null}).Flat(), t)
	if err := r.guidedVelocities(c, t, velocity, unconditional); err != nil {
		return err
	}
	r.rounding = roundingOfText(m)
	if !c.has("short.text") {
		return r.graph.Err()
	}
	shape, err := c.shape("short.text", 3)
	if err != nil {
		return err
	}
	config := w.Config
	config.TextTokens = shape[1]
	short, err := minit2i.NewAs(r.DType, config, w)
	if err != nil {
		return err
	}
	if prompts, err = c.prompts("short.", short.RawPrompt); err != nil {
		return err
	}
	r.graph.Reset()
	r.compareRecorded(c, "short.out", short.Forward(r.graph, seam.Always, &seam.Batch{X: x, T: t, Cond: prompts}).Flat(), tolerance)
	return r.graph.Err()
}

// velocityFloor is the least 1-t by which a predicted image becomes a velocity.
const velocityFloor = 0.05

// velocities returns (out-x)/max(1-t, 0.05) of every sample.
func velocities(x, out, t []float32) []float32 {
	v := make([]float32, len(x))
	each := len(x) / len(t)
	for i := range v {
		v[i] = (out[i] - x[i]) / max(1-t[i/each], velocityFloor)
	}
	return v
}

// guidedVelocities checks cfg_<scale>.velocity and cfg_<scale>_interval.velocity.
func (r *run) guidedVelocities(c *recording, t, conditional, unconditional []float32) error {
	for _, name := range c.Names() {
		text, ok := strings.CutPrefix(name, "cfg_")
		if !ok {
			continue
		}
		text = strings.TrimSuffix(text, ".velocity")
		text, bounded := strings.CutSuffix(text, "_interval")
		scale, err := strconv.ParseFloat(text, 32)
		if err != nil {
			return fmt.Errorf("tensor %s: %w", name, err)
		}
		low, high := float32(0), float32(1)
		if bounded {
			if _, err := fmt.Sscanf(c.Metadata()["cfg_interval"], "[%g, %g]", &low, &high); err != nil {
				return fmt.Errorf("metadata cfg_interval: %w", err)
			}
		}
		gain := r.rounding.gain
		r.rounding.gain *= max(1, math.Hypot(scale, scale-1))
		got := slices.Clone(conditional)
		for i, u := range unconditional {
			if at := t[i/(len(got)/len(t))]; at >= low && at <= high {
				got[i] = u + float32(scale)*(got[i]-u)
			}
		}
		r.compareRecorded(c, name, got, tolerance)
		r.rounding.gain = gain
	}
	return nil
}

// minit2iFormula checks a recording of MiniT2I-B/16 with weights from the formula.
func (r *run) minit2iFormula(c *recording) error {
	config := minit2i.MiniT2IB16()
	var err error
	if config.ImageSize, err = strconv.Atoi(c.Metadata()["image_size"]); err != nil {
		return fmt.Errorf("metadata image_size: %w", err)
	}
	if config.TextTokens, err = strconv.Atoi(c.Metadata()["text_length"]); err != nil {
		return fmt.Errorf("metadata text_length: %w", err)
	}
	src := new(formula.Source)
	for _, w := range config.Tensors() {
		src.Add(w.Name, w.Shape...)
	}
	r.work("making the weights of MiniT2I-B/16")
	m, err := minit2i.NewAs(r.DType, config, src)
	if err != nil {
		return err
	}
	r.rounding = roundingOfText(m)
	defer func() { r.rounding = rounding{} }()
	mask, err := c.Float32("mask")
	if err != nil {
		return err
	}
	real := make([]bool, len(mask))
	for i, v := range mask {
		real[i] = v > 0.5
	}
	x := tensor.FromSlice(make([]float32, 3*config.ImageSize*config.ImageSize), 1, 3*config.ImageSize*config.ImageSize)
	formula.Uniform("input.x", 0, 2, x.Data)
	text := tensor.FromSlice(make([]float32, config.TextTokens*config.TextWidth), config.TextTokens, config.TextWidth)
	formula.Uniform("input.text", 0, 0.5, text.Data)
	p, err := m.RawPrompt(text, real)
	if err != nil {
		return err
	}
	r.work("running MiniT2I-B/16 at %d pixels", config.ImageSize)
	r.graph.Reset()
	rec := &streams{textTokens: config.TextTokens}
	out := m.Forward(r.graph, rec, &seam.Batch{X: x, T: []float32{0}, Cond: []seam.Condition{p}})
	if err := r.graph.Err(); err != nil {
		return err
	}
	r.compareRecorded(c, "out", out.Flat(), tolerance)
	blocks := map[string][]float32{}
	for i := range rec.image {
		blocks[fmt.Sprintf("double_blocks.%d.img", i)] = rec.image[i]
		blocks[fmt.Sprintf("double_blocks.%d.txt", i)] = rec.text[i]
	}
	delete(blocks, fmt.Sprintf("double_blocks.%d.txt", len(rec.image)-1)) // nothing reads it
	return r.namedSummaries(c, c.Metadata()["blocks"], blocks)
}

// minit2iTraining checks a recorded batch: its losses, every parameter's gradient of their mean,
// also with captions dropped, and weights and their average after three updates on it.
func (r *run) minit2iTraining(w *minit2i.Weights, c *recording) error {
	m, params, err := w.Trainable()
	if err != nil {
		return err
	}
	for _, run := range []string{"drop", "plain"} {
		prefix := strings.TrimPrefix(run+".grad.", "plain.")
		if _, err := r.minit2iGradients(m, params, c, run, true); err != nil {
			return err
		}
		for _, p := range params {
			if c.has(prefix + p.Name) {
				r.compareRecorded(c, prefix+p.Name, p.Grad, tolerance)
			}
		}
	}
	adam, ema := train.NewAdamW(params, 0), train.NewEMA(params, trainingEMA)
	adam.Beta2 = 0.95
	for step := range trainingSteps {
		mean, err := r.minit2iGradients(m, params, c, "plain", false)
		if err != nil {
			return err
		}
		r.compareRecorded(c, fmt.Sprintf("adamw.loss_before_step_%d", step), []float32{mean}, samplingTolerance)
		adam.Update(trainingRate)
		m.Repack()
		ema.Update(trainingEMA)
	}
	for i, p := range params { // some of them were recorded
		for prefix, got := range map[string][]float32{"adamw": p.Value, "ema": ema.Values[i]} {
			if name := fmt.Sprintf("%s.step%d.%s", prefix, trainingSteps, p.Name); c.has(name) {
				r.compareRecorded(c, name, got, samplingTolerance)
			}
		}
	}
	return nil
}

// minit2iGradients runs the batch of a recorded run forward and back, and returns its mean loss.
func (r *run) minit2iGradients(m *minit2i.Model, params []*tensor.Param, c *recording, run string, check bool) (float32, error) {
	images, err := c.matrix("images")
	if err != nil {
		return 0, err
	}
	noise, err := c.matrix(run + ".noise")
	if err != nil {
		return 0, err
	}
	t, err := c.Float32(run + ".t")
	if err != nil {
		return 0, err
	}
	dropped, err := c.Float32(run + ".dropped")
	if err != nil {
		return 0, err
	}
	if len(t) != images.Rows || len(dropped) != images.Rows || noise.Rows != images.Rows || noise.Cols != images.Cols {
		return 0, fmt.Errorf("tensors %s.t, .dropped and .noise do not fit images", run)
	}
	prompts, err := c.prompts("", m.RawPrompt)
	if err != nil {
		return 0, err
	}
	b := &seam.Batch{X: tensor.FromSlice(make([]float32, len(images.Data)), images.Rows, images.Cols), T: t, Cond: prompts}
	flow := train.MiniT2IFlow(m.Config)
	var starts [][]float32
	for i := range images.Rows {
		starts = append(starts, images.Row(i))
		unit := slices.Clone(noise.Row(i))
		for j := range unit {
			unit[j] /= float32(flow.NoiseScale) // it is recorded with its scale
		}
		flow.Mix(b.X.Row(i), images.Row(i), unit, float64(t[i]))
		if dropped[i] > 0.5 {
			b.Cond[i] = m.NullCondition()
		}
	}
	train.ZeroGrads(params)
	losses, err := flow.Gradients(r.graph, m, b, starts, 1/float64(images.Rows))
	if err != nil {
		return 0, err
	}
	var each []float32
	mean := 0.0
	for _, l := range losses {
		each = append(each, float32(l))
		mean += l / float64(len(losses))
	}
	if check {
		r.compareRecorded(c, run+".x_t", b.X.Flat(), tolerance)
		r.compareRecorded(c, run+".loss_per_sample", each, tolerance)
	}
	return float32(mean), nil
}
