package main

import (
	"io"
	"strings"
	"testing"

	"github.com/tokencache/tokencache"
)

// TestRedundancyShowsOwnPolicy checks that without --policy the policy is shown that the model's
// images are generated with.
func TestRedundancyShowsOwnPolicy(t *testing.T) {
	a := &app{ctx: t.Context(), stderr: io.Discard}
	for _, test := range []struct{ steps, want string }{
		{"50", "ddim50-2.4x"},
		{"10", "tokencache"},
	} {
		t.Run(test.steps, func(t *testing.T) {
			c := &inspectCmd{}
			c.Sampler, c.Steps = "ddim", test.steps
			p, sampling, err := a.open(&c.Path, tokencache.Options{Threads: 1}, &c.samplingFlags)
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			policy, err := c.shown(a, sampling)
			if err != nil {
				t.Fatal(err)
			}
			if got, _, _ := strings.Cut(policy.String(), ":"); got != test.want {
				t.Errorf("policy %s, want %s", policy, test.want)
			}
		})
	}
}
