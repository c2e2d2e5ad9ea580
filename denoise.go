package tokencache

import (
	"sync"

	"github.com/tokencache/tokencache/diffusion"
	"github.com/tokencache/tokencache/dit"
	"github.com/tokencache/tokencache/reuse"
	"github.com/tokencache/tokencache/tensor"
)

// denoiser takes a batch from noise to latents.
type denoiser struct {
	run     *run
	indices []int // of each image in the request
	paths   []*diffusion.Trajectory
	noises  []diffusion.Noise
	noise   []float32
	shares  []*share
	others  sync.WaitGroup // the shares but the first, within a step
}

// share is the part of a batch that one lane computes. With guidance every image has a second row, for the null class.
type share struct {
	*lane
	from, images int // within the batch
	batch        dit.Batch
	positions    []int // of the step that each row takes, counted up
	out          *tensor.Tensor
	start        func() // computes the step for others to wait for
}

func (r *run) newDenoiser(batch []int) *denoiser {
	d := &denoiser{run: r, indices: batch, noises: r.noises(batch), noise: make([]float32, r.size)}
	for i, index := range batch {
		d.noises[i].Normal(d.noise)
		x := d.noise
		if r.req.Noise != nil {
			x = r.req.Noise[index*r.size:][:r.size]
		}
		d.paths = append(d.paths, diffusion.NewTrajectory(r.sampler, x))
	}
	n := len(batch) / len(r.lanes)
	for i, l := range r.lanes {
		s := d.newShare(l, i*n, n)
		s.start = func() {
			defer d.others.Done()
			s.forward(r)
		}
		d.shares = append(d.shares, s)
	}
	return d
}

func (d *denoiser) newShare(l *lane, from, images int) *share {
	r, rows := d.run, images
	if r.guidance.Enabled() {
		rows *= 2
	}
	s := &share{lane: l, from: from, images: images, positions: make([]int, rows)}
	s.batch = dit.Batch{X: tensor.FromSlice(make([]float32, rows*r.size), rows, r.size), T: make([]float32, rows), Y: make([]int32, rows)}
	if rows > images {
		s.batch.Unconditional = make([]int, rows)
	}
	for i := range images {
		s.batch.Y[i] = int32(r.req.Classes[d.indices[from+i]])
		if rows > images {
			s.batch.Y[images+i] = int32(r.p.model.NullClass())
			s.batch.Unconditional[i], s.batch.Unconditional[images+i] = images+i, -1
		}
	}
	return s
}

func (d *denoiser) done() bool { return d.paths[0].Done() }

// step takes every image of the batch one step further. It allocates nothing once the graphs have grown to its size.
func (d *denoiser) step() error {
	r := d.run
	if r.req.OnState != nil {
		for i, path := range d.paths {
			r.req.OnState(d.indices[i], d.position(path), path.X())
		}
	}
	for _, s := range d.shares {
		d.fill(s)
	}
	d.others.Add(len(d.shares) - 1)
	for _, s := range d.shares[1:] {
		go s.start()
	}
	d.shares[0].forward(r)
	d.others.Wait()
	for _, s := range d.shares {
		if err := s.graph.Err(); err != nil {
			return err
		}
		d.advance(s)
	}
	return nil
}

// position counts the steps up.
func (d *denoiser) position(path *diffusion.Trajectory) int {
	return d.run.sampler.Steps() - 1 - path.Index()
}

// fill gives a share where its images are.
func (d *denoiser) fill(s *share) {
	for row := range s.batch.T {
		path := d.paths[s.from+row%s.images]
		copy(s.batch.X.Row(row), path.X())
		s.batch.T[row] = float32(path.Timestep())
		s.positions[row] = d.position(path)
	}
}

// forward computes what the model predicts for a share.
func (s *share) forward(r *run) {
	s.graph.Reset()
	s.graph.ResetFLOPs()
	s.cache.Begin(&s.batch, s.positions)
	var seam dit.Reuse = s.cache
	if _, none := r.policy.(reuse.None); none {
		seam = dit.Always // for which models run fused operations
	}
	s.out = r.p.model.Forward(s.graph, seam, &s.batch)
}

// advance moves the images of a share along their paths.
func (d *denoiser) advance(s *share) {
	r, c := d.run, d.run.p.model.Config
	r.result.Stats.FLOPs += s.graph.FLOPs()
	r.result.Stats.UncachedFLOPs += c.FLOPs(len(s.batch.T), c.Tokens())
	for i := range s.images {
		path, image := d.paths[s.from+i], s.from+i
		prediction := s.out.Row(i)
		if r.guidance.Enabled() {
			r.guidance.Apply(prediction, prediction, s.out.Row(s.images+i), c.InChannels, c.InputSize*c.InputSize, path.Timestep())
		}
		if r.req.OnPrediction != nil {
			r.req.OnPrediction(d.indices[image], d.position(path), prediction)
		}
		if r.sampler.DrawsNoise() {
			d.noises[image].Normal(d.noise)
		}
		path.Step(prediction, d.noise)
	}
}

// drawNoiseOnly makes the draws that denoising would have made.
func (d *denoiser) drawNoiseOnly() {
	if !d.run.sampler.DrawsNoise() {
		return
	}
	for range d.run.sampler.Steps() {
		for _, noise := range d.noises {
			noise.Normal(d.noise)
		}
	}
}
