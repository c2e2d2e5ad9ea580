package verify

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/tokencache/tokencache/diffusion"
	"github.com/tokencache/tokencache/internal/raster"
	"github.com/tokencache/tokencache/minit2i"
	"github.com/tokencache/tokencache/prompt"
	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
)

// minit2iSampling checks the runs steps_<n>.cfg_<scale> of a recording: the state after every step,
// and the pixels.
func (r *run) minit2iSampling(m *minit2i.Model, c *recording) error {
	prompts, err := c.prompts("", m.RawPrompt)
	if err != nil {
		return err
	}
	start, err := c.matrix("x_init")
	if err != nil {
		return err
	}
	for _, name := range c.Names() {
		run, ok := strings.CutSuffix(name, ".x")
		if !ok {
			continue
		}
		steps, scale, _ := strings.Cut(strings.TrimPrefix(run, "steps_"), ".cfg_")
		n, err1 := strconv.Atoi(steps)
		guidance, err2 := strconv.ParseFloat(scale, 64)
		if err1 != nil || err2 != nil {
			return fmt.Errorf("tensor %s: want steps_<number>.cfg_<scale>.x", name)
		}
		states, err := r.minit2iRun(m, start, prompts, n, guidance)
		if err != nil {
			return err
		}
		r.rounding = roundingOfText(m)
		r.rounding.after(diffusion.Guidance{Scale: guidance}, n)
		r.compareRecorded(c, name, slices.Concat(states...), samplingTolerance)
		if err := r.pixels(c, run+".uint8", m, states[len(states)-1]); err != nil {
			return err
		}
	}
	return nil
}

// minit2iRun returns the states before the first step and after each of Euler's method from start,
// which is noise times the model's scale, with guidance whatever its scale.
func (r *run) minit2iRun(
	m *minit2i.Model, start *tensor.Tensor, prompts []seam.Condition, steps int, guidance float64,
) ([][]float32, error) {
	sampling := diffusion.Sampling{Sampler: "euler", Steps: steps, Guidance: guidance}
	sampler, err := sampling.New(m.Network())
	if err != nil {
		return nil, err
	}
	n := start.Rows
	var paths []*diffusion.Trajectory
	for s := range n {
		x := slices.Clone(start.Row(s))
		for i := range x {
			x[i] /= float32(m.Noise())
		}
		paths = append(paths, diffusion.NewTrajectory(sampler, x))
	}
	b := &seam.Batch{X: tensor.FromSlice(make([]float32, 2*len(start.Data)), 2*n, start.Cols), T: make([]float32, 2*n)}
	b.Cond = slices.Clone(prompts)
	for range n {
		b.Cond = append(b.Cond, m.NullCondition())
	}
	state := func() (x []float32) {
		for _, p := range paths {
			x = append(x, p.X()...)
		}
		return x
	}
	states := [][]float32{state()}
	guide := sampling.Guide()
	for !paths[0].Done() {
		for row := range 2 * n {
			copy(b.X.Row(row), paths[row%n].X())
		}
		r.graph.Reset()
		out := m.Forward(r.graph, seam.Always, b)
		if err := r.graph.Err(); err != nil {
			return nil, err
		}
		for s, p := range paths {
			if prediction := out.Row(s); guide.Enabled() {
				size := m.ImageSize * m.ImageSize
				guide.Apply(prediction, prediction, out.Row(n+s), out.Cols/size, size, p.Timestep())
			}
			p.Step(out.Row(s), nil)
		}
		states = append(states, state())
	}
	return states, nil
}

// pixels compares the bytes that samples become, of which a share may be a rounding off.
func (r *run) pixels(c *recording, name string, m *minit2i.Model, samples []float32) error {
	if r.rounding.narrow() {
		r.skip(c.stem+"/"+name, "bytes are compared in float32 only")
		return nil
	}
	want, err := c.Float32(name)
	if err != nil {
		return err
	}
	var got []float32
	for x := range slices.Chunk(samples, m.Shape().Latents()) {
		image, err := raster.FromSample(x, 3, m.ImageSize, m.ImageSize)
		if err != nil {
			return err
		}
		for _, v := range image.Pix {
			got = append(got, float32(v))
		}
	}
	if len(got) != len(want) {
		return fmt.Errorf("tensor %s has %d values, want %d", name, len(want), len(got))
	}
	const rounding = 2e-3 // of the values may be 1 off
	other, worst := 0, float32(0)
	for i, v := range want {
		if got[i] != v {
			other++
			worst = max(worst, got[i]-v, v-got[i])
		}
	}
	check := Check{Name: c.stem + "/" + name, Error: float64(other) / float64(len(want)), Tolerance: rounding}
	if worst > 1 {
		check.Error, check.Reason = noNumber, fmt.Sprintf("a byte differs by %g", worst)
	}
	r.add(check)
	return nil
}

// textPipeline checks recordings of a whole text-to-image pipeline: ids, the encoder's vectors, and
// images from the prompt to the pixels.
func (r *run) textPipeline(dir string) error {
	ctx := context.Background()
	w, err := minit2i.Open(ctx, dir, minit2i.Options{})
	if err != nil {
		return err
	}
	defer w.Close()
	w.DType = r.DType
	m, err := w.Load()
	if err != nil {
		return err
	}
	defer func() { r.rounding = rounding{} }()
	reader, err := prompt.NewReader(m, w, prompt.Options{})
	if err != nil {
		return err
	}
	if reader.Encoder() == nil {
		return fmt.Errorf("no text encoder in %s", dir)
	}
	c, err := openRecording(filepath.Join(dir, "cases.safetensors"))
	if err != nil {
		return err
	}
	defer c.Close()
	for _, name := range c.Names() {
		name, ok := strings.CutSuffix(name, ".x_final")
		if !ok {
			continue
		}
		if err := r.textCase(ctx, m, reader.Encoder(), c, name); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// textCase checks one prompt.
func (r *run) textCase(ctx context.Context, m *minit2i.Model, e *prompt.Encoder, c *recording, name string) error {
	var one struct {
		Prompt   string
		Steps    int
		Guidance float64
	}
	if err := json.Unmarshal([]byte(c.Metadata()[name]), &one); err != nil {
		return fmt.Errorf("metadata: %w", err)
	}
	texts, err := e.Encode(ctx, []string{one.Prompt})
	if err != nil {
		return err
	}
	r.rounding = rounding{} // the encoder is float32
	vectors := texts[0].Vectors
	want, err := c.Float32(name + ".text")
	if err != nil {
		return err
	}
	if len(want) < len(vectors.Data) {
		return fmt.Errorf("%d tokens, want at most %d", vectors.Rows, len(want)/vectors.Cols)
	}
	r.compare(c.stem+"/"+name+".text", vectors.Flat(), want[:len(vectors.Data)], tolerance) // the rest is padding
	r.graph.Reset()
	p, err := m.Prompt(r.graph, vectors, nil)
	if err != nil {
		return err
	}
	x, err := c.Float32(name + ".x_init")
	if err != nil {
		return err
	}
	states, err := r.minit2iRun(m, tensor.FromSlice(x, 1, len(x)), []seam.Condition{p}, one.Steps, one.Guidance)
	if err != nil {
		return err
	}
	last := states[len(states)-1]
	r.rounding = roundingOfText(m)
	r.rounding.after(diffusion.Guidance{Scale: one.Guidance}, one.Steps)
	r.compareRecorded(c, name+".x_final", last, samplingTolerance)
	return r.pixels(c, name+".uint8", m, last)
}
