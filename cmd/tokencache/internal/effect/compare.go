package effect

// Compare is what a run of compare does, as far as it decides which flags have an effect.
type Compare struct {
	MinPSNR    bool // contracts are tested, and nothing is timed
	Axes       bool // the two axes are crossed
	ReportOnly bool // nothing is measured
	Methods    bool // there are methods among the policies, which are run at all speeds
}

var compareRules = []rule[Compare]{
	{
		[]string{"speeds", "quick", "axes", "retime", "report-only", "timed", "repeat", "batch", "dtypes"},
		func(r Compare) bool { return r.MinPSNR },
		"--min-psnr tests contracts at the PSNRs that it lists, in one number format, and measures no time",
	},
	{
		[]string{"policies"}, func(r Compare) bool { return r.Axes },
		"--axes has policies of its own",
	},
	{
		[]string{"quick"}, func(r Compare) bool { return r.Axes },
		"some methods of --axes need calibration; give --speeds and --count",
	},
	{
		[]string{"retime"}, func(r Compare) bool { return r.ReportOnly },
		"--report-only measures nothing",
	},
	{
		[]string{"speeds"}, func(r Compare) bool { return !r.Methods && !r.Axes && !r.ReportOnly },
		"--policies names no method, and policies with their parameters have one speed each",
	},
}

// Check reports the first flag of compare that is given in vain.
func (r Compare) Check(given Given) error { return check(compareRules, given, r) }
