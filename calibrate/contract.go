package calibrate

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/eval"
	"github.com/tokencache/tokencache/internal/median"
	"github.com/tokencache/tokencache/reuse"
)

// ContractOptions are the settings of a contract's calibration.
type ContractOptions struct {
	Sampling   tokencache.Sampling  // that the contract holds for
	Subjects   *tokencache.Subjects // what the images show in turn; nil: all classes
	Images     int                  // of the calibration
	Seed       uint64               // of their noise, which the policy should not have seen
	Coverage   float64              // share of unseen images that are to keep a promised PSNR
	Confidence float64              // probability, over calibrations, that they do
	// Converged also calibrates the PSNR to the converged solution, which takes four times as long as
	// sampling the uncached images.
	Converged bool
	// Tolerances are tried beyond none, in dB above the median estimate of the images when nothing is
	// rejected. Without any the contract only says what the policy keeps as it is.
	Tolerances []float64
	Command    string // recorded in the contract

	// Keep is the folder that images are kept in, so that an interrupted calibration resumes, and
	// that others of the same model and sampling take the uncached images from. "" keeps none.
	Keep string

	OnStage func(what string)         // a part of the work begins; may be nil
	OnImage func(tokencache.Progress) // a step was sampled; may be nil
}

// DefaultContract returns the options of a contract, without Sampling.
func DefaultContract() ContractOptions {
	return ContractOptions{
		Images:     200,
		Seed:       97,
		Coverage:   0.95,
		Confidence: 0.95,
		Tolerances: []float64{-1, 2, 5, 10},
	}
}

// Contract calibrates what PSNR any policy's images keep when its forecasts are checked, and
// returns the policy with its contract, and with its PSNR on these images in place of the one that it
// had; the given one is not changed. For some tolerances it
// samples images with the checked policy and measures the PSNR of each to the uncached one, and
// with o.Converged to the converged solution. What is promised is the k-th smallest of n, a
// tolerance limit: see eval.ToleranceRank. k is the largest of which, with probability
// o.Confidence, at least o.Coverage of all images keep the PSNR at all tolerances and references at
// once (Bonferroni), so that the promises hold, too, when the cheapest that suffices is chosen. If
// unseen images are like those of the calibration the expected share below is k/(n+1), as in split
// conformal prediction (Lei et al. 2018, arXiv 1604.04173).
func Contract(
	ctx context.Context, p *tokencache.Pipeline, policy reuse.Policy, o ContractOptions,
) (*reuse.Trained, error) {
	if !(o.Coverage > 0 && o.Coverage < 1 && o.Confidence > 0 && o.Confidence < 1) {
		return nil, fmt.Errorf("contract: a coverage of %g with a confidence of %g: want more than 0 and less than 1",
			o.Coverage, o.Confidence)
	}
	var err error
	if o.Subjects, err = p.SubjectsOr(o.Subjects); err != nil {
		return nil, err
	}
	t, text := contracted(p, policy, o)
	if t.Saw(o.Seed) {
		return nil, fmt.Errorf("contract: the policy %s was made from images of seed %d: want another seed", t, o.Seed)
	}
	if t.Kind() == reuse.Uncached {
		o.Tolerances = nil
	}
	c := &contractMaker{ContractOptions: o, p: p, t: t}
	if err := c.setRank(); err != nil {
		return nil, err
	}
	if err := c.references(ctx); err != nil {
		return nil, err
	}
	made := &reuse.Contract{
		Policy:     text,
		PolicyHash: reuse.PolicyHash(policy),
		Setting:    p.Setting(o.Sampling),
		Images:     o.Images,
		Seed:       o.Seed,
		Coverage:   o.Coverage,
		Confidence: o.Confidence,
		Command:    o.Command,
	}
	if c.converged != nil {
		if made.Baseline, err = c.baseline(); err != nil {
			return nil, err
		}
	}
	if err := c.points(ctx, made); err != nil {
		return nil, err
	}
	t.Contract = made
	t.Provenance = maps.Clone(t.Provenance)
	t.Provenance["measured"] = c.evidence
	t.PSNR = RoundPSNR(c.evidence.PSNRUncached.Mean)
	if t.Speed.FLOPs == 0 {
		t.Speed.FLOPs = made.Points[0].FLOPs
	}
	return t, nil
}

// contracted returns a policy as one that can hold a contract: a copy of a calibrated one, or one
// of its parameters; and its parameters.
func contracted(p *tokencache.Pipeline, policy reuse.Policy, o ContractOptions) (made *reuse.Trained, text string) {
	made = &reuse.Trained{
		Spec:        reuse.Spec(policy.String()),
		Model:       p.Name(),
		Fingerprint: p.Fingerprint(),
		Sampling:    o.Sampling.WithDefaults(),
		Provenance:  map[string]any{"command": o.Command},
	}
	text = policy.String()
	if t, ok := policy.(*reuse.Trained); ok {
		again := *t
		made, text = &again, t.Parameters()
	}
	made.Contract = nil
	return made, text
}

// contractMaker is the state of a contract's calibration.
type contractMaker struct {
	ContractOptions
	p    *tokencache.Pipeline
	t    *reuse.Trained
	rank int // of the PSNR that is promised, from 1

	uncached, converged []keptImage // converged is nil if it is not wanted
	evidence            *Evidence   // of the policy as it is
}

// setRank sets the rank of what is promised, or reports that there are too few images for any.
func (c *contractMaker) setRank() error {
	promises := 1 + len(c.Tolerances)
	if c.Converged {
		promises = 2*promises + 1 // and that of the uncached images
	}
	confidence := 1 - (1-c.Confidence)/float64(promises)
	if c.rank = eval.ToleranceRank(c.Images, c.Coverage, confidence); c.rank > 0 {
		return nil
	}
	enough := math.Ceil(math.Log(1-confidence) / math.Log(c.Coverage))
	return fmt.Errorf("contract: %d images for a coverage of %g with a confidence of %g at %d tolerances: want at least %.0f",
		c.Images, c.Coverage, c.Confidence, 1+len(c.Tolerances), enough)
}

func (c *contractMaker) stage(format string, args ...any) {
	if c.OnStage != nil {
		c.OnStage(fmt.Sprintf(format, args...))
	}
}

// run returns a run of the calibration's images.
func (c *contractMaker) run(policy reuse.Policy) *keptRun {
	return &keptRun{
		pipeline: c.p,
		subjects: c.Subjects,
		request:  requestOf(c.Subjects, c.Sampling, policy, c.Images, c.Seed),
		dir:      c.Keep,
		onStep:   c.OnImage,
	}
}

// requestOf returns a request of images of all subjects in turn.
func requestOf(
	subjects *tokencache.Subjects, s tokencache.Sampling, policy reuse.Policy, images int, seed uint64,
) tokencache.Request {
	req := tokencache.Request{Seed: seed, Sampling: s, Policy: policy}
	subjects.Cycle(&req, images)
	return req
}

// references samples what the images are compared with.
func (c *contractMaker) references(ctx context.Context) (err error) {
	c.stage("sampling %d uncached images", c.Images)
	if c.uncached, err = c.run(nil).sample(ctx); err != nil || !c.Converged {
		return err
	}
	c.stage("solving the ODE of %d images until it converges", c.Images)
	r := c.run(nil)
	r.converged = true
	c.converged, err = r.sample(ctx)
	return err
}

// baseline returns how near the uncached images are to the converged solution.
func (c *contractMaker) baseline() (*reuse.ContractBaseline, error) {
	const quantiles = 20 // parts
	all, err := finitePSNRs(c.uncached, c.converged)
	if err != nil {
		return nil, err
	}
	b := &reuse.ContractBaseline{PSNR: c.promised(all)}
	slices.Sort(all)
	for i := range quantiles + 1 {
		b.Quantiles = append(b.Quantiles, hundredths(all[i*(len(all)-1)/quantiles]))
	}
	return b, nil
}

// psnrs returns the PSNR of each image to its reference, in dB; that of identical ones is infinite.
func psnrs(images, references []keptImage) ([]float64, error) {
	list := make([]float64, len(images))
	for i, m := range images {
		var err error
		if list[i], err = eval.PSNRPixels(m.Pixels, references[i].Pixels); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// finitePSNRs is psnrs where identical images count as eval.IdenticalPSNR.
func finitePSNRs(images, references []keptImage) ([]float64, error) {
	list, err := psnrs(images, references)
	for i, v := range list {
		list[i] = min(v, eval.IdenticalPSNR)
	}
	return list, err
}

// promised returns what is promised of images with these PSNRs.
func (c *contractMaker) promised(psnr []float64) float64 {
	return math.Floor(100*slices.Sorted(slices.Values(psnr))[c.rank-1]) / 100
}

func hundredths(x float64) float64 { return math.Round(100*x) / 100 }

// points measures all tolerances.
func (c *contractMaker) points(ctx context.Context, made *reuse.Contract) error {
	point, estimate, err := c.point(ctx, made, 0)
	if err != nil {
		return err
	}
	made.Points = append(made.Points, point)
	if estimate >= eval.IdenticalPSNR {
		return nil // nothing is forecast
	}
	for _, above := range c.Tolerances {
		tolerance := math.Round(estimate + above)
		if tolerance <= made.Points[len(made.Points)-1].Tolerance {
			continue
		}
		if point, _, err = c.point(ctx, made, tolerance); err != nil {
			return err
		}
		made.Points = append(made.Points, point)
	}
	return nil
}

// point measures a tolerance, and returns the median estimate next to it.
func (c *contractMaker) point(
	ctx context.Context, made *reuse.Contract, tolerance float64,
) (point reuse.ContractPoint, estimate float64, err error) {
	c.stage("checking %d images with a tolerance of %g dB", c.Images, tolerance)
	guarded := &reuse.Guarded{Policy: c.t, Tolerance: tolerance}
	images, err := c.run(guarded).sample(ctx)
	if err != nil {
		return point, 0, err
	}
	if tolerance == 0 {
		if c.evidence, err = c.measured(images); err != nil {
			return point, 0, err
		}
	}
	psnr, err := finitePSNRs(images, c.uncached)
	if err != nil {
		return point, 0, err
	}
	estimates, offsets, converged := make([]float64, len(images)), make([]float64, len(images)), []float64(nil)
	for i, m := range images {
		estimates[i] = m.Evidence.EstimatedPSNR
		offsets[i] = psnr[i] - estimates[i]
	}
	point = reuse.ContractPoint{
		Tolerance: tolerance,
		PSNR:      c.promised(psnr),
		Offset:    hundredths(median.Of(offsets)),
		FLOPs:     hundredths(meanFLOPs(c.uncached) / meanFLOPs(images)),
	}
	if c.converged == nil {
		return point, median.Of(estimates), nil
	}
	if converged, err = finitePSNRs(images, c.converged); err != nil {
		return point, 0, err
	}
	for i := range offsets {
		offsets[i] = converged[i] - made.Baseline.Join(estimates[i])
	}
	point.ConvergedPSNR, point.ConvergedOffset = c.promised(converged), hundredths(median.Of(offsets))
	return point, median.Of(estimates), nil
}

// measured returns how near images are to the references: those of the policy as it is, of which
// nothing was rejected.
func (c *contractMaker) measured(images []keptImage) (*Evidence, error) {
	e := NewEvidence(c.Subjects, c.Images, c.Seed, "")
	list, err := psnrs(images, c.uncached)
	if err != nil {
		return nil, err
	}
	e.PSNRUncached = eval.NewFidelity(list)
	if c.converged != nil {
		if list, err = psnrs(images, c.converged); err != nil {
			return nil, err
		}
		e.PSNRConverged = eval.NewFidelity(list)
	}
	return e, nil
}

// meanFLOPs returns what an image takes on average.
func meanFLOPs(images []keptImage) float64 {
	sum := 0.0
	for _, m := range images {
		sum += float64(m.FLOPs)
	}
	return sum / float64(len(images))
}
