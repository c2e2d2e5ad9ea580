package verify

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/tokencache/tokencache/calibrate"
	"github.com/tokencache/tokencache/diffusion"
	"github.com/tokencache/tokencache/dit"
	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
	"github.com/tokencache/tokencache/train"
)

// plainRun is the file of the run without a policy that others are compared with.
const plainRun = "plain.safetensors"

// smoothCalibration checks a recorded calibration of SmoothCache on the plain run beside it:
// errors, [blocks, 2, lookahead, steps], -1 where there is none, and the schedules that follow for
// thresholds.
func (r *run) smoothCalibration(m *dit.Model, c *recording) error {
	shape, err := c.shape("errors", 4)
	if err != nil {
		return err
	}
	want, err := c.Float32("errors")
	if err != nil {
		return err
	}
	schedules := map[string]map[string][]int{}
	if err := json.Unmarshal([]byte(c.Metadata()["schedules_by_threshold"]), &schedules); err != nil {
		return fmt.Errorf("metadata schedules_by_threshold: %w", err)
	}
	plain, err := openRecording(filepath.Join(filepath.Dir(c.Path), plainRun))
	if err != nil {
		return err
	}
	defer plain.Close()
	d, _, err := plain.denoising(m)
	if err != nil {
		return fmt.Errorf("%s: %w", plainRun, err)
	}
	const mostLookahead = 64
	if steps := d.plan.Steps(); shape[0] != len(m.Blocks) || shape[1] != 2 || shape[2] < 1 || shape[2] > mostLookahead || shape[3] != steps {
		return fmt.Errorf("tensor errors has shape %v, want [%d 2 lookahead %d]", shape, len(m.Blocks), steps)
	}
	measured := &calibrate.BranchErrors{Lookahead: shape[2]}
	d.policy = measured.Policy()
	r.work("%s", c.stem)
	if _, err := r.denoise(m, d); err != nil {
		return err
	}
	got := make([]float32, 0, len(want))
	for block := range shape[0] {
		for part := range shape[1] {
			for j := range shape[2] {
				for p := range shape[3] {
					e, ok := measured.At(block, part, j, p)
					if !ok {
						e = -1
					}
					got = append(got, float32(e))
				}
			}
		}
	}
	r.compare(c.stem+"/errors", got, want, tolerance)
	for _, text := range slices.Sorted(maps.Keys(schedules)) {
		threshold, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return fmt.Errorf("metadata schedules_by_threshold: %q is no threshold", text)
		}
		made := measured.Schedule(threshold)
		var got, want []float32
		for _, part := range slices.Sorted(maps.Keys(schedules[text])) {
			got, want = append(got, numbers(made[part])...), append(want, numbers(schedules[text][part])...)
		}
		r.decided(fmt.Sprintf("%s/schedule for %s", c.stem, text), got, want)
	}
	return nil
}

func numbers(list []int) []float32 {
	var x []float32
	for _, v := range list {
		x = append(x, float32(v))
	}
	return x
}

// routerSettings are the parameters of a recorded training of routers, as its own code calls them.
type routerSettings struct {
	Case      int      `json:"case"`
	TIndex    int      `json:"t_index"` // of the step that fills the cache; the router is that of the step after it
	TOrig     int      `json:"t_orig"`  // its timestep
	Threshold *float64 `json:"thres"`
	L1        float64  `json:"l1"`
}

// routerUpdates are the updates of a recorded training of routers.
type routerUpdates struct {
	TIndex []int   `json:"t_index"`
	LR     float64 `json:"lr"`
	L1     float64 `json:"l1"`
}

// routerTraining checks a recorded training of Learning-to-Cache's routers: single batches, and
// updates one after another.
func (r *run) routerTraining(w *dit.Weights, c *recording) error {
	var cases []routerSettings
	var updates routerUpdates
	for name, into := range map[string]any{"cases": &cases, "train": &updates} {
		if err := json.Unmarshal([]byte(c.Metadata()[name]), into); err != nil {
			return fmt.Errorf("metadata %s: %w", name, err)
		}
	}
	m, err := w.Frozen()
	if err != nil {
		return err
	}
	logits, err := c.matrix("router_logits0")
	if err != nil {
		return err
	}
	if logits.Cols != 2*len(m.Blocks) {
		return fmt.Errorf("tensor router_logits0: %v, want %d columns", logits, 2*len(m.Blocks))
	}
	r.work("%s", c.stem)
	start := func(o train.RouterOptions) *train.Routers {
		routers := train.NewRouters(m, logits.Rows, o)
		for i := range logits.Rows {
			copy(routers.Logits[i], logits.Row(i))
		}
		return routers
	}
	for _, s := range cases {
		o := train.RouterOptions{L1: s.L1}
		if s.Threshold != nil {
			o.Threshold = *s.Threshold
		}
		name := fmt.Sprintf("case%d.", s.Case)
		routers := start(o)
		loss, err := r.routerBatch(m, c, name, routers, s.TIndex)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		r.compareRecorded(c, name+"mse", float32s(loss.MSE), tolerance)
		r.compareRecorded(c, name+"l1_loss", float32s([]float64{loss.Cost}), tolerance)
		r.compareRecorded(c, name+"loss", float32s([]float64{loss.Total}), tolerance)
		r.compareRecorded(c, name+"grad_logits", slices.Concat(routers.Grads...), tolerance)
	}
	routers := start(train.RouterOptions{L1: updates.L1})
	for i, t := range updates.TIndex {
		name := fmt.Sprintf("train%d.", i)
		loss, err := r.routerBatch(m, c, name, routers, t)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		routers.Update(t-1, updates.LR)
		r.compareRecorded(c, name+"loss", float32s([]float64{loss.Total}), tolerance)
		r.compareRecorded(c, name+"logits_after", slices.Concat(routers.Logits...), tolerance)
	}
	return nil
}

// routerBatch runs a recorded batch: data with noise at index t, labels that may have been dropped,
// and a step of DDIM to the index before.
func (r *run) routerBatch(m *dit.Model, c *recording, name string, routers *train.Routers, t int) (loss train.RouterLoss, err error) {
	data, err := c.matrix("x_start")
	if err != nil {
		return loss, err
	}
	noise, err := c.matrix(name + "noise")
	if err != nil {
		return loss, err
	}
	drop, err := c.Float32(name + "drop")
	if err != nil {
		return loss, err
	}
	labels, err := c.labels("y")
	if err != nil {
		return loss, err
	}
	schedule, err := diffusion.Linear(diffusion.Timesteps)
	if err != nil {
		return loss, err
	}
	process, err := diffusion.NewProcess(schedule, fmt.Sprint(len(routers.Logits)))
	if err != nil {
		return loss, err
	}
	if t < 1 || t >= process.Steps() {
		return loss, fmt.Errorf("t_index %d is not in 1..%d", t, process.Steps()-1)
	}
	if noise.Rows != data.Rows || noise.Cols != data.Cols || len(drop) != data.Rows || len(labels) != data.Rows {
		return loss, errors.New("x_start, y, drop and noise are of different numbers of samples")
	}
	b := &seam.Batch{X: tensor.FromSlice(make([]float32, len(data.Data)), data.Rows, data.Cols), Cond: dit.Classes(labels...), T: make([]float32, data.Rows)}
	for i := range data.Rows {
		if drop[i] != 0 {
			b.Cond[i] = dit.Class(m.NullClass())
		}
		b.T[i] = float32(process.Timestep(t))
		process.QSample(b.X.Row(i), data.Row(i), noise.Row(i), t)
	}
	if err := m.CheckBatch(b); err != nil {
		return loss, err
	}
	recorded := c.has(name + "x_t")
	if recorded {
		r.compareRecorded(c, name+"x_t", b.X.Flat(), tolerance)
	}
	r.graph.Reset()
	out := routers.Fill(r.graph, b)
	for i := range data.Rows {
		path := diffusion.NewTrajectory(diffusion.DDIM{Process: process}, b.X.Row(i))
		path.Seek(t)
		path.Step(out.Row(i), nil)
		copy(b.X.Row(i), path.X())
		b.T[i] = float32(process.Timestep(t - 1))
	}
	if recorded {
		r.compareRecorded(c, name+"x_next", b.X.Flat(), tolerance)
	}
	return routers.Gradients(r.graph, t-1, b)
}

func float32s(list []float64) []float32 {
	var x []float32
	for _, v := range list {
		x = append(x, float32(v))
	}
	return x
}
