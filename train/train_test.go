package train

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tokencache/tokencache/dit"
	"github.com/tokencache/tokencache/tensor"
)

// noiseImages are random images.
type noiseImages struct{ images [][]float32 }

func (p *noiseImages) Len() int { return len(p.images) }
func (p *noiseImages) Read(i int, dst []float32) error {
	if len(dst) != len(p.images[i]) {
		return errors.New("wrong size")
	}
	copy(dst, p.images[i])
	return nil
}

var small = dit.Config{
	Arch:       dit.ArchDiT,
	InputSize:  4,
	PatchSize:  2,
	InChannels: 1,
	Hidden:     16,
	Depth:      2,
	Heads:      2,
	MLPHidden:  32,
	NumClasses: 3,
	LearnSigma: true,
}

func newSmall(t *testing.T, o DenoiserOptions) *Denoiser { return newDenoiser(t, small, o) }

// newDenoiser returns the training of a new model of configuration c on ten images of three
// classes.
func newDenoiser(t *testing.T, c dit.Config, o DenoiserOptions) *Denoiser {
	t.Helper()
	r := rand.New(rand.NewPCG(1, 2))
	var p noiseImages
	var labels []int32
	for i := range 10 {
		x := make([]float32, 16)
		for j := range x {
			x[j] = float32(i%3)*0.5 - 0.5 + 0.1*r.Float32()
		}
		p.images, labels = append(p.images, x), append(labels, int32(i%3))
	}
	m, params, err := dit.NewTrainable(c, NewInit(c, 7), false)
	if err != nil {
		t.Fatal(err)
	}
	d, err := NewDenoiser(m, params, &p, labels, []string{"a", "b", "c"}, o)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func newGraph(t *testing.T, workers int) *tensor.Graph {
	pool := tensor.NewPool(workers)
	t.Cleanup(pool.Close)
	return tensor.NewGraph(pool)
}

// TestLossGradient compares the gradient of every term with finite differences of the loss, at
// timesteps that take each branch.
func TestLossGradient(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for _, minSNR := range []float64{0, 5} {
		o, err := NewObjective(true, minSNR)
		if err != nil {
			t.Fatal(err)
		}
		for _, step := range []int{0, 1, 17, 500, 999} {
			const n = 12
			s := Example{T: step, X: make([]float32, n)}
			for i := range n {
				s.XStart = append(s.XStart, []float32{-1, 0.25, 1}[i%3])
				s.Noise = append(s.Noise, float32(r.NormFloat64()))
			}
			o.Process.QSample(s.X, s.XStart, s.Noise, step)
			out, grad, scratch := make([]float32, 2*n), make([]float32, 2*n), make([]float32, 2*n)
			for i := range n {
				out[i] = s.Noise[i] + 0.05*float32(r.NormFloat64())
				out[n+i] = float32(r.Float64())
			}
			o.Loss(grad, out, &s, 1)
			for i := range out {
				// The mean is not trained through the bound, so epsilon's part is of the squared
				// error alone.
				value := func(x float32) float64 {
					changed := slices.Clone(out)
					changed[i] = x
					l := o.Loss(scratch, changed, &s, 1)
					if i < n {
						return o.weight[step] * l.MSE
					}
					return l.VB
				}
				const h = 1e-2
				want := (value(out[i]+h) - value(out[i]-h)) / (2 * h)
				if d := math.Abs(float64(grad[i]) - want); d > 2e-3*(1e-2+math.Abs(want)) {
					t.Errorf("min-SNR %g, timestep %d, output %d: gradient %g, finite differences %g",
						minSNR, step, i, grad[i], want)
				}
			}
		}
	}
}

func TestMinSNRWeights(t *testing.T) {
	o, err := NewObjective(false, 5)
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []int{0, 200, 999} {
		a := o.Process.AlphaCumprod(step)
		snr := a / (1 - a)
		if want := min(snr, 5) / snr; math.Abs(o.weight[step]-want) > 1e-12 {
			t.Errorf("timestep %d: weight %g, want %g", step, o.weight[step], want)
		}
	}
}

var quick = Settings{
	Steps:    12,
	Batch:    6,
	Micro:    4,
	LR:       1e-3,
	Warmup:   3,
	Schedule: "cosine",
	Decay:    0.01,
	Clip:     0.5,
	EMA:      0.99,
}

func runLoop(
	t *testing.T,
	dir string,
	s Settings,
	ctx context.Context,
	workers int,
	resume bool,
	onStep func(StepStats),
) error {
	t.Helper()
	return runTask(t, newSmall(t, DenoiserOptions{Seed: 5, Dropout: 0.2, Flip: true}), dir, s, ctx, workers, resume,
		onStep)
}

func runTask(
	t *testing.T,
	task Task,
	dir string,
	s Settings,
	ctx context.Context,
	workers int,
	resume bool,
	onStep func(StepStats),
) error {
	t.Helper()
	l, err := NewLoop(task, newGraph(t, workers), dir, s)
	if err != nil {
		t.Fatal(err)
	}
	l.OnStep = onStep
	if resume {
		if err := l.Resume(); err != nil {
			t.Fatal(err)
		}
	}
	return l.Run(ctx)
}

// TestLogIsBeforeState checks that the log is written before the state: where the state cannot be
// written, the log is there all the same.
func TestLogIsBeforeState(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, StateFile, "in the way"), 0o777); err != nil {
		t.Fatal(err)
	}
	l, err := NewLoop(newSmall(t, DenoiserOptions{Seed: 5}), newGraph(t, 1), dir, quick)
	if err != nil {
		t.Fatal(err)
	}
	l.Every = 1
	checked := 0
	l.OnSaveError = func(error) {
		if steps, err := ReadLog(dir); err != nil || len(steps) != l.Step() {
			t.Errorf("update %d: %d lines of the log (%v)", l.Step(), len(steps), err)
		}
		checked++
	}
	if err := l.Run(t.Context()); err == nil {
		t.Error("a state that cannot be written: no error")
	}
	if checked == 0 {
		t.Error("no state was tried")
	}
}

// TestResume stops a run in the middle of an epoch and continues it: state, model and log are those
// of a run that was not stopped, bit for bit, also with another number of workers.
func TestResume(t *testing.T) {
	whole, parts := t.TempDir(), t.TempDir()
	if err := runLoop(t, whole, quick, context.Background(), 1, false, nil); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	err := runLoop(t, parts, quick, ctx, 3, false, func(r StepStats) {
		if r.Step == 5 {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v, want that the run was cancelled", err)
	}
	p, err := ReadState(parts)
	if err != nil || p.Step != 5 || p.Settings != quick {
		t.Fatalf("progress %+v, error %v, want step 5 of %+v", p, err, quick)
	}
	if err := runLoop(t, parts, quick, context.Background(), 2, true, nil); err != nil {
		t.Fatal(err)
	}
	sameRuns(t, whole, parts)
	reports, err := ReadLog(parts)
	if err != nil || len(reports) != quick.Steps {
		t.Fatalf("%d reports, error %v, want %d", len(reports), err, quick.Steps)
	}
	for i, r := range reports {
		if r.Step != i+1 {
			t.Errorf("report %d is of step %d", i, r.Step)
		}
	}
	w, err := dit.Open(filepath.Join(parts, ModelFile), dit.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if w.Config != small || !slices.Equal(w.ClassNames, []string{"a", "b", "c"}) {
		t.Errorf("the model reads as %+v with classes %v", w.Config, w.ClassNames)
	}
}

// TestMicroBatch checks that accumulating over smaller batches gives the same gradients but for
// rounding.
func TestMicroBatch(t *testing.T) {
	gradients := func(micro int) []float32 {
		d := newSmall(t, DenoiserOptions{Seed: 5, Dropout: 0.2})
		g := newGraph(t, 2)
		for done := 0; done < 6; done += micro {
			if _, err := d.Accumulate(g, int64(done), micro, 1.0/6); err != nil {
				t.Fatal(err)
			}
		}
		var all []float32
		for _, p := range d.Params() {
			all = append(all, p.Grad...)
		}
		return all
	}
	want, got := gradients(6), gradients(2)
	if slices.Max(want) == 0 {
		t.Fatal("no gradient")
	}
	for i := range want {
		if d := math.Abs(float64(got[i] - want[i])); d > 1e-5 {
			t.Fatalf("gradient %d: %g in parts, %g at once", i, got[i], want[i])
		}
	}
}

func TestLossFalls(t *testing.T) {
	s := quick
	s.Steps, s.LR, s.Schedule = 300, 3e-3, "constant"
	var losses []float64
	err := runLoop(t, t.TempDir(), s, context.Background(), 2, false, func(r StepStats) {
		losses = append(losses, r.Measures["loss"])
	})
	if err != nil {
		t.Fatal(err)
	}
	mean := func(x []float64) float64 {
		sum := 0.0
		for _, v := range x {
			sum += v
		}
		return sum / float64(len(x))
	}
	if first, last := mean(losses[:30]), mean(losses[270:]); last > 0.6*first {
		t.Errorf("loss %g at first, %g in the end", first, last)
	}
}

// TestDivergence checks that a run that goes wrong stops with an error and leaves the checkpoint
// from before.
func TestDivergence(t *testing.T) {
	dir := t.TempDir()
	s := quick
	s.Steps = 4
	if err := runLoop(t, dir, s, context.Background(), 1, false, nil); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(filepath.Join(dir, StateFile))
	if err != nil {
		t.Fatal(err)
	}
	s.Steps = 100
	d := newSmall(t, DenoiserOptions{Seed: 5})
	l, err := NewLoop(d, newGraph(t, 1), dir, s)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Resume(); err != nil {
		t.Fatal(err)
	}
	l.OnStep = func(r StepStats) {
		if r.Step == 6 {
			d.Params()[0].Value[0] = float32(math.NaN())
			d.Changed()
		}
	}
	var diverged *DivergedError
	err = l.Run(context.Background())
	if !errors.As(err, &diverged) || diverged.Step != 7 || !math.IsNaN(diverged.Loss) {
		t.Fatalf("error %v, want a DivergedError of update 7", err)
	}
	after, err := os.ReadFile(filepath.Join(dir, StateFile))
	if err != nil || !bytes.Equal(before, after) {
		t.Errorf("the checkpoint is not the one from before (%v)", err)
	}

	var w watch
	for i := range 300 {
		loss := 1.0
		if i >= 150 {
			loss = 10
		}
		err = w.check(i, loss, 1)
		if err != nil {
			break
		}
	}
	if !errors.As(err, &diverged) || diverged.Step < 150 || diverged.Best != 1 || diverged.Mean <= watchLimit {
		t.Errorf("error %v after the loss grew tenfold at update 150, want a DivergedError", err)
	}
}

func TestBadSettings(t *testing.T) {
	for name, change := range map[string]func(*Settings){
		"training steps": func(s *Settings) { s.Steps = 0 },
		"batch of 0":     func(s *Settings) { s.Batch = 0 },
		"-1 at a time":   func(s *Settings) { s.Micro = -1 },
		"learning rate":  func(s *Settings) { s.LR = math.NaN() },
		"warm-up":        func(s *Settings) { s.Warmup = -1 },
		"schedule":       func(s *Settings) { s.Schedule = "linear" },
		"weight decay":   func(s *Settings) { s.Decay = math.NaN() },
		"EMA decay":      func(s *Settings) { s.EMA = 1 },
		"clip":           func(s *Settings) { s.Clip = -1 },
	} {
		t.Run(name, func(t *testing.T) {
			s := quick
			change(&s)
			if err := s.Validate(); err == nil || !strings.Contains(err.Error(), name) {
				t.Errorf("error %v, want one with %q", err, name)
			}
		})
	}
	if _, err := ReadState(t.TempDir()); err == nil || !strings.Contains(err.Error(), "no training run") {
		t.Errorf("error %v", err)
	}
}

// panickingImages panic when image 3 is read.
type panickingImages struct{ noiseImages }

func (p *panickingImages) Read(i int, dst []float32) error {
	if i == 3 {
		panic("image 3 is broken")
	}
	return p.noiseImages.Read(i, dst)
}

// TestPanicBecomesError checks that a data set that panics on a goroutine of the training ends the
// run with an error, and that the loop can run again.
func TestPanicBecomesError(t *testing.T) {
	d := newSmall(t, DenoiserOptions{Seed: 5})
	images := d.data.(*noiseImages)
	d.data = &panickingImages{*images}
	dir := t.TempDir()
	l, err := NewLoop(d, newGraph(t, 2), dir, quick)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Run(context.Background()); err == nil || !strings.Contains(err.Error(), "image 3 is broken") {
		t.Fatalf("error %v, want the panic's text", err)
	}
	if l.Step() >= quick.Steps {
		t.Fatalf("%d updates before the panic", l.Step())
	}
	d.data = images
	if err := l.Run(context.Background()); err != nil || l.Step() != quick.Steps {
		t.Errorf("without the panic: error %v after update %d, want %d updates", err, l.Step(), quick.Steps)
	}
}

// TestEachParamPanics checks that a panic on a goroutine of eachParam reaches the caller, which can
// recover it.
func TestEachParamPanics(t *testing.T) {
	defer func() {
		if p := recover(); p == nil || !strings.Contains(fmt.Sprint(p), "frozen") {
			t.Errorf("recovered %v, want the panic of the function", p)
		}
	}()
	eachParam(make([]*tensor.Param, 9), func(i int, _ *tensor.Param) {
		if i == 7 {
			panic("frozen")
		}
	})
}

// sameRuns checks that two runs have ended in the same bits.
func sameRuns(t *testing.T, whole, parts string) {
	t.Helper()
	for _, name := range []string{StateFile, ModelFile} {
		a, err1 := os.ReadFile(filepath.Join(whole, name))
		b, err2 := os.ReadFile(filepath.Join(parts, name))
		if err1 != nil || err2 != nil || !bytes.Equal(a, b) {
			t.Errorf("%s differs after resuming (%v, %v)", name, err1, err2)
		}
	}
}
