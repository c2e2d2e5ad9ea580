package comparison

import (
	"context"
	"fmt"

	"github.com/tokencache/tokencache/report"
	"github.com/tokencache/tokencache/reuse"
)

// MaxLoss is what a number format may lose, in dB of the mean PSNR to the converged solution, and
// be chosen.
const MaxLoss = 0.1

// formatSeeds is how far the seed of ChooseFormat's images is from a calibration's: none of a
// comparison's or a search's.
const formatSeeds = 4 * otherImages

// ChooseDefaults sets the settings of a choice of number formats for a policy whose calibration
// learns from images of seed.
func ChooseDefaults(o *Options, seed uint64) {
	const batch = 4
	o.Seed = seed + formatSeeds
	o.Batch, o.Timed, o.Repeat, o.Spread = batch, batch, 3, true
}

// ChooseFormat measures what each of o.Formats gains and loses against o.Pipeline, which is in
// float32, under a policy of o.Sampling, and returns the policy with the choice: the fastest format
// that loses at most maxLoss and whose Fréchet distance is not larger beyond its interval.
// o.Policies is not used.
func ChooseFormat(ctx context.Context, o Options, policy string, maxLoss float64) (*reuse.Trained, *Result, error) {
	made, err := o.Open(policy)
	if err != nil {
		return nil, nil, err
	}
	t := &reuse.Trained{
		Spec:        reuse.Spec(made.String()),
		Model:       o.Pipeline.Name(),
		Fingerprint: o.Pipeline.Fingerprint(),
		Sampling:    o.Sampling.WithDefaults(),
		Provenance:  map[string]any{"command": o.Command},
	}
	if calibrated, ok := made.(*reuse.Trained); ok {
		again := *calibrated
		again.Precision = nil
		t = &again
	}
	if t.Saw(o.Seed) {
		return nil, nil, fmt.Errorf("the policy %s was made from images of seed %d: want another seed", t, o.Seed)
	}
	o.Policies, o.Axes, o.Timed = []string{policy}, false, min(o.Timed, o.Count)
	if t.Kind() == reuse.Uncached {
		o.Policies = nil
	}
	r, err := newRunner(o)
	if err != nil {
		return nil, nil, err
	}
	result, err := r.run(ctx)
	if err != nil {
		return nil, nil, err
	}
	t.Precision, err = r.choice(maxLoss)
	return t, result, err
}

// choice decides by the cells of a comparison of one policy, or of none.
func (r *runner) choice(maxLoss float64) (*reuse.Precision, error) {
	p := &reuse.Precision{
		MaxLoss: maxLoss,
		Images:  r.Count,
		Seed:    r.Seed,
		Level:   r.Pipeline.Level(),
		Command: r.Command,
	}
	own := r.result.Cells[0]
	for _, c := range r.result.Cells {
		if c.Error != "" {
			return nil, fmt.Errorf("%s %s: %s", c.Name(), c.Policy, c.Error)
		}
		if c.DType == "" {
			own = c // of the policy, which comes after the uncached model
		}
	}
	ownImages, err := r.resultOf(&own)
	if err != nil {
		return nil, err
	}
	for _, c := range r.result.Cells {
		if c.DType == "" || c.Method != own.Method {
			continue
		}
		f := reuse.FormatLoss{DType: c.DType, Speedup: c.Speedup / own.Speedup}
		if own.PSNRConverged != nil {
			loss := own.PSNRConverged.Mean - c.PSNRConverged.Mean
			f.Loss = &loss
		}
		d, err := r.resultOf(&c)
		if err != nil {
			return nil, err
		}
		images, err := d.first(r.Count)
		if err != nil {
			return nil, err
		}
		near, err := fidelity(images, ownImages)
		if err != nil {
			return nil, err
		}
		f.PSNR = near.Mean
		if own, ok := r.drawn[ownImages.Run]; ok {
			e := r.drawn[d.Run].over(own)
			f.Frechet = &reuse.FrechetFactor{Value: e.Value, Low: e.Low, High: e.High}
		}
		p.Formats = append(p.Formats, f)
	}
	p.Note = r.unknown()
	p.Choose()
	return p, nil
}

// resultOf opens the result that a cell is of, which was made for no speed.
func (r *runner) resultOf(c *report.Cell) (*result, error) {
	s := run{Method: c.Method, Policy: c.Policy, DType: c.DType}
	policy, sampling, err := r.policyOf(s)
	if err != nil {
		return nil, err
	}
	return r.open(s, policy, sampling)
}

// unknown says what a choice of a format does not rest on.
func (r *runner) unknown() string {
	note := ""
	if c := r.result.Converged; c != nil && c.None != "" {
		note = "no loss is known: " + c.None
	}
	if r.Reference == nil || r.Reference.Gaussian == nil {
		if note != "" {
			note += "; "
		}
		note += "no Fréchet distances: there are no real images of the model's kind"
	}
	return note
}
