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
		{"full steps of others", full(7, "teacache"), nil, "--full is for --method dpcache, cem and l2p"},
		{"full steps of tokencache", full(7, "tokencache"), nil, "--full is for --method dpcache, cem and l2p"},
		{
			"a threshold of planned steps",
			with(full(0, "dpcache"), func(c *Flags) { c.Threshold = &threshold }),
			nil, "--threshold is not for --method dpcache",
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
