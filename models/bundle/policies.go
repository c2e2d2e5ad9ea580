package bundle

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path"
	"slices"
	"strings"

	"github.com/tokencache/tokencache/diffusion"
	"github.com/tokencache/tokencache/reuse"
)

// DefaultSpeed is the speed, times the uncached model, of the policy that is used where none is
// asked for, and the bundle says none.
const DefaultSpeed = 2.4

// maxExcess is how much faster than the fastest bundled policy may be asked for.
const maxExcess = 1.1

// NoPolicyError reports that no bundled policy is for how images are to be sampled, or as fast as
// wanted.
type NoPolicyError struct {
	Model    string // name of the bundle; "" for a model that is not bundled
	Sampling diffusion.Sampling
	Speed    float64          // wanted, times the uncached model; 0 means any
	Fastest  float64          // speed of the fastest policy for the sampling; 0 means there is none for it
	Bundled  []*reuse.Trained // all policies of the model
}

func (e *NoPolicyError) Error() string {
	if e.Model == "" {
		return "no policies are bundled with this model"
	}
	text := fmt.Sprintf("no policy is bundled with %s for %s", e.Model, describe(e.Sampling))
	if e.Fastest > 0 {
		return fmt.Sprintf("a speed of %gx: the fastest policy bundled with %s for %s is of %gx%s",
			e.Speed, e.Model, describe(e.Sampling), e.Fastest, e.elsewhere())
	}
	if e.Speed != 0 && len(e.Bundled) > 0 {
		text += "; there are " + strings.Join(offers(e.Bundled), ", and ")
	}
	return text
}

// elsewhere names the policies that are fast enough, but are for other samplings.
func (e *NoPolicyError) elsewhere() string {
	var names []string
	for _, t := range e.Bundled {
		if e.Speed <= t.Speed.Wanted*maxExcess {
			names = append(names, fmt.Sprintf("%s is for %s", t, describe(t.Sampling)))
		}
	}
	if names == nil {
		return ""
	}
	return ", but " + strings.Join(names, ", and ")
}

// describe says how images are sampled, as far as policies depend on it.
func describe(s diffusion.Sampling) string {
	text := fmt.Sprintf("sampler %s, %s steps and guidance %g", s.Sampler, s.StepsText(), s.Guidance)
	if s.GuidancePower != 0 {
		text += fmt.Sprintf(" with power %g", s.GuidancePower)
	}
	if s.Eta != 0 {
		text += fmt.Sprintf(" and eta %g", s.Eta)
	}
	return text
}

// offers lists, for each sampling that policies were made for, their speeds.
func offers(policies []*reuse.Trained) []string {
	speeds, list := map[string][]float64{}, []string{}
	for _, t := range policies {
		if t.Speed.Wanted == 0 {
			continue // it is chosen by name alone
		}
		what := describe(t.Sampling)
		if speeds[what] == nil {
			list = append(list, what)
		}
		speeds[what] = append(speeds[what], t.Speed.Wanted)
	}
	for i, what := range list {
		slices.Sort(speeds[what])
		var texts []string
		for _, speed := range slices.Compact(speeds[what]) {
			texts = append(texts, fmt.Sprintf("%gx", speed))
		}
		list[i] = strings.Join(texts, ", ") + " for " + what
	}
	return list
}

// noneFits reports whether err says that no bundled policy is for the sampling.
func noneFits(err error) bool {
	var none *NoPolicyError
	return errors.As(err, &none) && none.Fastest == 0
}

// Policies returns the bundled policies in the order of their names; a nil Bundle has none.
func (b *Bundle) Policies() ([]*reuse.Trained, error) {
	if b == nil {
		return nil, nil
	}
	entries, err := fs.ReadDir(b.Files, PoliciesDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("bundled model %s: %w", b.Name, err)
	}
	var list []*reuse.Trained
	for _, e := range entries {
		t, err := reuse.OpenFS(b.Files, path.Join(PoliciesDir, e.Name()))
		if err != nil {
			return nil, fmt.Errorf("bundled model %s: policy %s: %w", b.Name, e.Name(), err)
		}
		list = append(list, t)
	}
	return list, nil
}

// Choose returns, of the bundled policies for a sampling, the one whose speed is nearest to the
// wanted one, in proportion; speed 0 means the bundle's own, or what there is nearest to it. Policies
// that were not made for a speed, such as the paper's versions, are chosen by name alone. Where
// there is none, or the speed is far beyond the fastest, the error is a *NoPolicyError.
func (b *Bundle) Choose(s diffusion.Sampling, speed float64) (*reuse.Trained, error) {
	list, err := b.Policies()
	if err != nil {
		return nil, err
	}
	s = s.WithDefaults()
	none := &NoPolicyError{Sampling: s, Speed: speed, Bundled: list}
	if b != nil {
		none.Model = b.Name
	}
	aim := speed
	if aim == 0 {
		aim = b.speed()
	}
	distance := func(t *reuse.Trained) float64 { return math.Abs(math.Log(t.Speed.Wanted / aim)) }
	var best *reuse.Trained
	for _, t := range list {
		if t.Speed.Wanted == 0 || !b.suits(t.Sampling, s) {
			continue
		}
		none.Fastest = max(none.Fastest, t.Speed.Wanted)
		if best == nil || distance(t) < distance(best) {
			best = t
		}
	}
	if best == nil || speed > none.Fastest*maxExcess {
		return nil, none
	}
	return best, nil
}

// speed returns that of the default policy.
func (b *Bundle) speed() float64 {
	if b == nil || b.Speed == 0 {
		return DefaultSpeed
	}
	return b.Speed
}

// ForSpeed returns the name of the policy that Choose returns, or "" if no policy was made for the
// sampling. That all are too slow is an error.
func (b *Bundle) ForSpeed(s diffusion.Sampling, speed float64) (string, error) {
	t, err := b.Choose(s, speed)
	if none := (*NoPolicyError)(nil); errors.As(err, &none) && none.Fastest == 0 {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return t.String(), nil
}

// suits reports whether a policy that was made for one sampling is the best choice for another.
func (b *Bundle) suits(made, s diffusion.Sampling) bool {
	near := func(a, b float64) bool { return math.Abs(a-b) < 1e-6 }
	return made.Sampler == s.Sampler && made.StepsText() == s.StepsText() && near(made.Eta, s.Eta) &&
		near(made.GuidancePower, s.GuidancePower) &&
		(near(made.Guidance, s.Guidance) || made.Sampler == "ddim" && b.guided(made.Guidance) && b.guided(s.Guidance))
}

// GuidanceNote says that a policy was chosen for another guidance scale than its own; "" if it is its
// own.
func GuidanceNote(t *reuse.Trained, scale float64) string {
	if t.Guidance == scale {
		return ""
	}
	return fmt.Sprintf("policy %s was calibrated at guidance %g, and keeps its images at %g, too", t, t.Guidance, scale)
}

// guided reports whether a guidance scale is one of those at which policies keep their images.
func (b *Bundle) guided(scale float64) bool {
	return scale >= b.Guidances[0] && scale <= b.Guidances[1]
}
