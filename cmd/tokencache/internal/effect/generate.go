package effect

import "github.com/tokencache/tokencache"

// Generate is what a run of generate does, as far as it decides which flags have an effect.
type Generate struct {
	Sampler string // as it is given; "" where the policy or the model decides
	Compare bool
	Out     bool // a place to write to is given
	Noise   bool // so is the noise that images start from

	// The rest is known once the model is open.
	Opened    bool
	Sampling  tokencache.Sampling
	AddsNoise bool // the sampler does, on the way
	Uncached  bool // no policy is in use
	Prompts   bool // the model takes prompts
	BF16Cache bool // --cache-dtype is another than policies have by themselves
	TorchRNG  bool // likewise --rng
}

var generateRules = []rule[Generate]{
	{
		[]string{"repeat"}, func(r Generate) bool { return !r.Compare },
		"it says how often --compare measures",
	},
	{
		[]string{"overwrite"}, func(r Generate) bool { return !r.Out },
		"without --out images go to a new folder",
	},
	{
		[]string{"solver"}, Generate.notLearned,
		"it is for --sampler learned",
	},
	{
		[]string{"steps"}, func(r Generate) bool { return r.Opened && r.adaptive() },
		"dopri5 chooses its steps by --atol and --rtol; other methods of sampler ode, such as --variant heun, take them",
	},
	{
		[]string{"guidance-power", "guidance-low", "guidance-high", "guidance-all-channels"},
		func(r Generate) bool { return r.Opened && !r.Sampling.Guide().Enabled() },
		"there is no guidance, as its scale is 1",
	},
	{
		[]string{"cache-dtype"}, func(r Generate) bool { return r.Opened && r.Uncached && r.BF16Cache },
		"no policy is in use, so that nothing is cached",
	},
	{
		[]string{"rng"}, func(r Generate) bool { return r.Opened && r.Noise && !r.AddsNoise && r.TorchRNG },
		"--noise is given, and the sampler adds none, so that there are no random numbers",
	},
	{
		[]string{"text-encoder", "text-cache", "encoded"}, func(r Generate) bool { return r.Opened && !r.Prompts },
		"the model takes classes, and no prompts",
	},
}

// notLearned reports whether the sampler has no use for learned solvers, as far as is known.
func (r Generate) notLearned() bool {
	const learned = "learned"
	if r.Opened {
		return r.Sampling.Sampler != learned
	}
	return r.Sampler != "" && r.Sampler != learned
}

// adaptive reports whether the sampler chooses its steps itself.
func (r Generate) adaptive() bool {
	return r.Sampling.Sampler == "ode" && (r.Sampling.Variant == "" || r.Sampling.Variant == "dopri5")
}

// Check reports the first flag of generate that is given in vain.
func (r Generate) Check(given Given) error { return check(generateRules, given, r) }
