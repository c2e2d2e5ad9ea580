package kernel

import "testing"

// eachImpl runs test with each implementation in this binary that has operations in float32 of its
// own, and logs those that this machine cannot run.
func eachImpl(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	for _, impl := range Impls() {
		if impl.Level != impl.floats {
			continue
		}
		if !impl.Supported() {
			t.Logf("not tested on this machine: %v", impl)
			continue
		}
		t.Run(impl.String(), func(t *testing.T) {
			defer Use(Use(impl))
			test(t)
		})
	}
}

// everyImpl is eachImpl for all implementations.
func everyImpl(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	for _, impl := range Impls() {
		if !impl.Supported() {
			t.Logf("not tested on this machine: %v", impl)
			continue
		}
		t.Run(impl.String(), func(t *testing.T) {
			defer Use(Use(impl))
			test(t)
		})
	}
}

// benchmarkImpls is eachImpl for benchmarks.
func benchmarkImpls(b *testing.B, run func(b *testing.B)) {
	for _, impl := range Impls() {
		if impl.Supported() && impl.Level == impl.floats {
			b.Run(impl.String(), func(b *testing.B) {
				defer Use(Use(impl))
				run(b)
			})
		}
	}
}
