// Package effect knows which flags have no effect in which runs, so that verbs refuse them instead of
// ignoring them. It reads no file.
package effect

import (
	"fmt"
	"reflect"
	"slices"

	"github.com/alecthomas/kong"
)

// Given are the flags that a command line has, by their long names.
type Given map[string]bool

// Of returns the flags of a command line. Those that a configuration sets for many runs, and those
// with a value of zero, which ask for nothing, are not among them.
func Of(k *kong.Context) Given {
	given := Given{}
	for _, p := range k.Path {
		if p.Flag == nil || p.Resolved {
			continue
		}
		v := reflect.Indirect(p.Flag.Target)
		given[p.Flag.Name] = v.IsValid() && !v.IsZero()
	}
	return given
}

// rule says when flags have no effect in a run R.
type rule[R any] struct {
	flags []string
	idle  func(R) bool
	why   string
}

// check reports the first flag that is given in vain.
func check[R any](rules []rule[R], given Given, run R) error {
	for _, r := range rules {
		i := slices.IndexFunc(r.flags, func(flag string) bool { return given[flag] })
		if i >= 0 && r.idle(run) {
			return fmt.Errorf("--%s has no effect: %s", r.flags[i], r.why)
		}
	}
	return nil
}
