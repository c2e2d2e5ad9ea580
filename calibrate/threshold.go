package calibrate

import (
	"context"
	"math"

	"github.com/tokencache/tokencache/reuse"
)

// Bounds of the search for a threshold: a relative error, a sum of relative changes, or a router
// weight.
const (
	minThreshold = 1e-3
	maxThreshold = 1e2
)

// speedSlack is the share by which a method may stay behind the wanted speed.
const speedSlack = 0.05

// threshold sets the threshold of a policy, from minThreshold to limit, so that the counted FLOPs
// fall by the wanted factor, or as near to it as the method's steps allow. A larger threshold
// computes less.
func (m *maker) threshold(ctx context.Context, t *reuse.Trained, method Method, limit float64,
	set func(float64)) error {
	m.stage("counting FLOPs for %.2f times fewer", m.Speed)
	const images = 2 // a threshold computes different steps of different images
	req := m.request(images, m.Seed)
	req.Policy = t
	reduction := func(threshold float64) (float64, error) {
		set(threshold)
		r, err := m.p.Generate(ctx, req)
		if err != nil {
			return 0, err
		}
		return r.Stats.FLOPReduction(), nil
	}
	largest, err := reduction(limit)
	if err != nil {
		return err
	}
	if largest < m.Speed*(1-speedSlack) {
		return unmet("a speed of %.4gx cannot be met: whatever its threshold, %s computes at most %.2f times "+
			"fewer FLOPs; ask for less, or take another method", m.Speed, method.Name(), largest)
	}
	low, high := minThreshold, limit
	best, far := limit, math.Abs(math.Log(largest/m.Speed))
	for range 10 {
		middle := math.Sqrt(low * high)
		got, err := reduction(middle)
		if err != nil {
			return err
		}
		if d := math.Abs(math.Log(got / m.Speed)); d < far {
			best, far = middle, d
		}
		if got < m.Speed {
			low = middle
		} else {
			high = middle
		}
	}
	const digits = 1e4
	set(math.Round(best*digits) / digits)
	return nil
}
