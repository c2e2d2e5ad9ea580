package verify

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/tokencache/tokencache/diffusion"
	"github.com/tokencache/tokencache/dit"
	"github.com/tokencache/tokencache/reuse"
	"github.com/tokencache/tokencache/seam"
)

// yearInName finds the year in the name of a folder whose network another folder has.
var yearInName = regexp.MustCompile(`^(.+)-20\d\d(-.*)?$`)

// networkDir returns the folder with the weights that the recordings in dir are of. It is dir
// itself, unless that is named NETWORK-YEAR or NETWORK-YEAR-SUFFIX and has no config.json: then it
// is NETWORK-SUFFIX next to it or, if there is no such folder, NETWORK.
func networkDir(dir string) string {
	abs, err := filepath.Abs(dir)
	found := yearInName.FindStringSubmatch(filepath.Base(abs))
	if err != nil || found == nil || hasConfig(dir) {
		return dir
	}
	first := filepath.Join(filepath.Dir(abs), found[1]+found[2])
	if plain := filepath.Join(filepath.Dir(abs), found[1]); !hasConfig(first) && hasConfig(plain) {
		return plain
	}
	return first
}

func hasConfig(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "config.json"))
	return err == nil
}

// What files of several runs do not state: the guidance, and the rows of a sample.
const (
	runsScale = 1.5
	halves    = 2
)

// recordedRun is one of a file's runs: a sample under guidance, whose rows are the two halves. Its
// tensors are NAME.x, NAME.compute and NAME.computed_blocks.
type recordedRun struct {
	name    string          // RUN.SAMPLE
	Options json.RawMessage `json:"options"`
	Sampler string          `json:"sampler"` // ddim50: DDIM of 50 evenly spaced steps
}

// recordedMethod is how the file of a cache method is reproduced.
type recordedMethod struct {
	// policy returns the policy of one of the file's runs, or nil if this version does not have what
	// its options ask for.
	policy func(c *recording, one recordedRun) (reuse.Policy, error)
	// rest, if not nil, checks what the file has apart from runs. The samples are in inputs.
	rest func(r *run, m *dit.Model, c, inputs *recording) error
}

// from makes the policy of a recordedMethod from a run's name and its options as an O. Options that
// O does not have are an error.
func from[O any](
	policy func(c *recording, name string, o O) (reuse.Policy, error),
) func(*recording, recordedRun) (reuse.Policy, error) {
	return func(c *recording, one recordedRun) (reuse.Policy, error) {
		var o O
		d := json.NewDecoder(bytes.NewReader(one.Options))
		d.DisallowUnknownFields()
		if err := d.Decode(&o); err != nil {
			return nil, fmt.Errorf("options: %w", err)
		}
		return policy(c, one.name, o)
	}
}

// recordedRuns checks a file of several runs, which the metadata entry runs lists. The samples'
// starts and labels, SAMPLE.x_T and SAMPLE.y, are in inputs.safetensors next to it.
func (r *run) recordedRuns(m *dit.Model, c *recording) error {
	method, ok := recordedMethods[c.Metadata()["method"]]
	if !ok {
		return &unknownMethod{c.Metadata()["method"]}
	}
	var runs map[string]recordedRun
	if err := json.Unmarshal([]byte(c.Metadata()["runs"]), &runs); err != nil {
		return fmt.Errorf("metadata runs: %w", err)
	}
	inputs, err := openRecording(filepath.Join(filepath.Dir(c.Path), "inputs.safetensors"))
	if err != nil {
		return err
	}
	defer inputs.Close()
	for _, name := range slices.Sorted(maps.Keys(runs)) {
		one := runs[name]
		one.name = name
		policy, err := method.policy(c, one)
		switch {
		case err == nil && policy == nil:
			r.skip(c.stem+"/"+name, "its options are not part of this version")
		case err == nil && !c.has(name+".x"):
			r.skip(c.stem+"/"+name, "its x was not recorded")
		case err == nil:
			err = r.recordedRun(m, c, inputs, one, policy)
		}
		if err != nil {
			r.fail(c.stem+"/"+name, err)
		}
	}
	if method.rest != nil {
		return method.rest(r, m, c, inputs)
	}
	return nil
}

// recordedRun checks x after every step, which steps were computed, and how many blocks each step
// computed.
func (r *run) recordedRun(
	m *dit.Model, c, inputs *recording, one recordedRun, policy reuse.Policy,
) error {
	sample := strings.TrimPrefix(filepath.Ext(one.name), ".")
	counted := new(counts)
	r.work("%s/%s", c.stem, one.name)
	done, err := r.fromSample(m, inputs, sample, one.Sampler, counted.observe(policy))
	if err != nil {
		return err
	}
	decisions := map[string][]float32{}
	for name, decided := range map[string]func() []float32{
		".compute": func() []float32 {
			return counted.wholeSteps(len(m.Blocks), m.Tokens(), c.separate(one.name))
		},
		".computed_blocks": func() []float32 { return counted.perStep(len(m.Blocks), halves*m.Tokens()) },
		".mlp_tokens":      func() []float32 { return counted.mlpTokens(len(m.Blocks)) },
	} {
		if c.has(one.name + name) {
			decisions[one.name+name] = decided()
		}
	}
	if d, ok := policy.(*reuse.DBCache); ok && d.Order > 0 {
		r.rounding.afterForecasts(decisions[one.name+".compute"])
	}
	if r.follows(c, decisions) {
		r.compareRecorded(c, one.name+".x", done.x, samplingTolerance)
	} else {
		r.skip(c.stem+"/"+one.name+".x", "its steps are others than in float32")
	}
	for _, name := range slices.Sorted(maps.Keys(decisions)) {
		r.decidedRecorded(c, name, decisions[name])
	}
	return nil
}

// fromSample samples from the recorded start of a sample under guidance.
func (r *run) fromSample(
	m *dit.Model, inputs *recording, sample, sampler string, policy reuse.Policy,
) (*denoised, error) {
	steps, ok := strings.CutPrefix(sampler, "ddim")
	if !ok {
		return nil, fmt.Errorf("sampler %q: want ddim and the number of steps", sampler)
	}
	d := denoising{guidance: diffusion.Guidance{Scale: runsScale}, policy: policy}
	var err error
	if d.start, err = inputs.matrix(sample + ".x_T"); err != nil {
		return nil, err
	}
	if d.labels, err = inputs.labels(sample + ".y"); err != nil {
		return nil, err
	}
	if len(d.labels) != halves || d.start.Rows != halves {
		return nil, fmt.Errorf("sample %s: %d labels and %d rows of x_T, want %d of each",
			sample, len(d.labels), d.start.Rows, halves)
	}
	if err := d.sample(m, "ddim", steps); err != nil {
		return nil, err
	}
	return r.denoise(m, d)
}

// separate reports whether guidance's halves of a run decided by themselves: then its decisions are
// [steps, 2].
func (c *recording) separate(name string) bool {
	info, _ := c.Lookup(name + ".compute")
	return len(info.Shape) > 1
}

// wholeSteps returns 1 for each step at which every token was computed in every block, and 0 for
// the others; if separate for each half, [steps, 2].
func (c *counts) wholeSteps(blocks, tokens int, separate bool) []float32 {
	var list []float32
	for _, step := range c.chosen {
		var computed [halves]int
		for block := range blocks {
			for _, p := range step[block] {
				computed[p.sample]++
			}
		}
		var whole [halves]float32
		for half, n := range computed {
			if n == blocks*tokens {
				whole[half] = 1
			}
		}
		if separate {
			list = append(list, whole[:]...)
		} else {
			list = append(list, (whole[0]+whole[1])/halves)
		}
	}
	return list
}

// perStep returns how many blocks each step evaluated, on average over the rows of the batch. A
// block's MLP is two thirds of it.
func (c *counts) perStep(blocks, rows int) []float32 {
	var list []float32
	for _, step := range c.rows {
		sum := 0.0
		for block := range blocks {
			sum += float64(step[seam.Site{Block: block, Part: seam.Attention}])
			sum += 2 * float64(step[seam.Site{Block: block, Part: seam.MLP}])
		}
		list = append(list, float32(sum/float64(3*rows)))
	}
	return list
}

// mlpTokens returns for how many tokens of a half each step computed the MLP of each block,
// [steps, blocks].
func (c *counts) mlpTokens(blocks int) []float32 {
	var list []float32
	for _, step := range c.rows {
		for block := range blocks {
			list = append(list, float32(step[seam.Site{Block: block, Part: seam.MLP}])/halves)
		}
	}
	return list
}
