package train

import (
	"context"
	"math"
	"strings"
	"testing"
)

// blockTasks are the trainings of models of blocks.
var blockTasks = []struct {
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
	for _, test := range blockTasks {
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

// TestBlockSettingsResume checks that a run in bfloat16, or of the optimizer Muon, that is stopped
// ends in the bits of one that is not, with another number of workers.
func TestBlockSettingsResume(t *testing.T) {
	for _, test := range blockTasks {
		for _, set := range []func(s *Settings){
			func(s *Settings) { s.DType = "bf16" },
			func(s *Settings) { s.Optimizer = "muon" },
		} {
			s := quick
			set(&s)
			t.Run(test.name+" "+s.DType+s.Optimizer, func(t *testing.T) {
				whole, parts := t.TempDir(), t.TempDir()
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
				sameRuns(t, whole, parts)
			})
		}
	}
}

// blockless is a Task without blocks.
type blockless struct{ Task }

func TestBlockSettingsRefused(t *testing.T) {
	task := newText(t, TextOptions{})
	for _, test := range []struct {
		task             Task
		dtype, optimizer string
		want             string
	}{
		{task, "int8", "", `number format "int8" of training: want f32 or bf16`},
		{task, "", "sgd", `optimizer "sgd": want one of [adamw muon]`},
		{blockless{task}, "bf16", "", "no number format but f32: got bf16"},
		{blockless{task}, "", "muon", "no optimizer but adamw: got muon"},
	} {
		s := quick
		s.DType, s.Optimizer = test.dtype, test.optimizer
		if _, err := NewLoop(test.task, newGraph(t, 1), "", s); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("dtype %q, optimizer %q: error %v, want %q", test.dtype, test.optimizer, err, test.want)
		}
	}
}
