package calibrate

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/eval"
	"github.com/tokencache/tokencache/internal/atomicfile"
	"github.com/tokencache/tokencache/reuse"
)

// CoverageOptions say what contracts are put to the test on.
type CoverageOptions struct {
	Sampling   tokencache.Sampling
	Levels     []float64         // promised PSNRs in dB
	References []reuse.Reference // what they are to, each with all levels; none means ToUncached
	// Policy returns the policy whose contract is tested for a promise, or why there is none.
	Policy     func(reuse.Promise) (reuse.Policy, error)
	Subjects   *tokencache.Subjects // what the images show in turn; nil: all classes
	Images     int
	Seed       uint64  // of their noise, which neither the policy nor its contract have seen
	Confidence float64 // of the intervals
	Keep       string  // folder that images are kept in, so that an interrupted test resumes; "": none
	Command    string  // recorded

	OnStage    func(what string)         // a part of the work begins; may be nil
	OnProgress func(done, total float64) // in network evaluations of an image; may be nil
}

// Coverage is how many unseen images keep what contracts promise, and at what cost.
type Coverage struct {
	Model       string              `json:"model"`
	Fingerprint string              `json:"model_fingerprint"`
	Sampling    tokencache.Sampling `json:"sampling"`
	Images      int                 `json:"images"`
	Seed        uint64              `json:"seed"`
	Confidence  float64             `json:"confidence"` // of the intervals
	Levels      []CoverageLevel     `json:"levels"`
	Command     string              `json:"command,omitempty"`
}

// CoverageLevel is what came out for one promise.
type CoverageLevel struct {
	MinPSNR   float64         `json:"min_psnr_db"`
	Reference reuse.Reference `json:"reference"`
	// Refused is why there is no such promise, "" if there is.
	Refused   string  `json:"refused,omitempty"`
	Policy    string  `json:"policy,omitempty"`
	Promised  float64 `json:"promised_share,omitempty"` // of unseen images
	Tolerance float64 `json:"tolerance_db"`

	Checks     float64 `json:"checks"`     // forecasts of an image that were checked, on average
	Rejections float64 `json:"rejections"` // those that were computed, likewise
	// SavingsLeft is the share of the operations that the policy saves which its checks leave.
	SavingsLeft float64 `json:"savings_left"`

	// With the contract, with the policy alone, and with everything computed; nil if refused.
	Contract *Covered `json:"contract,omitempty"`
	Alone    *Covered `json:"policy_alone,omitempty"`
	Uncached *Covered `json:"uncached,omitempty"`
}

// Covered is how many images keep a PSNR, and what an image takes.
type Covered struct {
	Kept     int     `json:"kept"`
	Coverage float64 `json:"coverage"` // their share
	// Low and High are the Clopper-Pearson interval of the share among all images.
	Low  float64 `json:"low"`
	High float64 `json:"high"`

	PSNR  *eval.Fidelity `json:"psnr"`
	FLOPs float64        `json:"flops"` // of an image, on average
	NFE   float64        `json:"nfe"`   // the same in passes of the network: FLOPs over those of one
	Fewer float64        `json:"fewer"` // how many times fewer than uncached
}

// Cover generates unseen images under contracts and without, and reports how many keep what is
// promised: in truth, by the uncached images or the converged solution. Uncached images are sampled
// once for all levels.
func Cover(ctx context.Context, p *tokencache.Pipeline, o CoverageOptions) (*Coverage, error) {
	if o.Images < 1 || !(o.Confidence > 0 && o.Confidence < 1) {
		return nil, fmt.Errorf("coverage of %d images with a confidence of %g: want one image or more, and between 0 and 1",
			o.Images, o.Confidence)
	}
	if len(o.References) == 0 {
		o.References = []reuse.Reference{reuse.ToUncached}
	}
	var err error
	if o.Subjects, err = p.SubjectsOr(o.Subjects); err != nil {
		return nil, err
	}
	c := &coverer{CoverageOptions: o, p: p, sampled: map[string][]keptImage{}}
	if err := c.plan(); err != nil {
		return nil, err
	}
	if err := c.announce(ctx); err != nil {
		return nil, err
	}
	if err := c.sample(ctx); err != nil {
		return nil, err
	}
	report := &Coverage{
		Model:       p.Name(),
		Fingerprint: p.Fingerprint(),
		Sampling:    o.Sampling.WithDefaults(),
		Images:      o.Images,
		Seed:        o.Seed,
		Confidence:  o.Confidence,
		Command:     o.Command,
	}
	for i := range c.tests {
		if err := c.evaluate(&c.tests[i]); err != nil {
			return nil, err
		}
		report.Levels = append(report.Levels, c.tests[i].CoverageLevel)
	}
	return report, nil
}

// Write writes the report to a file, as JSON.
func (c *Coverage) Write(path string) error {
	return atomicfile.Write(path, func(w io.Writer) error {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		e.SetEscapeHTML(false)
		return e.Encode(c)
	})
}

// coverer is the state of a Cover.
type coverer struct {
	CoverageOptions
	p         *tokencache.Pipeline
	steps     int     // evaluations of an uncached image
	passFLOPs float64 // of one

	tests   []coverageTest
	runs    []coverageRun // each once, the references first
	sampled map[string][]keptImage
}

// coverageTest is a promise and the runs that it compares.
type coverageTest struct {
	CoverageLevel
	reference, guarded, alone string // keys of runs
}

// coverageRun is a run, with what an image of it takes, in passes.
type coverageRun struct {
	*keptRun
	key    string
	name   string
	passes float64
}

const (
	uncachedRun  = "uncached images"
	convergedRun = "converged images"
)

// plan works out which runs there are.
func (c *coverer) plan() error {
	plan, err := c.p.Plan(c.Sampling)
	if err != nil {
		return err
	}
	c.steps = plan.Steps()
	needs, err := c.p.Estimate(requestOf(c.Subjects, c.Sampling, nil, 1, c.Seed))
	if err != nil {
		return err
	}
	c.passFLOPs = float64(needs.UncachedFLOPs) / float64(c.steps)
	c.add(coverageRun{key: uncachedRun, name: uncachedRun, passes: float64(c.steps)}, nil)
	for _, to := range c.References {
		for _, level := range c.Levels {
			if err := c.planTest(reuse.Promise{MinPSNR: level, Reference: cmp.Or(to, reuse.ToUncached)}); err != nil {
				return err
			}
		}
	}
	if !slices.ContainsFunc(c.tests, func(t coverageTest) bool { return t.Refused == "" }) {
		c.runs = nil
	}
	return nil
}

// add adds a run unless it is there.
func (c *coverer) add(r coverageRun, policy reuse.Policy) string {
	for _, other := range c.runs {
		if other.key == r.key {
			return r.key
		}
	}
	r.keptRun = &keptRun{
		pipeline:  c.p,
		subjects:  c.Subjects,
		request:   requestOf(c.Subjects, c.Sampling, policy, c.Images, c.Seed),
		converged: r.key == convergedRun,
		dir:       c.Keep,
	}
	c.runs = append(c.runs, r)
	return r.key
}

// planTest adds what a promise takes, or why it is refused.
func (c *coverer) planTest(promise reuse.Promise) error {
	test := coverageTest{CoverageLevel: CoverageLevel{MinPSNR: promise.MinPSNR, Reference: promise.Reference}}
	refused := func(err error) error {
		if !refuses(err) {
			return err
		}
		test.Refused = err.Error()
		c.tests = append(c.tests, test)
		return nil
	}
	policy, err := c.Policy(promise)
	if err != nil {
		return refused(err)
	}
	test.Policy = policy.String()
	req := requestOf(c.Subjects, c.Sampling, policy, 1, c.Seed)
	req.MinPSNR, req.Reference = promise.MinPSNR, promise.Reference
	guarded, err := reuse.Guard(policy, promise, c.p.Setting(c.Sampling))
	if err == nil {
		err = c.p.Check(req)
	}
	if err != nil {
		return refused(err)
	}
	t, ok := policy.(*reuse.Trained)
	if !ok || t.Contract == nil {
		return fmt.Errorf("policy %s computes everything, which keeps any PSNR to the uncached images", policy)
	}
	if t.Saw(c.Seed) {
		return fmt.Errorf("policy %s, or its contract, was made from images of seed %d: want another seed", policy, c.Seed)
	}
	test.reference = uncachedRun
	if promise.Reference == reuse.ToConverged {
		const evaluations = 197
		test.reference = c.add(coverageRun{key: convergedRun, name: convergedRun, passes: evaluations}, nil)
	}
	point, _ := t.Contract.For(promise)
	test.Promised, test.Tolerance = t.Contract.Coverage, point.Tolerance
	run := func(tolerance, fewer float64) string {
		checked := &reuse.Guarded{Policy: t, Tolerance: tolerance}
		return c.add(coverageRun{
			key:    reuse.ContentHash(checked),
			name:   fmt.Sprintf("images of %s, tolerance %g dB", t, tolerance),
			passes: float64(c.steps) / fewer,
		}, checked)
	}
	test.alone = run(0, t.Contract.Points[0].FLOPs)
	test.guarded = run(guarded.(*reuse.Guarded).Tolerance, point.FLOPs)
	c.tests = append(c.tests, test)
	return nil
}

// refuses reports whether an error says that a promise cannot be made.
func refuses(err error) bool {
	return errors.As(err, new(*reuse.NoContractError)) || errors.As(err, new(*reuse.ContractLimitError)) ||
		errors.As(err, new(*reuse.ContractMismatchError)) || errors.As(err, new(*reuse.UncachedMissesError))
}

// announce says how long it will take: passes that are left, times what one takes.
func (c *coverer) announce(ctx context.Context) error {
	left, err := c.left()
	if err != nil || left == 0 || c.OnStage == nil {
		return err
	}
	seconds, err := c.passSeconds(ctx)
	if err != nil {
		return err
	}
	took := time.Duration(left * seconds * float64(time.Second))
	c.OnStage(fmt.Sprintf("%.0f evaluations of the network at %.1f ms: about %s", left, 1e3*seconds, took.Round(time.Second)))
	return nil
}

// left is how many passes there are to do.
func (c *coverer) left() (passes float64, err error) {
	for _, r := range c.runs {
		missing, err := r.missing()
		if err != nil {
			return 0, err
		}
		passes += float64(missing) * r.passes
	}
	return passes, nil
}

// passSeconds measures a pass of an image, where as many run at the same time as will.
func (c *coverer) passSeconds(ctx context.Context) (float64, error) {
	const steps, images = 2, 4
	s := tokencache.Sampling{Steps: steps, Guidance: c.Sampling.Guidance}
	n := images * c.p.Threads()
	start := time.Now()
	_, err := c.p.Generate(ctx, requestOf(c.Subjects, s, nil, n, c.Seed))
	return time.Since(start).Seconds() / float64(steps*n), err
}

// sample samples all runs.
func (c *coverer) sample(ctx context.Context) error {
	left, err := c.left()
	if err != nil {
		return err
	}
	done := 0.0
	for _, r := range c.runs {
		missing, err := r.missing()
		if err != nil {
			return err
		}
		if missing > 0 && c.OnStage != nil {
			c.OnStage(fmt.Sprintf("sampling %d %s", missing, r.name))
		}
		r.onStep = func(s tokencache.Progress) {
			if done += float64(s.FLOPs) / c.passFLOPs; c.OnProgress != nil {
				c.OnProgress(min(done, left), left)
			}
		}
		if c.sampled[r.key], err = r.sample(ctx); err != nil {
			return err
		}
	}
	return nil
}

// evaluate fills in what came out of a test.
func (c *coverer) evaluate(t *coverageTest) (err error) {
	if t.Refused != "" {
		return nil
	}
	references := c.sampled[t.reference]
	if t.Contract, err = c.covered(c.sampled[t.guarded], references, t.MinPSNR); err != nil {
		return err
	}
	if t.Alone, err = c.covered(c.sampled[t.alone], references, t.MinPSNR); err != nil {
		return err
	}
	if t.Uncached, err = c.covered(c.sampled[uncachedRun], references, t.MinPSNR); err != nil {
		return err
	}
	t.SavingsLeft = 1
	if saved := t.Uncached.FLOPs - t.Alone.FLOPs; saved > 0 {
		t.SavingsLeft = (t.Uncached.FLOPs - t.Contract.FLOPs) / saved
	}
	for _, m := range c.sampled[t.guarded] {
		t.Checks += float64(m.Evidence.Checks) / float64(c.Images)
		t.Rejections += float64(m.Evidence.Rejections) / float64(c.Images)
	}
	return nil
}

// covered counts the images that keep a PSNR.
func (c *coverer) covered(images, references []keptImage, minPSNR float64) (*Covered, error) {
	all, err := psnrs(images, references)
	if err != nil {
		return nil, err
	}
	k := &Covered{PSNR: eval.NewFidelity(all), FLOPs: meanFLOPs(images)}
	for _, psnr := range all {
		if psnr >= minPSNR {
			k.Kept++
		}
	}
	k.Coverage = float64(k.Kept) / float64(len(all))
	k.Low, k.High = eval.ClopperPearson(k.Kept, len(all), c.Confidence)
	k.NFE = k.FLOPs / c.passFLOPs
	k.Fewer = meanFLOPs(c.sampled[uncachedRun]) / k.FLOPs
	return k, nil
}
