package reuse

import (
	"fmt"
	"slices"
	"strings"
)

// Parse reads a policy as a user writes it: none, NAME, or NAME:key=value,key=value. Case and the
// choice between hyphens and underscores do not matter in keys. A parameter that is there twice, or
// that has no effect next to the others and is not its default, is an error.
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
	var set []pair
	if rest != "" {
		for text := range strings.SplitSeq(rest, ",") {
			key, value, ok := strings.Cut(text, "=")
			if !ok {
				return nil, fmt.Errorf("policy %s: %q: want key=value", name, text)
			}
			if err := p.Set(key, value); err != nil {
				return nil, fmt.Errorf("policy %s: %w", name, err)
			}
			set = append(set, pair{key, value})
		}
	}
	err := p.Validate()
	if err == nil && len(set) > 0 {
		err = checkEffect(p, methods[i].make(), set)
	}
	if err != nil {
		return nil, fmt.Errorf("policy %s: %w", name, err)
	}
	return p, nil
}

// pair is a parameter as it was written.
type pair struct{ key, value string }

// idler is a method whose String writes parameters that may have no effect next to the others.
type idler interface {
	// idle returns the names of those that have none.
	idle() []string
}

// checkEffect reports parameters that were set twice, or in vain: those that the method p does not
// write or calls idle, unless they are as in standard, the method with its defaults.
func checkEffect(p, standard settable, set []pair) error {
	list, defaults := paramsOf(p), paramsOf(standard)
	matter := writtenParams(p, list)
	var idle []string
	if i, ok := p.(idler); ok {
		idle = i.idle()
	}
	seen := map[string]string{}
	for _, s := range set {
		found, _ := find(list, s.key)
		name := found.names[0]
		if earlier, twice := seen[name]; twice {
			return fmt.Errorf("%s=%s: %s is there already", s.key, s.value, earlier)
		}
		seen[name] = s.key + "=" + s.value
		usual, _ := find(defaults, name)
		if valueText(found.field) == valueText(usual.field) {
			continue
		}
		written := slices.ContainsFunc(found.names, func(n string) bool { return slices.Contains(matter, n) })
		if !written || slices.Contains(idle, name) {
			return fmt.Errorf("%s=%s: it has no effect in %s", s.key, s.value, p)
		}
	}
	return nil
}
