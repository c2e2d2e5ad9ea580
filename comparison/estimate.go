package comparison

import (
	"context"
	"fmt"
	"math/bits"
	"time"

	"github.com/tokencache/tokencache/calibrate"
	"github.com/tokencache/tokencache/measure"
	"github.com/tokencache/tokencache/report"
	"github.com/tokencache/tokencache/reuse"
)

// Work is counted in images that the uncached model generates in the same time.

// cachedShare is what an image with a policy of unknown speed takes.
const cachedShare = 0.5

// tries is how many settings a bisection of n looks at.
func tries(n int) float64 { return float64(bits.Len(uint(n))) }

// work is about what calibrating a policy of a method takes.
func (c *Calibration) work(name string) float64 {
	const counted = 12 // images, while a threshold is found
	images := float64(calibrate.Defaults().Images)
	switch name {
	case reuse.TokenCacheMethod:
		const trials, few, measured = 16, 8, 48
		return images + trials*few*cachedShare + measured
	case reuse.L2CMethod:
		const backward, evaluations = 3, 100 // passes of an update; those of an image with guidance
		l := calibrate.NewL2C()
		return float64(l.Updates*l.Batch) * backward / evaluations
	}
	if c.Images > 0 {
		images = float64(c.Images)
	}
	return images + counted
}

// expected is about what a comparison takes, before any policy is made or counted.
func (r *runner) expected() (policies int, work float64) {
	formats := 1 + float64(len(r.Formats)) // that all runs are made in
	work = r.convergedWork() + r.work(uncached())
	for range r.Formats {
		policies++
		work += r.work(run{Method: report.Uncached, DType: "another"})
	}
	add := func(m *method) {
		for _, speed := range r.Speeds {
			policies += 1 + len(r.Formats)
			work += formats*r.work(run{Wanted: speed}) + countedImages*tries(len(m.ladder))*cachedShare
			switch {
			case m.calibrated != "":
				work += r.Calibration.work(m.calibrated)
			case m.name == learnedResidual && r.Bundled == nil:
				work += r.Calibration.work(reuse.TokenCacheMethod)
			}
		}
	}
	if r.Axes {
		for _, row := range crossing() {
			for _, c := range row {
				switch {
				case c.method != "":
					add(methodOf(c.method))
				case c.why == "":
					add(&method{title: "crossing"})
				}
			}
		}
		return policies, work
	}
	for _, name := range r.names() {
		m := methodOf(name)
		if m == nil || m.bundled != "" {
			policies += 1 + len(r.Formats)
			work += formats * r.work(run{Wanted: 1 / cachedShare})
			continue
		}
		add(m)
	}
	return policies, work
}

// announce says how long work takes, from a short measurement of the uncached model.
func (r *runner) announce(ctx context.Context, work float64, format string, args ...any) error {
	pace, err := measure.Pace(ctx, r.Pipeline, r.Subjects, r.Sampling, r.plan.Steps())
	if err != nil {
		return err
	}
	r.perImage = pace
	r.stage("about %s: %s; an uncached image takes %.2g s", roughly(work*pace), fmt.Sprintf(format, args...), pace)
	return nil
}

// roughly writes a time as it is estimated, with one or two digits.
func roughly(seconds float64) string {
	d := time.Duration(seconds * float64(time.Second))
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%.0f seconds", d.Seconds())
	case d < 2*time.Hour:
		return fmt.Sprintf("%.0f minutes", d.Minutes())
	}
	return fmt.Sprintf("%.0f hours", d.Hours())
}

// remaining says how long the runs take that are listed.
func (r *runner) remaining(runs []run) {
	left := r.convergedWork()
	if r.solvedImages() >= min(r.Count, maxConverged) {
		left = 0
	}
	for _, s := range runs {
		left += r.left(s)
	}
	if r.perImage > 0 {
		r.stage("%d settings: about %s left", len(runs), roughly(left*r.perImage))
	}
}

// left is what of a run's work is not finished.
func (r *runner) left(s run) float64 {
	if s.Error != "" {
		return 0
	}
	d, err := r.peek(s)
	if err != nil {
		return r.work(s)
	}
	have, err := d.count()
	if err != nil || r.Count == 0 {
		return r.work(s)
	}
	images := r.work(run{Method: report.Uncached, Wanted: s.Wanted})
	left := images * float64(max(0, r.Count-have)) / float64(r.Count)
	if !s.isBase() && (d.Timing == nil || r.Retime) {
		left += r.work(s) - images
	}
	return left
}
