package reuse

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"

	"github.com/tokencache/tokencache/seam"
)

// Schedule is a calibrated SmoothCache.
type Schedule struct {
	Threshold float64          `json:"threshold"` // that the schedule was made for
	Compute   map[string][]int `json:"compute"`   // see SmoothCache
}

// String returns the method with its threshold; the schedule is in the policy's folder.
func (s *Schedule) String() string { return fmt.Sprintf("smoothcache:threshold=%g", s.Threshold) }

var scheduleKey = regexp.MustCompile(`^(?:attn|mlp)(?:-([0-9]{1,4}))?$`)

// Validate reports a schedule that has no meaning.
func (s *Schedule) Validate() error {
	if len(s.Compute) == 0 {
		return errors.New("smoothcache: no schedule: want lists for attn and mlp, or for attn-0, mlp-0 and so on")
	}
	for key, list := range s.Compute {
		if !scheduleKey.MatchString(key) {
			return fmt.Errorf("smoothcache: a schedule for %q: want attn, mlp, or a block's attn-0, mlp-0 and so on", key)
		}
		for _, v := range list {
			if v != 0 && v != 1 {
				return fmt.Errorf("smoothcache: the schedule for %s has a %d: want 1 at the steps that compute, 0 at the others", key, v)
			}
		}
	}
	return nil
}

// CacheBytes implements Policy.
func (s *Schedule) CacheBytes(m seam.Model, plan Plan, samples int) (int64, error) {
	f, err := s.fixed(m.Shape(), plan)
	if err != nil {
		return 0, err
	}
	return f.CacheBytes(m, plan, samples)
}

// NewRun implements Policy.
func (s *Schedule) NewRun(m seam.Model, plan Plan, samples int) (Run, error) {
	f, err := s.fixed(m.Shape(), plan)
	if err != nil {
		return nil, err
	}
	return f.NewRun(m, plan, samples)
}

// fixed returns the schedule as a table for a model.
func (s *Schedule) fixed(m *seam.Shape, plan Plan) (*Fixed, error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	for key, list := range s.Compute {
		if found := scheduleKey.FindStringSubmatch(key); found[1] != "" {
			if block, err := strconv.Atoi(found[1]); err != nil || block >= m.Blocks {
				return nil, fmt.Errorf("smoothcache: a schedule for %s, but the model has %d blocks", key, m.Blocks)
			}
		}
		if len(list) > plan.Steps() {
			return nil, fmt.Errorf("smoothcache: the schedule for %s is of %d steps, the plan of %d", key, len(list), plan.Steps())
		}
	}
	return SmoothCache(s.Compute, m.Blocks, plan.Steps()), nil
}

// SmoothCache returns the policy of a calibrated schedule ("SmoothCache: A Universal Inference Acceleration Technique for Diffusion Transformers", arXiv 2411.10510): for attn and mlp, or for one
// block's attn-0, mlp-0, ..., which goes before, 1 at the positions that compute. Branches without a list, and positions beyond its end, compute.
func SmoothCache(schedule map[string][]int, blocks, steps int) *Fixed {
	f := &Fixed{Method: "smoothcache"}
	for p := range steps {
		var row []bool
		for block := range blocks {
			for _, part := range []string{"attn", "mlp"} {
				list, ok := schedule[fmt.Sprintf("%s-%d", part, block)]
				if !ok {
					list, ok = schedule[part]
				}
				row = append(row, !ok || p >= len(list) || list[p] != 0)
			}
		}
		f.Compute = append(f.Compute, row)
	}
	return f
}
