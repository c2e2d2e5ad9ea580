package reuse

import (
	"github.com/tokencache/tokencache/dit"
	"github.com/tokencache/tokencache/tensor"
)

// NamedPolicy is a policy as Parse takes it, with nothing to it but its parameters: what a search among methods finds may be one.
type NamedPolicy string

// String implements Policy.
func (n NamedPolicy) String() string { return string(n) }

// Validate reports a policy that Parse does not take.
func (n NamedPolicy) Validate() error {
	_, err := Parse(string(n))
	return err
}

// NewRun implements Policy.
func (n NamedPolicy) NewRun(g *tensor.Graph, m *dit.Model, plan Plan, samples int, limit int64) (Run, error) {
	p, err := Parse(string(n))
	if err != nil {
		return nil, err
	}
	return p.NewRun(g, m, plan, samples, limit)
}
