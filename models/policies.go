package models

import (
	"fmt"
	"io/fs"
	"math"
	"path"
	"strings"

	"github.com/tokencache/tokencache/diffusion"
	"github.com/tokencache/tokencache/reuse"
)

// DefaultSpeed is the speed, times the uncached model, of the policy that is used where none is asked for.
const DefaultSpeed = 2.4

// Policies returns the policies that come with a model, by the names of their folders; none for a model that is not embedded.
func Policies(model string) ([]*reuse.Trained, error) {
	dir := model + "/policies"
	entries, err := fs.ReadDir(files, dir)
	if err != nil {
		return nil, nil // no such folder: none is shipped
	}
	var list []*reuse.Trained
	for _, e := range entries {
		t, err := reuse.OpenFS(files, path.Join(dir, e.Name()))
		if err != nil {
			return nil, fmt.Errorf("embedded policy %s: %w", e.Name(), err)
		}
		list = append(list, t)
	}
	return list, nil
}

// Wanted is what a shipped policy must fit.
type Wanted struct {
	diffusion.Sampling
	Speed float64 // times the uncached model; 0: DefaultSpeed, or what there is nearest to it
}

// farther is how much faster than the fastest shipped policy may be asked for.
const farther = 1.1

// Choose returns the shipped policy that is nearest to a wanted speed. Where nothing is shipped for what is asked it returns nil, and why. It fails if a speed is asked for that no shipped policy has.
func Choose(model string, w Wanted) (t *reuse.Trained, why string, err error) {
	list, err := Policies(model)
	if err != nil {
		return nil, "", err
	}
	speed := w.Speed
	if speed == 0 {
		speed = DefaultSpeed
	}
	fastest := 0.0
	for _, p := range list {
		if p.Sampler != w.Sampler || p.StepsText() != w.StepsText() || w.Eta != 0 || !close(p.Guidance, w.Guidance) || !close(p.GuidancePower, w.GuidancePower) {
			continue
		}
		fastest = max(fastest, p.Speed.Wanted)
		if t == nil || math.Abs(math.Log(p.Speed.Wanted/speed)) < math.Abs(math.Log(t.Speed.Wanted/speed)) {
			t = p
		}
	}
	switch {
	case t == nil:
		return nil, "no policy comes with this model for " + w.String(), nil
	case w.Speed > fastest*farther:
		return nil, "", fmt.Errorf("a speed of %gx: the fastest policy that comes with this model for %s is of %gx; make one with tokencache calibrate --speed %gx", w.Speed, w, fastest, w.Speed)
	}
	return t, "", nil
}

func close(a, b float64) bool { return math.Abs(a-b) < 1e-6 }

// String tells what is asked for as flags of generate.
func (w Wanted) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "--sampler %s --steps %s --cfg %g", w.Sampler, w.StepsText(), w.Guidance)
	if w.GuidancePower != 0 {
		fmt.Fprintf(&b, " --cfg-power %g", w.GuidancePower)
	}
	if w.Eta != 0 {
		fmt.Fprintf(&b, " --eta %g", w.Eta)
	}
	return b.String()
}
