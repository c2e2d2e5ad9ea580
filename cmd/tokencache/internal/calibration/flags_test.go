package calibration

import (
	"reflect"
	"strings"
	"testing"

	"github.com/tokencache/tokencache/calibrate"
	"github.com/tokencache/tokencache/reuse"
)

// TestMethods checks the methods that flags stand for, and which flags do not go together.
func TestMethods(t *testing.T) {
	threshold := 0.1
	full := func(n int, method string) Flags {
		c := Flags{Method: method}
		c.Full, c.Gaps, c.Feature, c.Columns = n, "linear", reuse.HiddenFeature, "all"
		return c
	}
	with := func(c Flags, set func(c *Flags)) Flags {
		set(&c)
		return c
	}
	for _, test := range []struct {
		name string
		cmd  Flags
		want calibrate.Method
		err  string
	}{
		{"dpcache", full(7, "dpcache"), &calibrate.DPCache{Full: 7, First: 3}, ""},
		{"cem", full(7, "cem"), &calibrate.CEM{Full: 7, Weight: calibrate.CEMLinear, Interval: 1}, ""},
		{
			"l2p", full(0, "l2p"),
			&calibrate.L2P{First: 3, Feature: reuse.HiddenFeature, Columns: calibrate.AllColumns}, "",
		},
		{"full and speed", with(full(7, "cem"), func(c *Flags) { c.Speed = "2x" }), nil, "--speed or --full"},
		{
			"threshold and speed",
			with(full(0, "teacache"), func(c *Flags) { c.Threshold, c.Speed = &threshold, "2x" }),
			nil, "--speed or --threshold",
		},
		{
			"two ratios",
			with(full(0, "tokencache"), func(c *Flags) { c.Ratio, c.Policy = &threshold, "importance=random,ratio=0.5" }),
			nil, "--ratio 0.1 and --policy ratio=0.5: give one of them",
		},
		{
			"ratio of a policy and speed",
			with(full(0, "tokencache"), func(c *Flags) { c.Speed, c.Policy = "2x", "importance=random,ratio=0.5" }),
			nil, "give --speed, for which the ratio is found, or --policy ratio=0.5, not both",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := test.cmd.NewMethod()
			switch {
			case test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err)):
				t.Errorf("error %v, want %q", err, test.err)
			case test.err == "" && (err != nil || !reflect.DeepEqual(got, test.want)):
				t.Errorf("%+v (%v), want %+v", got, err, test.want)
			}
		})
	}
}

// TestPaper checks that the paper's versions are trained on the path that sampling takes, unless
// flags say otherwise.
func TestPaper(t *testing.T) {
	updates := 7
	for _, test := range []struct {
		flags    Flags
		training calibrate.Training
		updates  int
		lr       float64
	}{
		{Flags{Paper: "v1"}, calibrate.PathTraining, 120, 2e-3},
		{Flags{Paper: "v2"}, calibrate.PathTraining, 120, 3e-4},
		{Flags{Paper: "v1", Training: "soft", Updates: &updates}, calibrate.SoftTraining, 7, 2e-3},
		{Flags{Speed: "2x"}, calibrate.SoftTraining, 300, 3e-4},
	} {
		test.flags.Method = reuse.TokenCacheMethod
		made, err := test.flags.NewMethod()
		if err != nil {
			t.Fatal(err)
		}
		m := made.(*calibrate.TokenCache)
		if m.Training != test.training || m.Updates != test.updates || m.LR != test.lr {
			t.Errorf("--paper %q: training %s, %d updates at %g; want %s, %d at %g",
				test.flags.Paper, m.Training, m.Updates, m.LR, test.training, test.updates, test.lr)
		}
	}
}
