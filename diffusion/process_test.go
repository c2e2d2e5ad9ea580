package diffusion

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func mustProcess(t testing.TB, schedule, spacing string) *Process {
	t.Helper()
	s, err := ParseSchedule(schedule, Timesteps)
	if err != nil {
		t.Fatal(err)
	}
	p, err := NewProcess(s, spacing)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func within(got, want, relative float64) bool {
	return math.Abs(got-want) <= relative*math.Abs(want)
}

func TestSchedules(t *testing.T) {
	linear := mustProcess(t, "linear", "")
	if first, last := linear.Beta(0), linear.Beta(999); !within(first, 1e-4, 1e-12) || !within(last, 0.02, 1e-12) {
		t.Errorf("linear betas from %v to %v, want 1e-4 to 0.02", first, last)
	}
	// The signal that the published schedules leave at the end: exp of the sum of ln(1-beta).
	if got := linear.AlphaCumprod(999); !within(got, 4.0358e-5, 1e-4) {
		t.Errorf("linear alpha-bar at the end %v", got)
	}
	cosine := mustProcess(t, "cosine", "")
	if got := cosine.Beta(999); !within(got, 0.999, 1e-12) {
		t.Errorf("last cosine beta %v, want 0.999", got)
	}
	offset := math.Pow(math.Cos(0.008/1.008*math.Pi/2), 2)
	if got, want := cosine.AlphaCumprod(499), math.Pow(math.Cos(0.508/1.008*math.Pi/2), 2)/offset; !within(got, want, 1e-12) {
		t.Errorf("cosine alpha-bar half-way %v, want %v", got, want)
	}
	short, err := Linear(250)
	if err != nil {
		t.Fatal(err)
	}
	if p, err := NewProcess(short, ""); err != nil || p.Steps() != 250 || !within(p.Beta(249), 0.08, 1e-12) {
		t.Errorf("linear schedule over 250: last beta %v, %v, want 0.08", p.Beta(249), err)
	}
}

// TestRespacing: alpha-bar at each kept timestep is the schedule's own, whatever the spacing, for
// both schedules.
func TestRespacing(t *testing.T) {
	for _, schedule := range []string{"linear", "cosine"} {
		full := mustProcess(t, schedule, "")
		for _, spacing := range []string{"1", "2", "10", "250", "1000", "ddim50", "10,15,20"} {
			p := mustProcess(t, schedule, spacing)
			for i, step := range p.Timesteps() {
				// 1-(1-x) may lose an absolute 2^-53 at each factor, relative to alphas of 1-beta >= 0.001 in the cosine schedule
				// and to the quotients of respacing.
				alpha := p.AlphaCumprod(i) / p.alphaCumprodPrev[i]
				if got, want := p.AlphaCumprod(i), full.AlphaCumprod(int(step)); !within(got, want, float64(2*i+2)*0x1p-52/min(1, alpha)) {
					t.Errorf("%s %s: alpha-bar at index %d = %v, want %v", schedule, spacing, i, got, want)
				}
				if v := p.PosteriorVariance(i); v < 0 || v > p.Beta(i) || (i == 0) != (v == 0) {
					t.Errorf("%s %s: posterior variance at index %d = %v, beta %v", schedule, spacing, i, v, p.Beta(i))
				}
				if v := p.posteriorLogClipped[i]; math.IsInf(v, 0) || math.IsNaN(v) {
					t.Errorf("%s %s: log variance at index %d = %v", schedule, spacing, i, v)
				}
			}
		}
	}
}

// TestPosterior: if x_0 is known, x_i drawn from it and x_{i-1} from the posterior, then x_{i-1}
// has the mean and variance of index i-1.
func TestPosterior(t *testing.T) {
	p := mustProcess(t, "linear", "50")
	for i := range p.Steps() {
		mean := p.posteriorX0[i] + p.posteriorX[i]*math.Sqrt(p.alphaCumprod[i])
		if want := math.Sqrt(p.alphaCumprodPrev[i]); !within(mean, want, 1e-12) {
			t.Errorf("mean at index %d = %v, want %v", i, mean, want)
		}
		variance := p.posteriorX[i]*p.posteriorX[i]*(1-p.alphaCumprod[i]) + p.posteriorVariance[i]
		if want := 1 - p.alphaCumprodPrev[i]; math.Abs(variance-want) > 1e-12 {
			t.Errorf("variance at index %d = %v, want %v", i, variance, want)
		}
	}
}

// TestQSample holds PyTorch's values bit for bit.
func TestQSample(t *testing.T) {
	ref := readTensors(t, "qsample")
	p := mustProcess(t, "linear", "")
	x0, noise := ref.f32("x_start"), ref.f32("noise")
	got := make([]float32, len(x0))
	steps := ref.i64("t")
	n := len(x0) / len(steps)
	for row, step := range steps {
		at := row * n
		p.QSample(got[at:at+n], x0[at:at+n], noise[at:at+n], int(step))
	}
	if diff := cmp.Diff(ref.f32("x_t"), got); diff != "" {
		t.Error(diff)
	}
}

func TestScheduleErrors(t *testing.T) {
	for name, test := range map[string]struct {
		make func() error
		want string
	}{
		"unknown":      {func() error { _, err := ParseSchedule("sigmoid", 1000); return err }, `unknown noise schedule "sigmoid": want linear, cosine, flow-linear`},
		"linear short": {func() error { _, err := Linear(20); return err }, "want at least 21"},
		"cosine short": {func() error { _, err := Cosine(0); return err }, "want at least 1"},
		"zero value":   {func() error { _, err := NewProcess(Schedule{}, ""); return err }, "no timesteps"},
	} {
		if err := test.make(); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
	}
	if s, err := Linear(21); err != nil || s.Timesteps() != 21 {
		t.Errorf("Linear(21): %v, %v", s, err)
	}
}

func TestSamplingErrors(t *testing.T) {
	for _, test := range []struct {
		plan plan
		want string
	}{
		{plan{Method: "plms", Steps: "50"}, "sampler plms: want ddpm, ddim, dpm++"},
		{plan{Method: "ddim"}, `steps "": want a number`},
		{plan{Method: "ddim", Steps: "0"}, `steps "0": want 1 to 1000`},
		{plan{Method: "ddim", Steps: "1001"}, `steps "1001": want 1 to 1000`},
		{plan{Method: "ddim", Steps: "50", Schedule: "sigmoid"}, "unknown noise schedule"},
		{plan{Method: "ddim", Steps: "50", Eta: 1.5}, "eta 1.5: want 0 to 1"},
		{plan{Method: "ddim", Steps: "50", Eta: math.NaN()}, "eta NaN: want 0 to 1"},
		{plan{Method: "ddpm", Steps: "50", Eta: 0.5}, "only ddim has"},
		{plan{Method: "dpm++", Steps: "50", Eta: 0.5}, "only ddim has"},
		{plan{Method: "ddpm", Steps: "50", Variance: 7}, "unknown variance 7"},
	} {
		if s, err := test.plan.Sampler(); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%+v: %v, %v, want %q", test.plan, s, err, test.want)
		}
	}
	for _, method := range published {
		s, err := plan{Method: method, Steps: "50"}.Sampler()
		if err != nil {
			t.Errorf("%s: %v", method, err)
			continue
		}
		if s.Steps() != 50 || s.Timestep(49) != 999 || s.Timestep(0) != 0 {
			t.Errorf("%s: %d steps from %v to %v", method, s.Steps(), s.Timestep(49), s.Timestep(0))
		}
	}
}

func ExampleSampling() {
	sampler, err := Sampling{Sampler: "ddim", Steps: 4, Spacing: "ddim"}.New(Network{})
	if err != nil {
		fmt.Println(err)
		return
	}
	x := make([]float32, 4*8*8)
	noise := NewStream(42, 0)
	noise.Normal(x)
	for tr := NewTrajectory(sampler, x); !tr.Done(); {
		fmt.Println("step", tr.Index(), "timestep", tr.Timestep())
		epsilon := tr.X() // a network would be run here
		tr.Step(epsilon, nil)
	}
	// Output:
	// step 3 timestep 750
	// step 2 timestep 500
	// step 1 timestep 250
	// step 0 timestep 0
}
