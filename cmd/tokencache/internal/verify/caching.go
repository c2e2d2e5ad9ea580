package verify

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/tokencache/tokencache/checkpoint"
	"github.com/tokencache/tokencache/diffusion"
	"github.com/tokencache/tokencache/dit"
	"github.com/tokencache/tokencache/reuse"
	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
)

// isCacheRun reports whether a file is a recorded run of a cache method: its metadata names the
// method, whatever the file is called.
func isCacheRun(path string) bool {
	if filepath.Ext(path) != ".safetensors" {
		return false
	}
	f, err := checkpoint.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	return f.Metadata()["method"] != ""
}

// cacheSettings are the parameters of a recorded run, as the methods' own code calls them.
type cacheSettings struct {
	Respacing string  `json:"respacing"`
	Scale     float64 `json:"cfg_scale"`

	N            int              `json:"N"`             // FORA
	Interval     int              `json:"interval"`      // TaylorSeer
	MaxOrder     int              `json:"max_order"`     // TaylorSeer
	FirstEnhance int              `json:"first_enhance"` // TaylorSeer
	Schedule     map[string][]int `json:"schedule"`      // SmoothCache
	Threshold    float64          `json:"thres"`         // Learning-to-Cache

	FreshRatio     float64 `json:"fresh_ratio"`     // ToCa, DuCa
	FreshThreshold int     `json:"fresh_threshold"` // likewise
	Scheduler      string  `json:"ratio_scheduler"`
	Bonus          float64 `json:"spatial_bonus"`
	CacheType      string  `json:"cache_type"`
}

var respacingNumber = regexp.MustCompile(`\("([^"]+)"\)`)

// cacheRuns checks recorded runs of cache methods with the weights that networkDir finds.
func (r *run) cacheRuns(dir string, names []string) error {
	w, err := dit.Open(networkDir(dir), dit.Options{})
	if err != nil {
		return err
	}
	defer w.Close()
	w.DType = r.DType
	m, err := w.Load()
	if err != nil {
		return err
	}
	for _, name := range names {
		r.rounding = roundingOf(m)
		path := filepath.Join(dir, name)
		c, err := openRecording(path)
		if err != nil {
			r.fail(stem(name), err)
			continue
		}
		err = r.cacheRun(w, m, c)
		c.Close()
		var unknown *unknownMethod
		switch {
		case errors.As(err, &unknown):
			r.skip(path, err.Error())
		case err != nil:
			r.fail(c.stem, err)
		}
		if err := r.graph.Err(); err != nil {
			return err
		}
	}
	return nil
}

// unknownMethod is the error for a method that there is not.
type unknownMethod struct{ method string }

func (e *unknownMethod) Error() string {
	return fmt.Sprintf("the method %s is not part of this version", e.method)
}

func (r *run) cacheRun(w *dit.Weights, m *dit.Model, c *recording) error {
	method := c.Metadata()["method"]
	switch {
	case c.has("errors") && c.Metadata()["schedules_by_threshold"] != "":
		return r.smoothCalibration(m, c)
	case c.has("router_logits0"):
		return r.routerTraining(w, c)
	case c.Metadata()["runs"] != "":
		return r.recordedRuns(m, c)
	case !c.has("x_T") || !c.has("x"):
		return &unknownMethod{method}
	}
	d, s, err := c.denoising(m)
	if err != nil {
		return err
	}
	policy, err := recordedPolicy(method, s, c)
	if err != nil {
		return err
	}
	counted := new(counts)
	d.policy = counted.observe(policy)
	r.work("%s", c.stem)
	done, err := r.denoise(m, d)
	if err != nil {
		return err
	}
	r.compareRecorded(c, "x", done.x, samplingTolerance)
	if r.comparesPredictions() {
		r.compareRecorded(c, "pred_xstart", done.predictions, samplingTolerance)
	}
	r.compareRecorded(c, "model_out", done.outputs, samplingTolerance)
	if c.has("tokens_computed") {
		r.decidedRecorded(c, "tokens_computed", counted.perSample(len(m.Blocks), d.start.Rows))
	}
	if c.has("token_idx") && c.has("token_k") && !r.rounding.narrow() {
		return r.tokenSets(c, counted, len(m.Blocks), d.start.Rows)
	}
	return nil
}

// denoising reads the start and the settings of a recorded run.
func (c *recording) denoising(m *dit.Model) (d denoising, s cacheSettings, err error) {
	if err := json.Unmarshal([]byte(c.Metadata()["settings"]), &s); err != nil {
		return d, s, fmt.Errorf("metadata settings: %w", err)
	}
	steps := s.Respacing
	if found := respacingNumber.FindStringSubmatch(steps); found != nil {
		steps = found[1]
	}
	start, err := c.matrix("x_T")
	if err != nil {
		return d, s, err
	}
	d = denoising{guidance: diffusion.Guidance{Scale: s.Scale}, start: start}
	if d.labels, err = c.labels("y"); err != nil {
		return d, s, err
	}
	if len(d.labels) != start.Rows || start.Rows%2 != 0 {
		return d, s, fmt.Errorf("%d labels for %d rows of x_T: want as many, in two halves", len(d.labels), start.Rows)
	}
	// A run with noise is DDPM's, any other DDIM's with eta 0.
	kind := "ddim"
	if c.has("noise") {
		kind = "ddpm"
		if d.noise, err = c.Float32("noise"); err != nil {
			return d, s, err
		}
	}
	if err := d.sample(m, kind, steps); err != nil {
		return d, s, err
	}
	if want := d.sampler.Steps() * len(start.Data); d.noise != nil && len(d.noise) != want {
		return d, s, fmt.Errorf("%d numbers of noise, want %d", len(d.noise), want)
	}
	return d, s, nil
}

// sample sets the sampler and the plan.
func (d *denoising) sample(m *dit.Model, kind, steps string) (err error) {
	sampling := diffusion.Sampling{Sampler: kind}
	if sampling.Steps, sampling.Spacing, err = diffusion.ParseSteps(steps); err != nil {
		return err
	}
	network := m.Network()
	if d.sampler, err = sampling.New(network); err != nil {
		return err
	}
	d.plan = reuse.NewPlan(sampling, d.sampler)
	return nil
}

// tokenSets checks which tokens each sample computed in each block, where a method chose some:
// token_idx, [steps, blocks, samples, N], lists them, and token_k, [steps, blocks], says how many,
// or -1 where nothing was chosen.
func (r *run) tokenSets(c *recording, counted *counts, blocks, samples int) error {
	index, err := c.Float32("token_idx")
	if err != nil {
		return err
	}
	kept, err := c.Float32("token_k")
	if err != nil {
		return err
	}
	steps := len(counted.rows)
	if len(kept) != steps*blocks || len(index)%max(len(kept)*samples, 1) != 0 {
		return fmt.Errorf(
			"tensors token_idx and token_k have %d and %d numbers for %d steps, %d blocks and %d samples",
			len(index), len(kept), steps, blocks, samples)
	}
	n := len(index) / (len(kept) * samples)
	var got, want []float32 // of each choice: 1 for each token that is in the set
	for i, k := range kept {
		if k < 0 {
			continue
		}
		computed := counted.chosen[i/blocks][i%blocks]
		for s := range samples {
			g, w := make([]float32, n), make([]float32, n)
			for _, at := range index[(i*samples+s)*n:][:min(int(k), n)] {
				if at < 0 || int(at) >= n {
					return fmt.Errorf("tensor token_idx: %g is no token", at)
				}
				w[int(at)] = 1
			}
			for _, row := range computed {
				if int(row.sample) == s {
					g[row.token] = 1
				}
			}
			got, want = append(got, g...), append(want, w...)
		}
	}
	r.compare(c.stem+"/token sets", got, want, tolerance)
	return nil
}

// schedulers are the names that ToCa's and DuCa's own code has for the schedulers of the ratio.
var schedulers = map[string]string{
	"constant":     reuse.ConstantRatio,
	"ToCa-ddim50":  reuse.DDIM50Ratio,
	"ToCa":         reuse.DDIM50Ratio,
	"ToCa-ddpm250": reuse.DDPM250Ratio,
}

// recordedPolicy returns the policy of a recorded run.
func recordedPolicy(method string, s cacheSettings, c *recording) (reuse.Policy, error) {
	attention := s.CacheType == "" || s.CacheType == "attention"
	switch name := strings.ToLower(method); {
	case name == "plain":
		return reuse.None{}, nil
	case name == "fora":
		return &reuse.FORA{N: s.N}, nil
	case name == "taylorseer":
		return &reuse.TaylorSeer{Interval: s.Interval, Order: s.MaxOrder, Warmup: s.FirstEnhance}, nil
	case (name == "toca" || name == "duca") && attention && schedulers[s.Scheduler] != "":
		return &reuse.ToCa{
			N:         s.FreshThreshold,
			Ratio:     s.FreshRatio,
			Scheduler: schedulers[s.Scheduler],
			Bonus:     s.Bonus,
			Duca:      name == "duca",
		}, nil
	case name == "smoothcache" && s.Schedule != nil:
		return &reuse.SmoothCache{Compute: s.Schedule}, nil
	case name == "l2c" && c.has("router_logits"):
		logits, err := c.matrix("router_logits")
		if err != nil {
			return nil, err
		}
		p := &reuse.L2C{Threshold: s.Threshold}
		for i := range logits.Rows {
			p.Logits = append(p.Logits, logits.Row(i))
		}
		return p, nil
	}
	return nil, &unknownMethod{method}
}

// counts counts the tokens for which each branch is computed.
type counts struct {
	rows   []map[seam.Site]int // of each step
	chosen []map[int][]place   // of each step and block: the tokens whose MLP was computed
}

// place is a token of a sample.
type place struct{ sample, token int32 }

// observe returns the policy, counted.
func (c *counts) observe(p reuse.Policy) reuse.Policy {
	return reuse.Observe(p, reuse.Observer{
		Sites: seam.SitesOf(seam.Attention, seam.MLP),
		Begin: func(*tensor.Graph, *seam.Batch, []int) {
			c.rows = append(c.rows, map[seam.Site]int{})
			c.chosen = append(c.chosen, map[int][]place{})
		},
		Computed: c.computed,
	})
}

func (c *counts) computed(at seam.Site, x, _ *seam.Tokens) {
	step := len(c.rows) - 1
	c.rows[step][at] += x.X.Rows
	if at.Part != seam.MLP {
		return
	}
	for i, token := range x.Pos {
		c.chosen[step][at.Block] = append(c.chosen[step][at.Block], place{x.Rows.Sample[i], token})
	}
}

// perSample returns the counts as they are recorded, [steps, blocks, 2]: of attention and MLP, for
// one of the samples.
func (c *counts) perSample(blocks, samples int) []float32 {
	var list []float32
	for _, step := range c.rows {
		for block := range blocks {
			for _, part := range []seam.Part{seam.Attention, seam.MLP} {
				rows := step[seam.Site{Block: block, Part: part}]
				list = append(list, float32(rows)/float32(samples))
			}
		}
	}
	return list
}
