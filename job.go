package tokencache

import (
	"cmp"
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tokencache/tokencache/diffusion"
	"github.com/tokencache/tokencache/reuse"
)

// job is a request in flight. What is below mu's comment belongs to the engine and is guarded by
// its lock.
type job struct {
	*plan
	ctx    context.Context
	client *Client    // whose work it is
	tokens int        // of a sample
	hooks  sync.Mutex // held while a callback of the request runs on a goroutine of the engine
	taken  int        // steps of all images; guarded by hooks
	wake   chan struct{}

	torch torchNoise

	// Guarded by engine.mu.
	next        int // the next image of the request to be admitted
	left        int // images that are not skipped and not admitted
	running     int // sequences admitted and not finished
	ticking     int // those of them that are in a tick
	undelivered []Image
	delivered   int
	made        atomic.Int64 // images finished, for progress
	free        []*sequence  // finished ones, whose memory the next ones take over
	err         error
	cost        reuse.Cost
	decode      time.Duration
	checks      *Checks // nil: nothing is checked
	checkedOf   int     // images that checks is of
	denoising   int     // sequences that are not at their end
	decoding    int     // those whose images are being decoded
	since       time.Time
	busy        time.Duration // while any sequence was denoising: see tally
}

// torchNoise is the noise of RNGTorch: all numbers of a batch, drawn in the order of DiT's loop
// before its first image starts, so that they depend on the request alone.
type torchNoise struct {
	mu        sync.Mutex
	generator *diffusion.TorchGenerator
	drawn     int                    // batches
	images    map[int]*recordedNoise // of batches that have been drawn
}

// recordedNoise is a source of numbers that were drawn beforehand.
type recordedNoise struct {
	draws [][]float32
	next  int
}

// Normal implements diffusion.Noise.
func (n *recordedNoise) Normal(dst []float32) {
	copy(dst, n.draws[n.next])
	n.next++
}

func newJob(ctx context.Context, pl *plan, tokens int) *job {
	j := &job{plan: pl, ctx: ctx, tokens: tokens, wake: make(chan struct{}, 1), left: pl.todo}
	if pl.req.RNG == RNGTorch {
		j.torch.generator = diffusion.NewTorchGenerator(pl.req.Seed, diffusion.TorchAVX2)
		j.torch.images = map[int]*recordedNoise{}
	}
	return j
}

// noiseOf returns the source of an image's random numbers, at its beginning.
func (j *job) noiseOf(index int) diffusion.Noise {
	if j.torch.generator == nil {
		return diffusion.NewStream(j.req.Seed, uint64(index))
	}
	t := &j.torch
	t.mu.Lock()
	defer t.mu.Unlock()
	for t.drawn <= index/j.batch() {
		j.drawTorch(t.drawn * j.batch())
		t.drawn++
	}
	n := t.images[index]
	n.next = 0
	return n
}

// drawTorch draws all numbers of the batch that begins with image first.
func (j *job) drawTorch(first int) {
	images := min(j.batch(), j.req.Images()-first)
	shared := diffusion.NewTorchBatch(j.torch.generator, images, images*j.samples, j.size)
	recorded := make([]*recordedNoise, images)
	for i := range recorded {
		recorded[i] = &recordedNoise{}
	}
	for range j.draws {
		for i, r := range recorded {
			x := make([]float32, j.size)
			shared.Image(i).Normal(x)
			if !j.skips(first + i) {
				r.draws = append(r.draws, x)
			}
		}
	}
	for i, r := range recorded {
		j.torch.images[first+i] = r
	}
}

// forget drops the noise of a finished image.
func (j *job) forget(index int) {
	if j.torch.generator == nil {
		return
	}
	j.torch.mu.Lock()
	defer j.torch.mu.Unlock()
	j.torch.images[index] = nil
}

// signal wakes the goroutine that waits for the job.
func (j *job) signal() {
	select {
	case j.wake <- struct{}{}:
	default:
	}
}

// admissible reports whether the job has an image to admit and may have one more in flight. Images
// that nobody has taken yet count: a slow consumer keeps its own request waiting and no other.
func (j *job) admissible() bool {
	return j.err == nil && j.left > 0 && j.running+(len(j.undelivered)+j.unit-1)/j.unit < j.window
}

// complete reports whether nothing more will come.
func (j *job) complete() bool {
	return j.ticking == 0 && (j.err != nil || j.left == 0 && j.running == 0)
}

// tally adds up the wall-clock time in which the job denoises, less the share of the teams that
// decode its images instead. It is called before either number changes.
func (j *job) tally(teams int) {
	now := time.Now()
	if free := teams - j.decoding; j.denoising > 0 && free > 0 {
		j.busy += now.Sub(j.since) * time.Duration(free) / time.Duration(teams)
	}
	j.since = now
}

// checked takes in what the checks of an image found.
func (j *job) checked(e *reuse.Evidence) {
	if e == nil {
		return
	}
	if j.checks == nil {
		j.checks = &Checks{MinPSNR: j.req.MinPSNR, Reference: cmp.Or(j.req.Reference, reuse.ToUncached)}
	}
	j.checkedOf++
	j.checks.add(e, j.checkedOf)
}

// result is what the job made and took so far.
func (j *job) result(threads int, level, dtype string) *Result {
	c := j.cost
	stats := Stats{
		Cost:    c,
		Images:  j.delivered,
		Steps:   j.sampler.Steps(),
		Threads: threads,
		Level:   level,
		DType:   dtype,
	}
	if all := c.ISteps + c.PSteps; all > 0 {
		stats.ISteps = (stats.Steps*c.ISteps + all/2) / all
		stats.PSteps = stats.Steps - stats.ISteps
		stats.HalfSteps = (stats.Steps*c.HalfSteps + all/2) / all
	}
	stats.TokensShare = 1
	if c.Rows > 0 {
		stats.TokensShare = float64(c.ComputedRows) / float64(c.Rows)
	}
	stats.DecodeSeconds = j.decode.Seconds()
	stats.Seconds = j.busy.Seconds()
	stats.Checks = j.checks
	return &Result{Stats: stats}
}
