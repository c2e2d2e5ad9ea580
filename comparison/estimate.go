package comparison

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/tokencache/tokencache/measure"
	"github.com/tokencache/tokencache/report"
	"github.com/tokencache/tokencache/reuse"
)

// announce says about how long the comparison takes, before policies are looked for or calibrated:
// for the methods at all speeds, finished results aside, from the time of two steps of a batch.
func (r *runner) announce(ctx context.Context) error {
	if r.OnStage == nil {
		return nil
	}
	seconds, err := r.imageSeconds(ctx)
	if err != nil {
		return err
	}
	r.perImage = seconds
	runs, calibrations := r.expected()
	text := fmt.Sprintf("%d settings, %d images each: about %s, less what is finished", len(runs), r.Count, r.timeOf(runs))
	if calibrations > 0 {
		text += fmt.Sprintf("; before that %d policies are calibrated, minutes each", calibrations)
	}
	r.stage("%s", text)
	return nil
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
		r.stage("%d settings: about %s left", len(runs), spell(left*r.perImage))
	}
}

// imageSeconds returns the time of an uncached image.
func (r *runner) imageSeconds(ctx context.Context) (float64, error) {
	const steps = 2
	req := r.request(0, max(1, r.Batch))
	req.Sampling = measure.DDIM50(r.Sampling)
	req.Sampling.Steps = steps
	done, err := r.Pipeline.Generate(ctx, req)
	if err != nil {
		return 0, err
	}
	return done.Stats.Seconds / float64(len(req.Classes)*steps) * float64(r.plan.Steps()), nil
}

// expected returns the runs that there can be at most, without their policies, and how many
// policies must be calibrated first.
func (r *runner) expected() (runs []run, calibrations int) {
	runs = []run{uncached()}
	add := func(m *method) {
		for _, speed := range r.Speeds {
			runs = append(runs, run{Method: m.title, Wanted: speed})
			calibrated := m.calibrated
			if m.name == learnedResidual && r.Bundled == nil {
				calibrated = reuse.TokenCacheMethod
			}
			if calibrated == "" {
				continue
			}
			file := filepath.Join(r.calibratedFolder(calibrated, speed), reuse.PolicyFile)
			if _, err := os.Stat(file); err != nil {
				calibrations++
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
		return runs, calibrations
	}
	for _, name := range r.names() {
		m := methodOf(name)
		if m == nil || m.bundled != "" {
			runs = append(runs, run{Method: name})
			continue
		}
		add(m)
	}
	return runs, calibrations
}

// timeOf writes the time of runs and of the converged solution.
func (r *runner) timeOf(runs []run) string {
	all := r.convergedWork()
	for _, s := range runs {
		all += r.work(s)
	}
	return spell(all * r.perImage)
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
	if s.Method != report.Uncached && (d.Timing == nil || r.Retime) {
		left += r.work(s) - images
	}
	return left
}

// spell writes a number of seconds as one reads it: 45s, 12m, 3h20m.
func spell(seconds float64) string {
	d := time.Duration(seconds * float64(time.Second))
	switch {
	case d < 2*time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()+0.5))
	case d < 2*time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()+0.5))
	}
	d = d.Round(10 * time.Minute)
	return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
}
