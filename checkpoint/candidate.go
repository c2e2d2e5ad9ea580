package checkpoint

import (
	"fmt"
	"slices"
	"strings"
)

// candidate is a set, or those tensors of it whose names begin alike.
type candidate struct {
	*set
	label  string // the keys that lead to it, and what tells its names from the set's others, joined by "."
	prefix string // of the names in the set, which come off
	names  []string

	// Of an average without names: what makes its tensors, which stand in for those of the set; and if
	// it is no list, the set that it is in and its names there.
	average average
	origin  *set
	taken   []string
}

func (c *candidate) isList() bool { return c.average != nil && c.origin == nil }

// from returns the set that the candidate's tensors are in.
func (c *candidate) from() *set {
	if c.origin != nil {
		return c.origin
	}
	return c.set
}

// leftOut returns the names of the set's other tensors.
func (c *candidate) leftOut() []string {
	all, taken := c.from().names, c.names
	if c.origin != nil {
		taken = c.taken
	}
	if len(all) == len(taken) || c.isList() {
		return nil
	}
	var names []string
	for _, name := range all {
		if _, ok := slices.BinarySearch(taken, name); !ok {
			names = append(names, name)
		}
	}
	return names
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

// models returns what known knows of the sets: their parts that are models, and averages without
// names of one of these. It also says why other averages are none.
func (f *File) models(sets []*set, known func(Lister) bool) (all []candidate, unused []string, err error) {
	sets, err = unwrappedSets(sets)
	if err != nil {
		return nil, nil, err
	}
	averages := f.lists
	for _, s := range sets {
		f.sort(s)
		found, without := s.models(known)
		all = append(all, found...)
		averages = append(averages, without...)
	}
	if len(all) == 0 {
		return nil, nil, nil
	}
	models := originals(all)
	for _, a := range averages[:min(len(averages), maxNameless)] {
		c, err := a.of(models, f.place)
		if err == nil {
			all = append(all, c)
		} else if !optimizer.MatchString(a.label) {
			unused = append(unused, fmt.Sprintf("the average under %q cannot be used: %v", Clean(a.label), err))
		}
	}
	return all, unused, nil
}

// models returns the parts of a set that known knows, and averages of other names. Wrappers of a
// network (a parallel one, a compiled one, a framework's module) put words before all of its names,
// which say nothing of what it is; and a set may hold several networks, each under a word, or the
// averages of one under a word of theirs.
func (s *set) models(known func(Lister) bool) ([]candidate, []nameless) {
	if len(s.names) < fewTensors {
		return nil, nil
	}
	m := modelSearch{set: s, known: known}
	m.visit(s.names, 0, 0, s.path)
	if len(m.found)+len(m.without) == 0 && isAverage(strings.Join(s.path, ".")) {
		m.unknown(s.path, s.names, 0)
	}
	return m.found, m.without
}

type modelSearch struct {
	set     *set
	known   func(Lister) bool
	found   []candidate
	without []nameless
}

// unknown notes an average in which no model is found, and reports whether its names have no dots.
func (m *modelSearch) unknown(label, names []string, cut int) bool {
	if len(m.without) == maxNameless {
		return false
	}
	a := nameless{label: strings.Join(label, "."), path: m.set.path, set: m.set, names: names, cut: cut}
	m.without = append(m.without, a)
	return a.dotless()
}

// visit looks among names, which are sorted and alike in their first cut bytes.
func (m *modelSearch) visit(names []string, cut, depth int, label []string) {
	c := candidate{set: m.set, label: strings.Join(label, "."), prefix: names[0][:cut], names: names}
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
		inner, before, without := label, len(m.found), len(m.without)
		if j-i < len(names) {
			inner = append(slices.Clip(label), word)
		}
		m.visit(names[i:j], to, depth+1, inner)
		isOther := len(m.found) > before
		if !isOther && len(m.without) == without && isAverage(word) {
			isOther = m.unknown(append(slices.Clip(label), word), names[i:j], to)
		}
		if isKnown && isOther { // the averages are not the network's own tensors
			c.names = slices.DeleteFunc(slices.Clone(c.names), func(name string) bool {
				return strings.HasPrefix(name, names[i][:to])
			})
		}
	}
	if isKnown {
		m.found = slices.Insert(m.found, at, c)
	}
}
