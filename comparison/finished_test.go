package comparison

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/diffusion"
	"github.com/tokencache/tokencache/report"
	"github.com/tokencache/tokencache/reuse"
)

// tinyOptions are those of a comparison of a small trained model.
func tinyOptions(t *testing.T) (o Options, stages *[]string) {
	t.Helper()
	p, err := tokencache.Open("../testdata/cache-methods/model.safetensors",
		tokencache.Options{VAE: "../testdata/vae-tiny", Threads: 2, Heads: 4})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	stages = new([]string)
	return Options{
		Dir:      t.TempDir(),
		Pipeline: p,
		Sampling: diffusion.Sampling{Sampler: "ddim", Steps: 10},
		Seed:     7,
		Speeds:   []float64{2},
		Count:    2,
		Batch:    2,
		Timed:    1,
		Repeat:   1,
		Open:     func(text string) (reuse.Policy, error) { return reuse.Parse(text) },
		Bundled:  func(float64) (string, error) { return "", nil },
		OnStage:  func(what string) { *stages = append(*stages, what) },
	}, stages
}

// TestFinished checks that what a comparison measured is evaluated again from its folder to the
// same results, in the order of the methods, that what is not finished is left out and told, and
// that nothing is measured.
func TestFinished(t *testing.T) {
	o, stages := tinyOptions(t)
	if _, err := Finished(t.Context(), o); !errors.Is(err, ErrNothingFinished) {
		t.Fatalf("of an empty folder: %v", err)
	}
	o.Policies = []string{"taylorseer", "fora:n=2", ownSteps} // in another order than the methods'
	measured, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains((*stages)[0], "policies of 2 images, less what is finished already") ||
		!slices.ContainsFunc(*stages, func(s string) bool { return strings.Contains(s, "left") }) {
		t.Errorf("stages %q: no estimate before, or none of what is left", *stages)
	}
	*stages = nil
	again, err := Finished(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range *stages {
		if !strings.HasPrefix(s, "the converged solution: ") {
			t.Errorf("stage %q of what is finished", s)
		}
	}
	var policies []string
	for _, c := range again.Cells {
		policies = append(policies, c.Policy)
		i := slices.IndexFunc(measured.Cells, func(m report.Cell) bool { return m.Policy == c.Policy })
		if i < 0 || !reflect.DeepEqual(c, measured.Cells[i]) {
			t.Errorf("%+v, want what was measured", c)
		}
	}
	if want := []string{"none", "steps=5", "fora:n=2", "taylorseer:order=1,n=3"}; !slices.Equal(policies, want) {
		t.Errorf("policies %q, want %q", policies, want)
	}
	if err := os.RemoveAll(filepath.Join(o.Dir, cellsFolder, FileName("FORA fora:n=2"), "000000.npz")); err != nil {
		t.Fatal(err)
	}
	if again, err = Finished(t.Context(), o); err != nil || len(again.Cells) != 3 ||
		!slices.ContainsFunc(*stages, func(s string) bool { return strings.HasPrefix(s, "left out: FORA fora:n=2") }) {
		t.Errorf("%d cells (%v) after %q: want one left out", len(again.Cells), err, *stages)
	}
}

// TestFailedCell checks that a policy that fails does not stop the others, that its cell says why,
// and that it is told from a method that has no setting for a speed.
func TestFailedCell(t *testing.T) {
	o, _ := tinyOptions(t)
	o.Policies = []string{"broken", "l2p-none", "fora:n=2"}
	o.Open = func(text string) (reuse.Policy, error) {
		if text == "broken" {
			return &reuse.BranchSchedule{Method: "broken"}, nil // has no steps, which shows when it runs
		}
		if text == "l2p-none" {
			text = "fora:n=3"
		}
		return reuse.Parse(text)
	}
	r, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	failed := r.Failed()
	if len(r.Cells) != 4 || len(failed) != 1 || failed[0].Policy != "broken" || failed[0].Error == "" {
		t.Errorf("failed %+v of %d cells", failed, len(r.Cells))
	}
}

// required are the methods that a comparison of all must have: solvers, the paper's versions, and
// the rivals.
var required = []string{
	"own-steps", "dpm++", "unipc3", "learned", "learned-residual", "tokencache", "paper-v1", "paper-v2",
	"fora", "taylorseer", "taylorseer2", "taylorseer3", "taylorseer3-warm", "taylorseer4", "taylorseer4-warm", "toca",
	"duca", "clusca", "fbcache", "dbcache", "dbcache-taylor", "teacache", "teacache-fitted", "smoothcache", "l2c",
	"deltadit", "tome", "seacache", "magcache", "easycache", "speca", "speca-paper", "hicache", "spectrum",
	"fastercache", "dpcache", "dmd", "cem", "l2p", "last-block", "extrapolation",
}

// TestAllMethods checks that a comparison of all methods has those that it must, and that each that
// needs neither calibration nor a bundled policy has a cell with all that is measured.
func TestAllMethods(t *testing.T) {
	for _, name := range required {
		if methodOf(name) == nil {
			t.Errorf("no method %s", name)
		}
	}
	o, _ := tinyOptions(t)
	o.Sampling.Steps, o.Sampling.Guidance = 4, 1.5 // without guidance there is nothing for some to skip
	for _, m := range allMethods() {
		switch {
		case m.ladder != nil:
			o.Policies = append(o.Policies, m.ladder[0])
		case m.isSolver() && m.name != "learned": // which has its own numbers of steps
			o.Policies = append(o.Policies, stepsPrefix+fmt.Sprintf(m.solver, 3))
		}
	}
	r, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(&r.Results)
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Cells []map[string]any `json:"cells"`
	}
	if err := json.Unmarshal(b, &file); err != nil {
		t.Fatal(err)
	}
	for _, policy := range o.Policies {
		at := slices.IndexFunc(file.Cells, func(c map[string]any) bool { return c["policy"] == policy })
		if at < 0 {
			t.Errorf("%s: no cell", policy)
			continue
		}
		for _, key := range []string{"psnr_uncached", "psnr_converged", "nfe", "flops", "uncached_flops", "speedup"} {
			if file.Cells[at][key] == nil {
				t.Errorf("%s: no %s: %v", policy, key, file.Cells[at])
			}
		}
		f, _ := file.Cells[at]["psnr_converged"].(map[string]any)
		for _, key := range []string{"mean", "p5", "min", "identical"} {
			if _, ok := f[key].(float64); !ok {
				t.Errorf("%s: psnr_converged has no %s: %v", policy, key, f)
			}
		}
	}
}

// TestCrossing checks that every combination of the axes is either a policy or has a reason, that
// no two are the same policy, and that they run.
func TestCrossing(t *testing.T) {
	table := crossing()
	if len(table) != len(axisComputed) {
		t.Fatalf("%d rows", len(table))
	}
	for i, row := range table {
		if len(row) != len(axisRest) {
			t.Errorf("%s: %d combinations, want %d", axisComputed[i], len(row), len(axisRest))
		}
		for j, c := range row {
			ways := 0
			for _, is := range []bool{c.ladder != nil, c.planned != "", c.method != "", c.why != ""} {
				if is {
					ways++
				}
			}
			if ways != 1 || c.method != "" && methodOf(c.method) == nil {
				t.Errorf("%s × %s: %+v", axisComputed[i], axisRest[j], c)
			}
			for _, text := range append(slices.Clone(c.ladder), strings.TrimSpace(c.planned)) {
				if text == "" {
					continue
				}
				if c.planned != "" {
					text += ",steps=list,i=0+1+4"
				}
				if _, err := reuse.Parse(text); err != nil {
					t.Errorf("%s × %s: %v", axisComputed[i], axisRest[j], err)
				}
			}
		}
	}
}
