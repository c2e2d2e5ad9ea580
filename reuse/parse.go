package reuse

import (
	"fmt"
	"slices"
	"strings"
)

// Parse reads a policy as a user writes it: none, NAME, or NAME:key=value,key=value. Case and the
// choice between hyphens and underscores do not matter in keys.
func Parse(text string) (Policy, error) {
	name, rest, _ := strings.Cut(text, ":")
	i := slices.IndexFunc(methods, func(m method) bool { return m.name == name })
	if i < 0 {
		var names []string
		for _, m := range methods {
			names = append(names, m.name)
		}
		return nil, fmt.Errorf("unknown policy %q%s: want one of %s, or the folder of a trained policy",
			name, didYouMean(names, name), strings.Join(names, ", "))
	}
	p := methods[i].make()
	if rest != "" {
		for pair := range strings.SplitSeq(rest, ",") {
			key, value, ok := strings.Cut(pair, "=")
			if !ok {
				return nil, fmt.Errorf("policy %s: %q: want key=value", name, pair)
			}
			if err := p.Set(key, value); err != nil {
				return nil, fmt.Errorf("policy %s: %w", name, err)
			}
		}
	}
	if err := p.Validate(); err != nil {
		return nil, fmt.Errorf("policy %s: %w", name, err)
	}
	return p, nil
}
