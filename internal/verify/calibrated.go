package verify

import (
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/tokencache/tokencache/dit"
	"github.com/tokencache/tokencache/internal/calibrate"
)

// plainRun is the file of the run without a policy that others are compared with.
const plainRun = "plain.safetensors"

// smoothCalibration checks a recorded calibration of SmoothCache on the plain run beside it: errors, [blocks, 2, lookahead, steps], -1 where there is none, and the schedules that follow for
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
	d.policy = measured
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
		r.compare(fmt.Sprintf("%s/schedule for %s", c.stem, text), got, want, tolerance)
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

func (r *run) routerTraining(m *dit.Model, c *recording) error {
	return &unknownMethod{c.Metadata()["method"]}
}
