package comparison

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/tokencache/tokencache/calibrate"
	"github.com/tokencache/tokencache/report"
	"github.com/tokencache/tokencache/reuse"
)

// calibrate makes a policy of a method for a speed, as calibrate.Defaults says, and returns its
// folder. A policy that is there already is taken.
func (r *runner) calibrate(ctx context.Context, name string, speed float64) (string, error) {
	dir := r.calibratedFolder(name, speed)
	method, err := r.Calibration.method(name)
	if err != nil {
		return "", err
	}
	o := calibrate.Defaults()
	o.Dir = dir
	o.Work = filepath.Join(filepath.Dir(dir), name+"-work")
	o.Sampling, o.Subjects = r.Sampling, r.Subjects
	o.Seed = cmp.Or(r.Calibration.Seed, o.Seed)
	if o.Seed == r.Seed {
		o.Seed += otherImages // policies are compared on images that they did not learn from
	}
	if name != reuse.TokenCacheMethod {
		o.Images = cmp.Or(r.Calibration.Images, o.Images)
	}
	o.Speed = speed
	o.Measure, o.Unmeasured = r.Timed, r.Calibration.Unmeasured
	o.Threads = r.Calibration.Threads
	o.Open = r.Calibration.Open
	o.OnStage = r.OnStage
	o.Command = r.command(method, &o)
	cost := report.Calibration{Method: fmt.Sprintf("%s, %gx", name, speed), Command: o.Command}
	t, err := openCalibrated(dir)
	if err == nil && t == nil {
		r.stage("calibrating %s for %gx", name, speed)
		t, err = calibrate.Run(ctx, r.Pipeline, method, o)
	}
	if err != nil {
		return "", err
	}
	cost.Seconds = seconds(t)
	r.result.Calibrations = append(r.result.Calibrations, cost)
	return dir, nil
}

// calibratedFolder is the folder of a method's policy for a speed.
func (r *runner) calibratedFolder(name string, speed float64) string {
	return filepath.Join(r.Dir, "policies", fmt.Sprintf("%s-%gx", name, speed))
}

// openCalibrated returns the policy in a folder, nil if there is none.
func openCalibrated(dir string) (*reuse.Trained, error) {
	if _, err := os.Stat(filepath.Join(dir, reuse.PolicyFile)); errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	return reuse.Open(dir)
}

// seconds is what the calibration of a policy took.
func seconds(t *reuse.Trained) float64 {
	v, _ := t.Provenance["seconds"].(float64)
	return v
}

// command returns the command line that makes the same policy.
func (r *runner) command(m calibrate.Method, o *calibrate.Options) string {
	c := report.NewCommand("tokencache", "calibrate").Flag("--method", m.Name())
	c.Flag("--speed", fmt.Sprintf("%gx", o.Speed)).Sampling(o.Sampling).Flag("--seed", fmt.Sprint(o.Seed))
	c.Flag("--images", fmt.Sprint(o.Images)).Flag("--measure", fmt.Sprint(o.Measure))
	switch m := m.(type) {
	case *calibrate.TokenCache:
		c.Flag("--placement", string(m.Placement)).Flag("--trials", fmt.Sprint(m.Trials)).Flag("--few", fmt.Sprint(m.Few))
	case *calibrate.SmoothCache:
		c.Flag("--lookahead", fmt.Sprint(m.Lookahead))
	case *calibrate.CEM:
		c.Flag("--gaps", string(m.Weight))
	case *calibrate.L2P:
		c.Flag("--feature", m.Feature).Flag("--columns", string(m.Columns))
	case *calibrate.L2C:
		c.Flag("--updates", fmt.Sprint(m.Updates)).Flag("--batch", fmt.Sprint(m.Batch))
		c.Flag("--router-lr", fmt.Sprint(m.LR)).Flag("--l1", fmt.Sprint(m.L1))
	}
	c.Optional("--model", r.Model).Optional("--vae", r.VAE).Optional("--prompt-file", r.PromptFile)
	return c.Flag("--out", o.Dir).String()
}
