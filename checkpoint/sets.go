package checkpoint

import (
	"fmt"
	"slices"
)

// set is a dict of tensors in a file. Several keys may lead to one.
type set struct {
	path []string // the keys that lead to it; none for the file's only one
	*contents
}

// contents is the tensors of a set.
type contents struct {
	tensors map[string]*stored
	names   []string          // in the order of the file, and sorted from choose on
	foreign map[string]string // what stands in place of a tensor: objects of classes that mean nothing here
	order   []string          // the names in the order of the file, if averages without names need it
	wrapped bool              // wrappers' words were taken out of the names
}

func newSet(path []string) *set {
	return &set{path, &contents{tensors: map[string]*stored{}, foreign: map[string]string{}}}
}

func (c *contents) add(t *stored) {
	c.tensors[t.Name] = t
	c.names = append(c.names, t.Name)
}

// maxNesting bounds how deep sets are looked for.
const maxNesting = 16

// setsIn finds all dicts of tensors, at any depth, in what torch.load would return, in the order of
// the file. Place finds a storage. It also notes what else there is.
func (f *File) setsIn(root any, place func(*storageRef) (placed, error)) ([]*set, error) {
	s := search{place: place, seen: map[any]bool{}, of: map[*dict]*set{}}
	f.root = outermost(root)
	var err error
	items, isList := sequence(root)
	switch {
	case isList:
		err = s.items(nil, items)
	case f.root != nil:
		err = s.dict(nil, f.root)
	}
	f.lists, f.place = s.lists, place
	if err == nil && len(s.sets) == 0 && (isList || f.root == nil) {
		err = fmt.Errorf("it holds %s, want a dict of tensors: save the model's state_dict", kind(root))
	}
	return s.sets, err
}

// outermost returns what a file holds as a dict: of its first items, by their numbers, if it holds
// a list or a tuple, such as (state_dict, {...}). It is nil for anything else.
func outermost(root any) *dict {
	switch root := root.(type) {
	case *dict:
		return root
	case *record: // whose class is a dict
		if len(root.dict.pairs) > 0 {
			return &root.dict
		}
	}
	items, ok := sequence(root)
	if !ok {
		return nil
	}
	d := &dict{}
	for i, item := range items[:min(len(items), maxEntries+1)] {
		d.pairs = append(d.pairs, pair{int64(i), item})
	}
	return d
}

// search goes through every container once, however many refer to it.
type search struct {
	place   func(*storageRef) (placed, error)
	seen    map[any]bool
	sets    []*set
	of      map[*dict]*set
	lists   []nameless
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
			s.sets = append(s.sets, &set{way.to(key).path(), own.contents})
		}
	case *record: // whose class is a dict
		if len(v.dict.pairs) > 0 && s.first(v) {
			return s.dict(way.to(key), &v.dict)
		}
	case *list:
		if s.first(v) {
			return s.items(way.to(key), v.items)
		}
	case tuple:
		if len(v) > 0 && s.first(&v[0]) {
			return s.items(way.to(key), v)
		}
	}
	return nil
}

// items looks into a list or a tuple.
func (s *search) items(way *step, items []any) error {
	s.listed(way, items)
	for i, item := range items {
		if err := s.value(way, int64(i), item); err != nil {
			return err
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
