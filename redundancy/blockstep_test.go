package redundancy

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/diffusion"
	"github.com/tokencache/tokencache/reuse"
)

// curves are concentrations as JSON has them, [step][block] by share.
type curves [][]map[string]float64

// tokensJSON is what the test reads of a Tokens.
type tokensJSON struct {
	Of       curves      `json:"concentration_of_block_and_step"`
	Block    []float64   `json:"concentration_of_block"`
	Step     []StepShare `json:"concentration_of_step"`
	Rankings []struct {
		Ranking       Ranking            `json:"ranking"`
		Concentration map[string]float64 `json:"concentration"`
		Of            curves             `json:"concentration_of_block_and_step"`
	} `json:"rankings"`
}

// studied examines the tokens of a small trained model at 8 steps, of which 0, 1, 3 and 5 are
// I-steps, and returns the numbers as JSON has them, too.
func studied(t *testing.T) (*Tokens, *tokensJSON) {
	t.Helper()
	p, err := tokencache.Open("../testdata/cache-methods/model.safetensors",
		tokencache.Options{VAE: "../testdata/vae-tiny", Threads: 1, Heads: 4})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	study, err := MeasureTokens(t.Context(), p, Options{
		Request: tokencache.Request{
			Classes:  []int{0, 1},
			Seed:     7,
			Sampling: diffusion.Sampling{Sampler: "ddim", Steps: 8},
		},
		Policy: reuse.None{},
	}, 4)
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(study)
	if err != nil {
		t.Fatal(err)
	}
	file := new(tokensJSON)
	if err := json.Unmarshal(b, file); err != nil {
		t.Fatal(err)
	}
	return study, file
}

// TestBlockAndStep checks the concentrations in each block at each step, of all rankings: I-steps
// have none, shares lie in [0,1] and do not fall as more tokens count, and no ranking finds more than
// the oracle.
func TestBlockAndStep(t *testing.T) {
	study, file := studied(t)
	if file.Rankings[0].Of != nil {
		t.Error("the oracle's are there twice")
	}
	file.Rankings[0].Of = file.Of
	for _, r := range file.Rankings {
		if len(r.Of) != study.tally.steps {
			t.Fatalf("%s: %d steps, want %d", r.Ranking, len(r.Of), study.tally.steps)
		}
		for step, of := range r.Of {
			want := study.tally.blocks
			if slices.Contains([]int{0, 1, 3, 5}, step) {
				want = 0
			}
			if len(of) != want {
				t.Fatalf("%s: step %d has %d blocks, want %d", r.Ranking, step, len(of), want)
			}
			for block, c := range of {
				before := 0.0
				for _, share := range []string{"0.05", "0.1", "0.25", "0.5"} {
					v, ok := c[share]
					if !ok || v < before || v > 1 || len(c) != 4 {
						t.Errorf("%s: step %d, block %d: %v, want four shares that grow up to 1", r.Ranking, step, block, c)
					}
					if most := file.Of[step][block][share]; v > most+1e-9 {
						t.Errorf("%s: step %d, block %d: %g in the first %s, more than the oracle's %g",
							r.Ranking, step, block, v, share, most)
					}
					before = v
				}
			}
		}
	}
}

// TestBlockAndStepMarginals checks that the concentrations of each block, of each step and of
// everything are the means of those of each block at each step, weighted by the errors.
func TestBlockAndStepMarginals(t *testing.T) {
	study, file := studied(t)
	file.Rankings[0].Of = file.Of
	check := func(what string, of curves, share string, want float64, in func(block, step int) bool) {
		t.Helper()
		sum, all := 0.0, 0.0
		for step, blocks := range of {
			for block, c := range blocks {
				if e := study.tally.of[ByError][block*study.tally.steps+step].all; in(block, step) {
					sum, all = sum+c[share]*e, all+e
				}
			}
		}
		if got := sum / all; !(math.Abs(got-want) < 1e-9) {
			t.Errorf("%s: the first %s hold %g by block and step, %g together", what, share, got, want)
		}
	}
	for _, r := range file.Rankings {
		for share, want := range r.Concentration {
			check(string(r.Ranking), r.Of, share, want, everywhere)
		}
	}
	const ratio = "0.25" // without a policy that chooses tokens
	if len(file.Block) != study.tally.blocks || len(file.Step) != 4 {
		t.Errorf("%d blocks and %d P-steps, want %d and 4", len(file.Block), len(file.Step), study.tally.blocks)
	}
	for l, want := range file.Block {
		check(fmt.Sprint("block ", l), file.Of, ratio, want, func(block, _ int) bool { return block == l })
	}
	for _, s := range file.Step {
		check(fmt.Sprint("step ", s.Step), file.Of, ratio, s.Share, func(_, step int) bool { return step == s.Step })
	}
}
