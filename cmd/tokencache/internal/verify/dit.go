package verify

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/tokencache/tokencache/diffusion"
	"github.com/tokencache/tokencache/dit"
	"github.com/tokencache/tokencache/reuse"
	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
)

// recorder is a Reuse that computes everything and keeps every block's output.
type recorder struct{ blocks [][]float32 }

// Sites implements seam.Reuse.
func (r *recorder) Sites() seam.Sites { return seam.SitesOf(seam.Block) }

func (r *recorder) Apply(at seam.Site, x *seam.Tokens, f func(*seam.Tokens) *seam.Tokens) *seam.Tokens {
	y := f(x)
	if at.Part == seam.Block {
		r.blocks = append(r.blocks, slices.Clone(y.X.Flat()))
	}
	return y
}

// batch reads prefix.x, prefix.t and prefix.y.
func (c *recording) batch(m *dit.Model, prefix string) (*seam.Batch, error) {
	x, err := c.matrix(prefix + "x")
	if err != nil {
		return nil, err
	}
	b := &seam.Batch{X: x}
	if b.T, err = c.Float32(prefix + "t"); err != nil {
		return nil, err
	}
	labels, err := c.labels(prefix + "y")
	if err != nil {
		return nil, err
	}
	b.Cond = dit.Classes(labels...)
	if m.Arch == dit.ArchSiT { // recorded is t, from noise to data
		for i, t := range b.T {
			b.T[i] = float32(diffusion.Timesteps * (1 - float64(t)))
		}
	}
	return b, m.CheckBatch(b)
}

func (c *recording) labels(name string) ([]int32, error) {
	y, err := c.Float32(name)
	if err != nil {
		return nil, err
	}
	labels := make([]int32, len(y))
	for i, v := range y {
		if v < 0 || v > 1<<24 || v != float32(int32(v)) {
			return nil, fmt.Errorf("tensor %s: %g is no class", name, v)
		}
		labels[i] = int32(v)
	}
	return labels, nil
}

// forward checks out and, where they were recorded, every block's output and guidance.
func (r *run) forward(m *dit.Model, c *recording) error {
	b, err := c.batch(m, "")
	if err != nil {
		return err
	}
	want, err := c.Float32("out")
	if err != nil {
		return err
	}
	r.graph.Reset()
	var rec recorder
	out := m.Forward(r.graph, &rec, b)
	if err := r.graph.Err(); err != nil {
		return err
	}
	for i, x := range rec.blocks {
		if name := "block." + m.BlockName(i); c.has(name) {
			want, err := c.Float32(name)
			if err != nil {
				return err
			}
			r.compare(c.stem+"/"+name, x, want, tolerance)
		}
	}
	r.compare(c.stem+"/out", out.Flat(), want, tolerance)
	if text := c.Metadata()["blocks"]; text != "" {
		if err := r.summaries(c, text, rec.blocks); err != nil {
			return err
		}
	}
	if c.has("cfg.x") {
		return r.guidance(m, c, "")
	}
	return nil
}

// guidance checks forward_with_cfg: the first half of x under the classes and the null class of y.
// network begins the names of the results.
func (r *run) guidance(m *dit.Model, c *recording, network string) error {
	b, err := c.batch(m, "cfg.")
	if err != nil {
		return err
	}
	n := b.X.Rows / 2
	for i := range n {
		copy(b.X.Row(n+i), b.X.Row(i))
	}
	for _, name := range c.Names() {
		text, ok := strings.CutPrefix(name, network+"cfg.out_scale_")
		if !ok {
			continue
		}
		scale, power, err := recordedGuidance(text)
		if err != nil {
			return fmt.Errorf("tensor %s: %w", name, err)
		}
		want, err := c.Float32(name)
		if err != nil {
			return err
		}
		r.graph.Reset()
		out := m.Forward(r.graph, seam.Always, b)
		if err := r.graph.Err(); err != nil {
			return err
		}
		guided := guidance(m.Config, scale, power)
		guideBoth(m.Config, guided, out, b.T)
		r.rounding.after(guided, 1)
		r.compare(c.stem+"/"+name, out.Flat(), want, tolerance)
	}
	return nil
}

// officialPower is the power of the official MDT code's guidance where none is given.
const officialPower = 4

// recordedGuidance reads what follows cfg.out_scale_: a scale, and perhaps _pow_ and MDT's power.
func recordedGuidance(text string) (scale, power float64, err error) {
	text, pow, given := strings.Cut(text, "_pow_")
	power = officialPower
	if given {
		if power, err = strconv.ParseFloat(pow, 64); err != nil {
			return 0, 0, err
		}
	}
	scale, err = strconv.ParseFloat(text, 64)
	return scale, power, err
}

// guidance returns guidance as a model's official code has it: of constant scale for a DiT, growing
// for an MDT.
func guidance(c dit.Config, scale, power float64) diffusion.Guidance {
	g := diffusion.Guidance{Scale: scale}
	if c.DecodeLayer > 0 {
		g.ScaleAt = diffusion.PowerCosine(scale, power)
	}
	return g
}

// guideBoth guides both halves of a batch as the official code does: the second keeps what guidance
// leaves alone of its own. t are the timesteps of the first half.
func guideBoth(c dit.Config, g diffusion.Guidance, out *tensor.Tensor, t []float32) {
	n, hw := out.Rows/2, c.InputSize*c.InputSize
	for i := range n {
		cond, uncond := out.Row(i), out.Row(n+i)
		g.Apply(cond, cond, uncond, c.InChannels, hw, float64(t[i]))
		guided := min(3, c.InChannels) * hw
		copy(uncond[:guided], cond[:guided])
	}
}

// sampling checks every recorded run, <method>.steps_<spacing>[.eta_<eta>].x and .pred_xstart, from
// noise_T, with the noise that was drawn.
func (r *run) sampling(m *dit.Model, c *recording) error {
	scale := 2.0
	if c.has("cfg_scale") {
		s, err := c.Float32("cfg_scale")
		if err != nil || len(s) != 1 {
			return fmt.Errorf("tensor cfg_scale: want one number: %w", err)
		}
		scale = float64(s[0])
	}
	for _, name := range c.Names() {
		prefix, ok := strings.CutSuffix(name, ".x")
		if !ok {
			continue
		}
		if err := r.samplingRun(m, c, prefix, guidance(m.Config, scale, officialPower)); err != nil {
			return fmt.Errorf("%s: %w", prefix, err)
		}
	}
	return nil
}

// plan reads a run's name.
func plan(prefix string) (s diffusion.Sampling, err error) {
	method, rest, _ := strings.Cut(prefix, ".steps_")
	s.Sampler = method
	steps, eta, hasEta := strings.Cut(rest, ".eta_")
	if s.Steps, s.Spacing, err = diffusion.ParseSteps(steps); err != nil {
		return s, err
	}
	if hasEta {
		s.Eta, err = strconv.ParseFloat(eta, 64)
	}
	return s, err
}

func (r *run) samplingRun(m *dit.Model, c *recording, prefix string, g diffusion.Guidance) error {
	s, err := plan(prefix)
	if err != nil {
		return err
	}
	sampler, err := s.New(m.Network())
	if err != nil {
		return err
	}
	start, err := c.matrix("noise_T")
	if err != nil {
		return err
	}
	y, err := c.labels("y")
	if err != nil {
		return err
	}
	rows, size := start.Rows, start.Cols
	shape, err := c.shape(prefix+".x", 5)
	if err != nil {
		return err
	}
	if shape[0] != sampler.Steps() || shape[1] != rows || len(y) != rows || rows%2 != 0 {
		return fmt.Errorf("x has shape %v for %d steps of %d labels and noise of %d rows", shape, sampler.Steps(), len(y), rows)
	}
	var noise []float32
	if c.has(prefix + ".noise") {
		if noise, err = c.Float32(prefix + ".noise"); err != nil {
			return err
		}
		if len(noise) != sampler.Steps()*rows*size {
			return fmt.Errorf("%d numbers of noise, want %d", len(noise), sampler.Steps()*rows*size)
		}
	}
	r.work("sampling %s", prefix)
	done, err := r.denoise(m, denoising{sampler: sampler, guidance: g, start: start, labels: y, noise: noise})
	if err != nil {
		return err
	}
	for _, result := range []struct {
		name string
		got  []float32
	}{{"timesteps", done.timesteps}, {"x", done.x}, {"pred_xstart", done.predictions}} {
		name, got := result.name, result.got
		if !c.has(prefix+"."+name) || name == "pred_xstart" && !r.comparesPredictions() {
			continue
		}
		want, err := c.Float32(prefix + "." + name)
		if err != nil {
			return err
		}
		r.compare(c.stem+"/"+prefix+"."+name, got, want, samplingTolerance)
	}
	return nil
}

// denoising is a sampling run of a batch whose two halves are guidance's.
type denoising struct {
	sampler  diffusion.Sampler
	guidance diffusion.Guidance
	start    *tensor.Tensor // [rows, C*S*S]
	labels   []int32
	noise    []float32    // [steps, rows, C*S*S], or nil
	policy   reuse.Policy // nil for none
	plan     reuse.Plan   // of the policy
}

// denoised is what a run made at every step.
type denoised struct{ x, predictions, outputs, timesteps []float32 }

// denoise runs d. As in the official code the model is given the first half of x twice.
func (r *run) denoise(m *dit.Model, d denoising) (*denoised, error) {
	rows, size := d.start.Rows, d.start.Cols
	b := &seam.Batch{X: tensor.FromSlice(make([]float32, rows*size), rows, size), T: make([]float32, rows), Cond: dit.Classes(d.labels...)}
	if err := m.CheckBatch(b); err != nil {
		return nil, err
	}
	for i := range rows {
		b.Unconditional = append(b.Unconditional, -1)
		if n := rows / 2; i < n {
			b.Unconditional[i] = n + i
		}
	}
	var policy seam.Reuse = seam.Always
	var cache reuse.Run
	if d.policy != nil {
		var err error
		if cache, err = d.policy.NewRun(m, d.plan, rows); err != nil {
			return nil, err
		}
		policy = cache
	}
	paths, positions := make([]*diffusion.Trajectory, rows), make([]int, rows)
	for i := range paths {
		paths[i] = diffusion.NewTrajectory(d.sampler, d.start.Row(i))
	}
	r.rounding.after(d.guidance, d.sampler.Steps())
	var made denoised
	for step := range d.sampler.Steps() {
		made.timesteps = append(made.timesteps, float32(paths[0].Timestep()))
		for i := range rows {
			copy(b.X.Row(i), paths[i%(rows/2)].X())
			b.T[i], positions[i] = float32(paths[i].Timestep()), step
		}
		var out *tensor.Tensor
		for again := true; again; again = seam.Finish(policy, out) {
			r.graph.Reset()
			if cache != nil {
				cache.Begin(r.graph, b, positions)
			}
			out = m.Forward(r.graph, policy, b)
		}
		if err := r.graph.Err(); err != nil {
			return nil, err
		}
		guideBoth(m.Config, d.guidance, out, b.T)
		made.outputs = append(made.outputs, out.Flat()...)
		for i, path := range paths {
			var z []float32
			if d.noise != nil {
				z = d.noise[(step*rows+i)*size:][:size]
			}
			path.Step(out.Row(i), z)
			made.x = append(made.x, path.X()...)
			made.predictions = append(made.predictions, path.PredXStart()...)
		}
	}
	return &made, nil
}
