package verify

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"

	"github.com/tokencache/tokencache/calibrate"
	"github.com/tokencache/tokencache/dit"
	"github.com/tokencache/tokencache/reuse"
)

// plannedSampler is that of the uncached runs that recorded costs, priors and products are of.
const plannedSampler = "ddim50"

// runningTolerance is that of recorded running values.
const runningTolerance = 1e-3

type dpcacheOptions struct {
	K     int `json:"k"`
	Order int `json:"order"`
	First int `json:"first_full"`
	Last  int `json:"last_full"`
}

func recordedDPCache(c *recording, _ string, o dpcacheOptions) (reuse.Policy, error) {
	plans, err := c.plans("plans")
	if err != nil {
		return nil, err
	}
	name := strconv.Itoa(o.K)
	if o.Last > 0 {
		name = fmt.Sprintf("%d_last%d", o.K, o.Last)
	}
	list, ok := plans[name]
	if !ok {
		return nil, fmt.Errorf("metadata plans: no %s", name)
	}
	return &reuse.DPCache{KeySteps: reuse.KeySteps{List: list, Warmup: o.First}, Order: o.Order}, nil
}

// plans reads lists of steps, by their names.
func (c *recording) plans(entry string) (map[string][]int, error) {
	plans := map[string][]int{}
	if err := json.Unmarshal([]byte(c.Metadata()[entry]), &plans); err != nil {
		return nil, fmt.Errorf("metadata %s: %w", entry, err)
	}
	return plans, nil
}

// pathName is the name of a plan of DPCache: k and the number of key steps, then how many of the
// first and the last steps are key steps, if these are not 3 and 0.
var pathName = regexp.MustCompile(`^k(\d+)(?:_first(\d+))?(?:_last(\d+))?$`)

// plannedPaths checks DPCache's costs on the uncached run of sample A, cost_A [T, T+1, T+1], and
// the plans that follow from them.
func (r *run) plannedPaths(m *dit.Model, c, inputs *recording) error {
	r.work("%s/cost_A", c.stem)
	costs := new(calibrate.PathCosts)
	if _, err := r.fromSample(m, inputs, "A", plannedSampler, costs.Policy()); err != nil {
		return err
	}
	if c.has("cost_A") {
		want, err := c.Float32("cost_A")
		if err != nil {
			return err
		}
		var got []float32
		for a := range costs.Steps {
			for i := range costs.Steps + 1 {
				for j := range costs.Steps + 1 {
					got = append(got, float32(costs.At(a, i, j)))
				}
			}
		}
		r.compareEach(c.stem+"/cost_A", got, want)
	}
	plans, err := c.plans("plans_from_cost_A")
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(plans)) {
		found := pathName.FindStringSubmatch(name)
		if found == nil {
			return fmt.Errorf("metadata plans_from_cost_A: %q is no name of a plan", name)
		}
		count, first, last := number(found[1], 0), number(found[2], 3), number(found[3], 0)
		if count < 1 || count > costs.Steps || first < 1 {
			return fmt.Errorf("metadata plans_from_cost_A: %q is no plan of %d steps", name, costs.Steps)
		}
		list, _ := costs.Plan(count, first, last)
		r.decided(c.stem+"/plan "+name, numbers(list), numbers(plans[name]))
	}
	return nil
}

// number returns the number in text, or what stands for none.
func number(text string, none int) int {
	if n, err := strconv.Atoi(text); err == nil {
		return n
	}
	return none
}

// compareEach checks got against want, each number by its own size. Where want is infinite or zero
// got must be the same.
func (r *run) compareEach(name string, got, want []float32) {
	ratios, ones := make([]float32, len(got)), make([]float32, len(want))
	for i := range ones {
		ones[i] = 1
	}
	for i := range min(len(got), len(want)) {
		switch g, w := float64(got[i]), float64(want[i]); {
		case g == w:
			ratios[i] = 1
		case w != 0 && !math.IsInf(w, 0):
			ratios[i] = float32(g / w)
		}
	}
	r.compare(name, ratios, ones, runningTolerance)
}

type cemOptions struct {
	Full       int     `json:"Ns"`
	Weighter   string  `json:"weighter"`
	Interval   int     `json:"interval"`
	FreshRatio float64 `json:"fresh_ratio"`
}

func recordedCEM(c *recording, _ string, o cemOptions) (reuse.Policy, error) {
	plans, err := c.plans("plans")
	if err != nil {
		return nil, err
	}
	name := fmt.Sprintf("%s_%d", o.Weighter, o.Full)
	list, ok := plans[name]
	if !ok || o.Interval != 1 {
		return nil, fmt.Errorf("metadata plans: no %s with an interval of %d", name, o.Interval)
	}
	policy := reuse.NewCEM()
	policy.Ratio = o.FreshRatio
	for _, s := range list { // steps count down from the first of them
		policy.List = append(policy.List, list[0]-s)
	}
	return policy, nil
}

// plannedPriors checks CEM's priors on the uncached run of sample A, priors_of_A [9, T], and the
// plans that follow from the recorded priors of other runs.
func (r *run) plannedPriors(m *dit.Model, c, inputs *recording) error {
	r.work("%s/priors_of_A", c.stem)
	measured := new(calibrate.Priors)
	if _, err := r.fromSample(m, inputs, "A", plannedSampler, measured.Policy()); err != nil {
		return err
	}
	shape, err := c.shape("priors", 2)
	if err != nil {
		return err
	}
	steps := measured.Steps
	if shape[0] != 9 || shape[1] != steps {
		return fmt.Errorf("tensor priors has shape %v, want [9 %d]", shape, steps)
	}
	var got []float32
	for gap := 1; gap <= shape[0]; gap++ {
		for s := range steps {
			got = append(got, float32(measured.At(gap, steps-1-s)))
		}
	}
	r.compareRecorded(c, "priors_of_A", got, runningTolerance)
	recorded, err := c.Float64("priors")
	if err != nil {
		return err
	}
	values := make([][]float64, shape[0])
	for i := range values {
		for p := range steps {
			values[i] = append(values[i], recorded[(i+1)*steps-1-p])
		}
	}
	priors := calibrate.NewPriors(values)
	if err := r.priorPlans(c, "plans", priors, 1); err != nil {
		return err
	}
	return r.priorPlans(c, "plans_interval2", priors, 2)
}

// planName is the name of a plan of CEM: the weight of gaps and the number of full steps.
var planName = regexp.MustCompile(`^(none|linear|quadratic)_(\d+)$`)

// priorPlans checks the plans of a metadata entry, which list the steps counted down.
func (r *run) priorPlans(c *recording, entry string, priors *calibrate.Priors, interval int) error {
	plans, err := c.plans(entry)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(plans)) {
		found := planName.FindStringSubmatch(name)
		if found == nil || number(found[2], 0) < 1 || number(found[2], 0) > priors.Steps {
			return fmt.Errorf("metadata %s: %q is no name of a plan", entry, name)
		}
		list, _ := priors.Plan(number(found[2], 0), interval, calibrate.CEMWeight(found[1]))
		for i := range list {
			list[i] = priors.Steps - 1 - list[i]
		}
		r.decided(fmt.Sprintf("%s/%s %s", c.stem, entry, name), numbers(list), numbers(plans[name]))
	}
	return nil
}

type l2pOptions struct {
	Computed []int  `json:"computed"`
	Feature  string `json:"feature"`
	Weights  string `json:"weights"`
}

func recordedL2P(c *recording, _ string, o l2pOptions) (reuse.Policy, error) {
	feature, ok := map[string]string{
		"network output before guidance":    reuse.OutputFeature,
		"hidden state after the last block": reuse.HiddenFeature,
	}[o.Feature]
	if !ok {
		return nil, nil
	}
	weights, err := c.matrix(o.Weights)
	if err != nil {
		return nil, err
	}
	policy := &reuse.L2P{List: o.Computed, Feature: feature}
	for i := range weights.Rows {
		policy.Weights = append(policy.Weights, weights.Row(i))
	}
	return policy, nil
}

// plannedWeights checks L2P's products on the uncached run of sample A, gram_out_of_A [T, T], and
// the weights that follow from the recorded products of other runs.
func (r *run) plannedWeights(m *dit.Model, c, inputs *recording) error {
	r.work("%s/gram_out_of_A", c.stem)
	measured := &calibrate.Gram{Feature: reuse.OutputFeature}
	if _, err := r.fromSample(m, inputs, "A", plannedSampler, measured.Policy()); err != nil {
		return err
	}
	if c.has("gram_out_of_A") {
		r.compareRecorded(c, "gram_out_of_A", flat(measured.G), tolerance)
	}
	if !c.has("gram_out") {
		return nil
	}
	products, err := c.Float64("gram_out")
	if err != nil {
		return err
	}
	steps := len(measured.G)
	if len(products) != steps*steps {
		return fmt.Errorf("tensor gram_out has %d numbers, want %d", len(products), steps*steps)
	}
	gram := new(calibrate.Gram)
	for row := range slices.Chunk(products, steps) {
		gram.G = append(gram.G, row)
	}
	for _, w := range []struct {
		name    string
		columns []int
	}{{"W_all_out", nil}, {"W_computed_out_n3", everyThird(steps)}} {
		if !c.has(w.name) {
			continue
		}
		weights, err := gram.Weights(w.columns)
		if err != nil {
			return err
		}
		r.compareRecorded(c, w.name, flat(weights), tolerance)
	}
	return nil
}

// everyThird lists the first three positions and every third after them.
func everyThird(steps int) []int {
	list := []int{0, 1}
	for p := 2; p < steps; p += 3 {
		list = append(list, p)
	}
	return list
}

func flat(rows [][]float64) []float32 {
	var list []float32
	for _, row := range rows {
		list = append(list, float32s(row)...)
	}
	return list
}
