package effect

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"github.com/tokencache/tokencache"
)

// TestGenerate checks flags of generate that have no effect in a run, next to runs in which they have
// one.
func TestGenerate(t *testing.T) {
	opened := func(change func(*Generate)) Generate {
		r := Generate{
			Out:      true,
			Opened:   true,
			Sampling: tokencache.Sampling{Sampler: "ddim", Steps: 50, Guidance: 1.5},
		}
		change(&r)
		return r
	}
	same := func(*Generate) {}
	sampler := func(name, variant string) Generate {
		return opened(func(r *Generate) { r.Sampling.Sampler, r.Sampling.Variant = name, variant })
	}
	unguided := opened(func(r *Generate) { r.Sampling.Guidance = 1 })
	for _, c := range []struct {
		flag         string
		vain, useful Generate
	}{
		{"repeat", Generate{}, Generate{Compare: true}},
		{"overwrite", Generate{}, Generate{Out: true}},
		{"solver", Generate{Sampler: "ddim"}, Generate{Sampler: "learned"}},
		{"solver", opened(same), sampler("learned", "")},
		{"steps", sampler("ode", ""), sampler("ode", "heun")},
		{"steps", sampler("ode", "dopri5"), opened(same)},
		{"guidance-power", unguided, opened(same)},
		{"guidance-low", unguided, opened(same)},
		{"guidance-high", unguided, opened(same)},
		{"guidance-all-channels", unguided, opened(same)},
		{"cache-dtype", opened(func(r *Generate) { r.Uncached, r.BF16Cache = true, true }), opened(func(r *Generate) { r.BF16Cache = true })},
		{
			"rng", opened(func(r *Generate) { r.Noise, r.TorchRNG = true, true }),
			opened(func(r *Generate) { r.Noise, r.TorchRNG, r.AddsNoise = true, true, true }),
		},
		{"text-encoder", opened(same), opened(func(r *Generate) { r.Prompts = true })},
		{"text-cache", opened(same), opened(func(r *Generate) { r.Prompts = true })},
		{"encoded", opened(same), opened(func(r *Generate) { r.Prompts = true })},
	} {
		t.Run(c.flag, func(t *testing.T) {
			checkFlag(t, c.flag, c.vain, c.useful)
			if err := c.vain.Check(Given{c.flag: false, "seed": true}); err != nil {
				t.Errorf("not given: %v", err)
			}
		})
	}
	if err := (Generate{}).Check(Given{"solver": true}); err != nil {
		t.Errorf("before the sampler is known: %v", err)
	}
}

// TestCompare checks the same of compare.
func TestCompare(t *testing.T) {
	methods := Compare{Methods: true}
	for _, c := range []struct {
		flag         string
		vain, useful Compare
	}{
		{"speeds", Compare{MinPSNR: true, Methods: true}, methods},
		{"speeds", Compare{}, Compare{Axes: true}},
		{"quick", Compare{MinPSNR: true}, methods},
		{"quick", Compare{Axes: true}, methods},
		{"axes", Compare{MinPSNR: true, Axes: true}, Compare{Axes: true}},
		{"policies", Compare{Axes: true}, methods},
		{"retime", Compare{MinPSNR: true}, methods},
		{"retime", Compare{ReportOnly: true}, methods},
		{"report-only", Compare{MinPSNR: true, ReportOnly: true}, Compare{ReportOnly: true}},
		{"timed", Compare{MinPSNR: true}, methods},
		{"repeat", Compare{MinPSNR: true}, methods},
		{"batch", Compare{MinPSNR: true}, methods},
		{"dtypes", Compare{MinPSNR: true}, methods},
	} {
		t.Run(c.flag, func(t *testing.T) {
			checkFlag(t, c.flag, c.vain, c.useful)
		})
	}
}

// TestOf checks which flags count as given: not those that ask for nothing, or have their default.
func TestOf(t *testing.T) {
	var c struct {
		Run struct {
			Repeat int      `default:"3"`
			Steps  string   `short:"s"`
			Power  *float64 ``
			Low    float64
			Switch bool `negatable:""`
			Other  bool
		} `cmd:""`
	}
	parser, err := kong.New(&c)
	if err != nil {
		t.Fatal(err)
	}
	k, err := parser.Parse([]string{"run", "-s", "50", "--power", "0", "--low=0.5", "--no-switch", "--repeat=3"})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for name, is := range Of(k) {
		if is {
			got = append(got, name)
		}
	}
	slices.Sort(got)
	if want := []string{"low", "repeat", "steps"}; !slices.Equal(got, want) {
		t.Errorf("%q of %v, want %q", got, slices.Sorted(maps.Keys(Of(k))), want)
	}
}

// checkFlag checks that a flag is refused in one run and taken in another.
func checkFlag(t *testing.T, flag string, vain, useful interface{ Check(Given) error }) {
	t.Helper()
	err := vain.Check(Given{flag: true})
	if err == nil || !strings.HasPrefix(err.Error(), "--"+flag+" has no effect: ") {
		t.Errorf("in vain: error %v", err)
	}
	if err := useful.Check(Given{flag: true}); err != nil {
		t.Errorf("with an effect: %v", err)
	}
}

// TestBenchModel checks flags of bench model likewise.
func TestBenchModel(t *testing.T) {
	for _, c := range []struct {
		flag         string
		vain, useful BenchModel
	}{
		{"on-threads", BenchModel{Policy: true, OnThreads: true}, BenchModel{OnThreads: true}},
		{"tokens", BenchModel{Policy: true}, BenchModel{}},
		{"tokens", BenchModel{OnThreads: true}, BenchModel{}},
		{"against-dit", BenchModel{OnThreads: true}, BenchModel{}},
		{"threads", BenchModel{OnThreads: true}, BenchModel{Policy: true}},
		{"steps", BenchModel{}, BenchModel{Policy: true}},
		{"image-size", BenchModel{Bundled: true}, BenchModel{}},
	} {
		t.Run(c.flag, func(t *testing.T) {
			checkFlag(t, c.flag, c.vain, c.useful)
		})
	}
}
