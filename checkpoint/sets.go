package checkpoint

import (
	"fmt"
	"slices"
	"strings"
)

// set is a dict of tensors in a file.
type set struct {
	path    []string // the keys that lead to it; none for the file's only one
	tensors map[string]*stored
	names   []string          // sorted, once the set is complete
	foreign map[string]string // what stands in place of a tensor: objects of classes that mean nothing here
}

func newSet(path []string) *set {
	return &set{path: path, tensors: map[string]*stored{}, foreign: map[string]string{}}
}

func (s *set) add(t *stored) {
	s.tensors[t.Name] = t
	s.names = append(s.names, t.Name)
}

// maxNesting bounds how deep sets are looked for.
const maxNesting = 16

// setsIn finds all dicts of tensors, at any depth, in what torch.load would return, in the order of
// the file. Place finds a storage. It also notes what else there is.
func (f *File) setsIn(root any, place func(*storageRef) (placed, error)) ([]*set, error) {
	d, ok := root.(*dict)
	if !ok {
		return nil, fmt.Errorf("it holds %s, want a dict of tensors: save the model's state_dict", kind(root))
	}
	s := search{place: place, seen: map[any]bool{}, of: map[*dict]*set{}}
	if err := s.dict(nil, d); err != nil {
		return nil, err
	}
	f.root = d
	return s.sets, nil
}

// search goes through every container once, however many refer to it.
type search struct {
	place   func(*storageRef) (placed, error)
	seen    map[any]bool
	sets    []*set
	of      map[*dict]*set
	aliases int
	count   int // tensors
}

// maxAliases bounds the other ways to sets that are noted: a script may save one dict as both model
// and ema.
const maxAliases = 16

// step is a key on the way to a container.
type step struct {
	up    *step
	depth int
	key   any
}

// path returns the keys that lead to a container.
func (s *step) path() []string {
	if s == nil {
		return nil
	}
	if key, ok := s.key.(string); ok {
		return append(s.up.path(), Clean(key))
	}
	return append(s.up.path(), show(s.key))
}

func (s *step) to(key any) *step {
	if s == nil {
		return &step{nil, 1, key}
	}
	return &step{s, s.depth + 1, key}
}

// value looks into a container.
func (s *search) value(way *step, key, v any) error {
	if way != nil && way.depth == maxNesting {
		return nil
	}
	switch v := v.(type) {
	case *dict:
		if s.first(v) {
			return s.dict(way.to(key), v)
		}
		if own := s.of[v]; own != nil && s.aliases < maxAliases {
			s.aliases++
			alias := *own
			alias.path = way.to(key).path()
			s.sets = append(s.sets, &alias)
		}
	case *record: // whose class is a dict
		if len(v.dict.pairs) > 0 && s.first(v) {
			return s.dict(way.to(key), &v.dict)
		}
	case *list:
		if !s.first(v) {
			return nil
		}
		inside := way.to(key)
		for i, item := range v.items {
			if err := s.value(inside, int64(i), item); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *search) first(container any) bool {
	if s.seen[container] {
		return false
	}
	s.seen[container] = true
	return true
}

func (s *search) dict(way *step, d *dict) error {
	var own *set
	at := len(s.sets)
	for _, p := range d.pairs {
		name, isString := p.key.(string)
		v, isTensor := p.value.(*view)
		if !isTensor || !isString {
			if err := s.value(way, p.key, p.value); err != nil {
				return err
			}
			continue
		}
		if own == nil {
			own = newSet(way.path())
		}
		if err := s.tensor(own, name, v); err != nil {
			return err
		}
	}
	if own == nil {
		return nil
	}
	for _, p := range d.pairs {
		name, isString := p.key.(string)
		if r, ok := p.value.(*record); ok && isString && len(name) <= maxName {
			own.foreign[name] = kind(r)
		}
	}
	s.sets = slices.Insert(s.sets, at, own)
	s.of[d] = own
	return nil
}

// tensor adds a tensor to a set. What is wrong with it is kept, for those who want to read it.
// Where a key is repeated the last counts, as in Python.
func (s *search) tensor(own *set, name string, v *view) error {
	if err := checkName(name); err != nil {
		return err
	}
	if s.count++; s.count > maxTensors {
		return fmt.Errorf("more than %d tensors", maxTensors)
	}
	where, err := s.place(v.storage)
	t := &stored{Info: v.info()}
	if err == nil {
		t, err = v.place(where)
	}
	t.Name, t.bad = name, err
	if own.tensors[name] != nil {
		own.tensors[name] = t
		return nil
	}
	own.add(t)
	return nil
}

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
		word, _, ok := strings.Cut(names[i][cut:], ".")
		if !ok {
			continue
		}
		to := cut + len(word) + 1
		for j < len(names) && strings.HasPrefix(names[j], names[i][:to]) {
			j++
		}
		if j-i < fewTensors || isKnown && !averaged.MatchString(word) {
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
