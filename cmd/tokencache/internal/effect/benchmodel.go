package effect

// BenchModel is what a run of bench model measures, as far as it decides which flags have an effect.
type BenchModel struct {
	Policy    bool // the steps of a policy
	OnThreads bool // how a pass would be divided
	Bundled   bool // of a bundled model
}

var benchModelRules = []rule[BenchModel]{
	{
		[]string{"on-threads", "tokens", "against-dit"}, func(r BenchModel) bool { return r.Policy },
		"--policy has its own steps measured, each against an uncached one",
	},
	{
		[]string{"tokens", "against-dit", "threads"}, func(r BenchModel) bool { return r.OnThreads },
		"--on-threads times the parts of one uncached pass on one thread",
	},
	{
		[]string{"steps"}, func(r BenchModel) bool { return !r.Policy },
		"it is the number of steps of --policy",
	},
	{
		[]string{"image-size"}, func(r BenchModel) bool { return r.Bundled },
		"a bundled model has images of one size",
	},
}

// Check reports the first flag of bench model that is given in vain.
func (r BenchModel) Check(given Given) error { return check(benchModelRules, given, r) }
