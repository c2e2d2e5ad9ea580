package calibration

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tokencache/tokencache/calibrate"
	"github.com/tokencache/tokencache/reuse"
)

// Mode is what a command line of calibrate does, in the flags that ask for it.
type Mode string

const (
	// Making is to make a policy, of the method that the flags say, or a learned solver.
	Making Mode = ""

	Searching   Mode = "--target"
	Contracting Mode = "--contract"
	Choosing    Mode = "--choose-dtype"

	solving = methodPrefix + calibrate.LearnedSolverMethod

	smooth = methodPrefix + reuse.SmoothCacheMethod
	tea    = methodPrefix + reuse.TeaCacheMethod
	mag    = methodPrefix + reuse.MagCacheMethod
	l2c    = methodPrefix + reuse.L2CMethod
	dp     = methodPrefix + reuse.DPCacheMethod
	cem    = methodPrefix + reuse.CEMMethod
	l2p    = methodPrefix + reuse.L2PMethod

	// TokenCache, by what it learns.

	placing  = tokenPrefix + "places I-steps (ratio=0 and --speed)"
	between  = tokenPrefix + "learns forecasts between given I-steps (--ratio, or --trials 0)"
	training = tokenPrefix + "trains a predictor (importance=static or dynamic)"
	taking   = tokenPrefix + "takes a predictor (--predictor)"
	plain    = tokenPrefix + "learns nothing"

	methodPrefix Mode = "--method "
	tokenPrefix       = methodPrefix + reuse.TokenCacheMethod + " that "
)

// instead says of modes what stands in for flags that they do not use.
var instead = map[Mode]string{
	Searching:   ", which searches samplers, methods, speeds and parameters itself",
	Contracting: ", which takes a policy as it is",
	Choosing:    ", which takes a policy as it is",
	solving:     ", which makes a sampler of its own, and no policy",
}

// Groups of modes.
var (
	tokenModes  = []Mode{placing, between, training, taking, plain}
	otherModes  = []Mode{smooth, tea, mag, l2c, dp, cem, l2p}
	policyModes = slices.Concat(tokenModes, otherModes)
	sampling    = slices.Concat([]Mode{Searching, Contracting, Choosing}, policyModes)
)

// uses says which modes use which flags. Flags that are not here are used by all.
var uses = []struct {
	flags string
	modes []Mode
}{
	{"sampler spacing order variant solver eta clip", sampling},
	{"shift shift-by-resolution guidance-low guidance-high diffusion-form diffusion-norm last-step last-step-size " +
		"sample-eps atol rtol", sampling},

	{"target methods evidence", []Mode{Searching}},
	{"reference", []Mode{Searching, Contracting, Choosing}},
	{"contract contract-images contract-checks contract-seed confidence keep", []Mode{Contracting}},
	{"choose-dtype max-loss", []Mode{Choosing}},
	{"seed measure", slices.Concat([]Mode{Searching, Choosing, solving}, policyModes)},

	{"method", append(slices.Clone(policyModes), solving)},
	{"speed", policyModes},
	{"ratio policy paper", tokenModes},
	{"percentile", []Mode{training, taking, plain}},
	{"images", slices.Concat([]Mode{placing, between, training, solving}, otherModes)},
	{"trials few", []Mode{placing, solving}},
	{"placement", []Mode{placing}},
	{"halves weigh", []Mode{placing, between}},
	{"updates batch", []Mode{training, l2c}},
	{"lr lambda training rounds", []Mode{training}},
	{"predictor", []Mode{training, taking}},

	{"threshold", []Mode{smooth, tea, mag, l2c}},
	{"lookahead", []Mode{smooth}},
	{"router-lr l1", []Mode{l2c}},
	{"full", []Mode{dp, cem, l2p}},
	{"gaps", []Mode{cem}},
	{"feature columns", []Mode{l2p}},
}

// CheckSet reports the first of the flags that were set on the command line, by their names, that
// the mode does not use, and the modes that use it.
func (c *Flags) CheckSet(mode Mode, set []string) error {
	var also []string
	if mode == Making {
		var err error
		if mode, also, err = c.mode(); err != nil {
			return err
		}
	}
	for _, flag := range set {
		if modes := Users(flag); modes != nil && !slices.Contains(modes, mode) && !slices.Contains(also, flag) {
			return fmt.Errorf("--%s is not for %s%s: it is for %s", flag, mode, instead[mode], listed(modes))
		}
	}
	return nil
}

// Users returns the modes that use a flag of a name, nil if all do.
func Users(flag string) []Mode {
	for _, u := range uses {
		if slices.Contains(strings.Fields(u.flags), flag) {
			return u.modes
		}
	}
	return nil
}

// mode returns what Making is by the other flags, and flags that it uses besides.
func (c *Flags) mode() (mode Mode, also []string, err error) {
	if c.Method != reuse.TokenCacheMethod {
		return methodPrefix + Mode(c.Method), nil, nil
	}
	m, err := c.tokenCache()
	if err != nil {
		return "", nil, err
	}
	tried := c.Trials > 0 || m.Placement == calibrate.PlannedPlacement
	switch {
	case m.Base.Importance == reuse.Static || m.Base.Importance == reuse.Dynamic:
		if m.From == "" {
			return training, nil, nil
		}
		mode, also = taking, []string{"training"} // it says of which trajectories the percentiles are
	case c.Speed != "" && m.Base.Ratio == 0 && tried:
		return placing, nil, nil
	case m.Base.Learned:
		if c.Trials == 0 {
			also = []string{"trials"}
		}
		return between, also, nil
	default:
		mode = plain
	}
	if !m.Percentile {
		return mode, nil, nil
	}
	return mode, append(also, "images"), nil
}

// listed writes modes as the flags that ask for them.
func listed(modes []Mode) string {
	var flags, methods []string
	if !slices.ContainsFunc(tokenModes, func(m Mode) bool { return !slices.Contains(modes, m) }) {
		methods = []string{reuse.TokenCacheMethod}
	}
	for _, m := range modes {
		name, ok := strings.CutPrefix(string(m), string(methodPrefix))
		switch {
		case !ok:
			flags = append(flags, name)
		case len(methods) == 0 || methods[0] != reuse.TokenCacheMethod || !slices.Contains(tokenModes, m):
			methods = append(methods, name)
		}
	}
	if len(methods) > 0 {
		flags = append(flags, string(methodPrefix)+joined(methods, "or"))
	}
	return joined(flags, "and")
}

// joined lists words in a sentence.
func joined(words []string, last string) string {
	if n := len(words) - 1; n > 0 {
		return strings.Join(words[:n], ", ") + " " + last + " " + words[n]
	}
	return words[0]
}
