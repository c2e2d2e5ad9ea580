package train

import (
	"bytes"
	"context"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// narrowTasks are trainings whose products may be of bfloat16.
var narrowTasks = []struct {
	name string
	make func(t *testing.T) Task
}{
	{"denoiser", func(t *testing.T) Task { return newSmall(t, DenoiserOptions{Seed: 5, Dropout: 0.2}) }},
	{"text", func(t *testing.T) Task { return newText(t, TextOptions{Seed: 5, Dropout: 0.2}) }},
}

// TestBF16Follows checks that training in bfloat16 is not that in float32, but follows it: examples
// and noise being the same, the loss of no update differs by more than 1 % of the first update's,
// and the mean loss of the last third by no more than 0.2 % of it.
func TestBF16Follows(t *testing.T) {
	for _, test := range narrowTasks {
		t.Run(test.name, func(t *testing.T) {
			var losses [2][]float64
			for i, dtype := range []string{"f32", "bf16"} {
				s := Settings{Steps: 60, Batch: 8, Micro: 8, LR: 2e-3, Schedule: "constant", Clip: 1, DType: dtype}
				err := runTask(t, test.make(t), "", s, t.Context(), 2, false, func(r StepStats) {
					losses[i] = append(losses[i], r.Measures["loss"])
				})
				if err != nil {
					t.Fatal(err)
				}
			}
			first, same, mean := losses[0][0], 0, [2]float64{}
			for i, f32 := range losses[0] {
				bf16 := losses[1][i]
				if math.Abs(bf16-f32) > 0.01*first {
					t.Errorf("update %d: loss %g, in float32 %g, at first %g", i+1, bf16, f32, first)
				}
				if bf16 == f32 {
					same++
				}
				if i >= 40 {
					mean[0], mean[1] = mean[0]+f32/20, mean[1]+bf16/20
				}
			}
			if math.Abs(mean[1]-mean[0]) > 0.002*first || mean[0] > 0.8*first {
				t.Errorf("mean loss at the end %g, in float32 %g, at first %g", mean[1], mean[0], first)
			}
			if same > 10 {
				t.Errorf("%d of 60 losses are those of float32", same)
			}
		})
	}
}

// TestBF16Resumes checks that a run in bfloat16 that is stopped ends in the bits of one that is not,
// with another number of workers.
func TestBF16Resumes(t *testing.T) {
	for _, test := range narrowTasks {
		t.Run(test.name, func(t *testing.T) {
			whole, parts := t.TempDir(), t.TempDir()
			s := quick
			s.DType = "bf16"
			if err := runTask(t, test.make(t), whole, s, t.Context(), 1, false, nil); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			runTask(t, test.make(t), parts, s, ctx, 3, false, func(r StepStats) {
				if r.Step == 5 {
					cancel()
				}
			})
			if err := runTask(t, test.make(t), parts, s, t.Context(), 2, true, nil); err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{StateFile, ModelFile} {
				a, err1 := os.ReadFile(filepath.Join(whole, name))
				b, err2 := os.ReadFile(filepath.Join(parts, name))
				if err1 != nil || err2 != nil || !bytes.Equal(a, b) {
					t.Errorf("%s differs after resuming (%v, %v)", name, err1, err2)
				}
			}
		})
	}
}

// wide is a Task without another number format.
type wide struct{ Task }

func TestDTypeRefused(t *testing.T) {
	s := quick
	s.DType = "int8"
	task := newText(t, TextOptions{})
	if _, err := NewLoop(task, newGraph(t, 1), "", s); err == nil ||
		!strings.Contains(err.Error(), `number format "int8" of training: want f32 or bf16`) {
		t.Errorf("int8: error %v", err)
	}
	s.DType = "bf16"
	if _, err := NewLoop(wide{task}, newGraph(t, 1), "", s); err == nil ||
		!strings.Contains(err.Error(), "no number format but f32: got bf16") {
		t.Errorf("a task without bf16: error %v", err)
	}
}
