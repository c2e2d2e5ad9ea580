package reuse

import "github.com/tokencache/tokencache/seam"

// Spec is a policy by its text as Parse takes it, with nothing to it but its parameters: the result
// of a search among methods may be one.
type Spec string

// String implements Policy.
func (s Spec) String() string { return string(s) }

// Validate reports a text that Parse does not take.
func (s Spec) Validate() error {
	_, err := Parse(string(s))
	return err
}

// Kind implements Described.
func (s Spec) Kind() Kind {
	if p, err := Parse(string(s)); err == nil {
		return p.(Described).Kind()
	}
	return ""
}

// Granularity implements Described.
func (s Spec) Granularity() Granularity {
	if p, err := Parse(string(s)); err == nil {
		return p.(Described).Granularity()
	}
	return ""
}

// ContentHash implements ContentHasher: texts that mean the same policy have the same.
func (s Spec) ContentHash() string {
	if p, err := Parse(string(s)); err == nil {
		return ContentHash(p)
	}
	return string(s)
}

// CacheBytes implements Policy.
func (s Spec) CacheBytes(m seam.Model, plan Plan, samples int) (int64, error) {
	p, err := Parse(string(s))
	if err != nil {
		return 0, err
	}
	return p.CacheBytes(m, plan, samples)
}

// Shares implements Scheduled.
func (s Spec) Shares(m *seam.Shape, plan Plan) ([]float64, error) {
	p, err := Parse(string(s))
	if err != nil {
		return nil, err
	}
	return sharesOf(p, m, plan)
}

// NewRun implements Policy.
func (s Spec) NewRun(m seam.Model, plan Plan, samples int) (Run, error) {
	p, err := Parse(string(s))
	if err != nil {
		return nil, err
	}
	return p.NewRun(m, plan, samples)
}
