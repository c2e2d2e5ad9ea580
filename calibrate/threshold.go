package calibrate

import (
	"context"
	"fmt"
	"math"

	"github.com/tokencache/tokencache/reuse"
)

// Bounds of thresholds that are looked through, which are relative errors, sums of relative changes, or weights of routers.
const (
	leastThreshold = 1e-3
	mostThreshold  = 1e2
)

// threshold sets the threshold of a fitted policy so that the counted FLOPs fall by the wanted factor, or as near to it as the method's steps allow: the larger it is, the less is computed.
func (m *maker) threshold(ctx context.Context, t *reuse.Trained, method string, most float64, set func(float64)) error {
	m.stage("counting FLOPs for %.2f times fewer", m.Speed)
	const images = 2 // what a threshold computes differs from image to image
	req := m.request(images, m.Seed)
	req.Policy = t
	reduction := func(threshold float64) (float64, error) {
		set(threshold)
		r, err := m.p.Generate(ctx, req)
		if err != nil {
			return 0, err
		}
		return float64(r.Stats.UncachedFLOPs) / float64(r.Stats.FLOPs), nil
	}
	largest, err := reduction(most)
	if err != nil {
		return err
	}
	if largest < m.Speed*(1-nearSpeed) {
		return fmt.Errorf("a speed of %.4gx cannot be met: whatever its threshold, %s computes at most %.2f times fewer FLOPs; ask for less, or take another --method", m.Speed, method, largest)
	}
	low, high := leastThreshold, most
	best, far := most, math.Abs(math.Log(largest/m.Speed))
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

// nearSpeed is by how much, as a share, a method may stay behind the wanted speed.
const nearSpeed = 0.05
