package checkpoint

import (
	"fmt"
	"strconv"
	"strings"
)

// What a pickle says becomes one of these values, or nil, bool, int64, float64, string or []byte.
type (
	tuple []any
	list  struct{ items []any } // also a set
	dict  struct{ pairs []pair }
	pair  struct{ key, value any }

	// wide is an integer of more than 64 bits, little-endian, as it stands in the pickle.
	wide []byte

	// record is an object of a class that means nothing here, such as argparse.Namespace: its
	// class, what it was made of, and what it holds if the class is a list or a dict.
	record struct {
		class string
		args  tuple
		state any
		list  list
		dict  dict
	}
)

// get returns the value of a string key; where a key is repeated the last counts, as in Python.
func (d *dict) get(key string) (any, bool) {
	for i := len(d.pairs) - 1; i >= 0; i-- {
		if k, ok := d.pairs[i].key.(string); ok && k == key {
			return d.pairs[i].value, true
		}
	}
	return nil, false
}

// kind says what a value is, for messages.
func kind(v any) string {
	switch v := v.(type) {
	case nil:
		return "None"
	case bool:
		return "a bool"
	case int64, wide:
		return "an integer"
	case float64:
		return "a float"
	case string:
		return "a string"
	case []byte:
		return "bytes"
	case tuple:
		return "a tuple"
	case *list:
		return "a list"
	case *dict:
		return "a dict"
	case *global:
		return Clean(v.name)
	case *record:
		return "a " + Clean(v.class)
	case *view:
		return "a tensor"
	case *storageRef:
		return "a storage"
	}
	return fmt.Sprintf("%T", v)
}

const (
	maxShown = 1000 // characters of a value that is shown
	maxDepth = 4    // of values within values
)

// show writes a value for people, as Python would, and cuts short what is long or deep. A list that
// contains itself is deep.
func show(v any) string {
	s := shower{}
	s.value(v, 0)
	if s.full() {
		return s.String()[:maxShown] + "..."
	}
	return s.String()
}

type shower struct{ strings.Builder }

func (s *shower) full() bool { return s.Len() > maxShown }

func (s *shower) value(v any, depth int) {
	if depth > maxDepth {
		s.WriteString("...")
		return
	}
	switch v := v.(type) {
	case bool:
		s.WriteString(map[bool]string{true: "True", false: "False"}[v])
	case int64, float64:
		fmt.Fprint(s, v)
	case string:
		s.WriteString(strconv.Quote(v[:min(len(v), maxShown)]))
	case []byte:
		fmt.Fprintf(s, "%d bytes", len(v))
	case tuple:
		s.sequence("(", ")", len(v), func(i int) { s.value(v[i], depth+1) })
	case *list:
		s.sequence("[", "]", len(v.items), func(i int) { s.value(v.items[i], depth+1) })
	case *dict:
		s.sequence("{", "}", len(v.pairs), func(i int) {
			s.value(v.pairs[i].key, depth+1)
			s.WriteString(": ")
			s.value(v.pairs[i].value, depth+1)
		})
	case *record:
		s.record(v, depth)
	case *view:
		fmt.Fprintf(s, "tensor %v %s", v.shape, v.dtype)
	default:
		s.WriteString(kind(v))
	}
}

// record shows a class with the arguments, the attributes and the items that an object of it was
// made of.
func (s *shower) record(r *record, depth int) {
	s.WriteString(Clean(r.class))
	named := r.dict.pairs
	if attributes, ok := r.state.(*dict); ok && len(attributes.pairs) > 0 {
		named = attributes.pairs
	}
	args, items := len(r.args), len(r.list.items)
	s.sequence("(", ")", args+items+len(named), func(i int) {
		switch {
		case i < args:
			s.value(r.args[i], depth+1)
		case i < args+items:
			s.value(r.list.items[i-args], depth+1)
		default:
			p := named[i-args-items]
			if name, ok := p.key.(string); ok {
				s.WriteString(Clean(name))
			} else {
				s.value(p.key, depth+1)
			}
			s.WriteString("=")
			s.value(p.value, depth+1)
		}
	})
}

func (s *shower) sequence(open, end string, n int, item func(i int)) {
	s.WriteString(open)
	for i := 0; i < n && !s.full(); i++ {
		if i > 0 {
			s.WriteString(", ")
		}
		item(i)
	}
	s.WriteString(end)
}
