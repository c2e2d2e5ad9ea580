package reuse

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"

	"github.com/tokencache/tokencache/seam"
)

// SmoothCache computes branches by a calibrated schedule ("SmoothCache: A Universal Inference
// Acceleration Technique for Diffusion Transformers", arXiv 2411.10510).
type SmoothCache struct {
	// Threshold is the error for which the schedule was made.
	Threshold float64 `json:"threshold" policy:"threshold" min:"0" help:"largest relative L1 error of what is reused"`

	// Compute has, for attn and mlp, or for one block's attn-0, mlp-0, ..., which goes before, 1 at
	// the positions that compute and 0 at the others. Branches without a list, and positions beyond
	// its end, compute.
	Compute map[string][]int `json:"compute"`
}

// NewSmoothCache returns a SmoothCache with its default threshold, and without a schedule.
func NewSmoothCache() *SmoothCache { return &SmoothCache{Threshold: 0.2} }

// String returns the method with its threshold; the schedule is in the policy's folder.
func (s *SmoothCache) String() string { return paramText("smoothcache", s) }

// ContentHash implements ContentHasher.
func (s *SmoothCache) ContentHash() string {
	b, err := json.Marshal(s.Compute)
	if err != nil {
		panic(fmt.Sprintf("reuse: lists of integers: %v", err))
	}
	return fmt.Sprintf("smoothcache %x", sha256.Sum256(b))
}

// Kind implements Described.
func (s *SmoothCache) Kind() Kind { return Caches }

// Granularity implements Described.
func (s *SmoothCache) Granularity() Granularity { return ByBranch }

var scheduleKey = regexp.MustCompile(`^(?:attn|mlp)(?:-([0-9]{1,4}))?$`)

// Validate reports a schedule that has no meaning.
func (s *SmoothCache) Validate() error {
	if len(s.Compute) == 0 {
		return errors.New("no schedule: want lists for attn and mlp, or for attn-0, mlp-0 and so on")
	}
	for key, list := range s.Compute {
		if !scheduleKey.MatchString(key) {
			return fmt.Errorf("a schedule for %q: want attn, mlp, or a block's attn-0, mlp-0 and so on", key)
		}
		for _, v := range list {
			if v != 0 && v != 1 {
				return fmt.Errorf(
					"the schedule for %s has a %d: want 1 at the steps that compute, 0 at the others", key, v)
			}
		}
	}
	return checkParams(s)
}

// CacheBytes implements Policy.
func (s *SmoothCache) CacheBytes(m seam.Model, plan Plan, samples int) (int64, error) {
	b, err := s.schedule(m.Shape(), plan)
	if err != nil {
		return 0, err
	}
	return b.CacheBytes(m, plan, samples)
}

// Shares implements Scheduled.
func (s *SmoothCache) Shares(m *seam.Shape, plan Plan) ([]float64, error) {
	b, err := s.schedule(m, plan)
	if err != nil {
		return nil, err
	}
	return b.Shares(m, plan)
}

// NewRun implements Policy.
func (s *SmoothCache) NewRun(m seam.Model, plan Plan, samples int) (Run, error) {
	b, err := s.schedule(m.Shape(), plan)
	if err != nil {
		return nil, err
	}
	return b.NewRun(m, plan, samples)
}

// schedule returns the schedule as a table for a model.
func (s *SmoothCache) schedule(m *seam.Shape, plan Plan) (*BranchSchedule, error) {
	if err := s.fits(m, plan); err != nil {
		return nil, named("smoothcache", err)
	}
	b := &BranchSchedule{Method: "smoothcache"}
	for p := range plan.Steps() {
		var row []bool
		for block := range m.Blocks {
			for _, part := range []string{"attn", "mlp"} {
				list, ok := s.Compute[fmt.Sprintf("%s-%d", part, block)]
				if !ok {
					list, ok = s.Compute[part]
				}
				row = append(row, !ok || p >= len(list) || list[p] != 0)
			}
		}
		b.Compute = append(b.Compute, row)
	}
	return b, nil
}

// fits reports a schedule that has no meaning, or none for the model and the plan.
func (s *SmoothCache) fits(m *seam.Shape, plan Plan) error {
	if err := s.Validate(); err != nil {
		return err
	}
	for key, list := range s.Compute {
		if found := scheduleKey.FindStringSubmatch(key); found[1] != "" {
			if block, err := strconv.Atoi(found[1]); err != nil || block >= m.Blocks {
				return fmt.Errorf("a schedule for %s, but the model has %d blocks", key, m.Blocks)
			}
		}
		if len(list) > plan.Steps() {
			return fmt.Errorf("the schedule for %s is of %d steps, the plan of %d", key, len(list), plan.Steps())
		}
	}
	return nil
}
