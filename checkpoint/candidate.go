package checkpoint

import (
	"slices"
	"strings"
)

// candidate is a set, or those tensors of it whose names begin alike.
type candidate struct {
	*set
	label  string // the keys that lead to it, and what tells its names from the set's others, joined by "."
	prefix string // of the names in the set, which come off
	names  []string
}

// Names and Lookup make a candidate a Lister: its names are without the prefix.
func (c *candidate) Names() []string {
	names := make([]string, len(c.names))
	for i, name := range c.names {
		names[i] = name[len(c.prefix):]
	}
	return names
}

func (c *candidate) Lookup(name string) (Info, bool) {
	t, ok := c.tensors[c.prefix+name]
	if !ok {
		return Info{}, false
	}
	return t.Info, true
}

// Models are smaller than this neither in tensors nor are their names wrapped deeper.
const (
	fewTensors  = 4
	maxWrappers = 8
)

// models returns the parts of a set that known knows. Wrappers of a network (a parallel one, a
// compiled one, a framework's module) put words before all of its names, which say nothing of what
// it is; and a set may hold several networks, each under a word, or the averages of one under a
// word of theirs.
func (s *set) models(known func(Lister) bool) []candidate {
	if len(s.names) < fewTensors {
		return nil
	}
	m := modelSearch{set: s, known: known}
	m.visit(s.names, 0, 0, s.path)
	return m.found
}

type modelSearch struct {
	set   *set
	known func(Lister) bool
	found []candidate
}

// visit looks among names, which are sorted and alike in their first cut bytes.
func (m *modelSearch) visit(names []string, cut, depth int, label []string) {
	c := candidate{m.set, strings.Join(label, "."), names[0][:cut], names}
	isKnown := m.known(&c)
	at := len(m.found)
	for i, j := 0, 0; i < len(names) && depth < maxWrappers; i = j {
		j = i + 1
		word, ok := firstWord(names[i][cut:])
		if !ok {
			continue
		}
		to := cut + len(word) + 1
		for j < len(names) && strings.HasPrefix(names[j], names[i][:to]) {
			j++
		}
		if j-i < fewTensors || isKnown && !isAverage(word) {
			continue
		}
		inner, before := label, len(m.found)
		if j-i < len(names) {
			inner = append(slices.Clip(label), word)
		}
		m.visit(names[i:j], to, depth+1, inner)
		if isKnown && len(m.found) > before { // the averages are not the network's own tensors
			c.names = slices.DeleteFunc(slices.Clone(c.names), func(name string) bool {
				return strings.HasPrefix(name, names[i][:to])
			})
		}
	}
	if isKnown {
		m.found = slices.Insert(m.found, at, c)
	}
}
