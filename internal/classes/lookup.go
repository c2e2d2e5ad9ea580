package classes

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/tokencache/tokencache/internal/spelling"
)

// Lookup returns the class that query names: the one that has it as its name or as a synonym, else
// the one whose name contains it. Of several with that synonym it is the one that has it as its
// most common, if only one does. Case does not matter, and an underscore is a space. The error
// lists the classes if several match, and similar names if none does.
func Lookup(names []string, query string) (int, error) {
	q := fold(query)
	found := exact(names, q)
	if len(found) > 1 {
		other := func(i int) bool { return fold(Short(names[i])) != q }
		if first := slices.DeleteFunc(slices.Clone(found), other); len(first) == 1 {
			return first[0], nil
		}
	}
	if len(found) == 0 && q != "" {
		for i, name := range names {
			if strings.Contains(fold(name), q) {
				found = append(found, i)
			}
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return 0, unknown(names, query)
	}
	return 0, ambiguous(names, query, found)
}

// exact returns the classes of which q, folded, is the whole name or a synonym.
func exact(names []string, q string) (found []int) {
	for i, name := range names {
		if fold(name) == q || slices.ContainsFunc(synonyms(name), func(s string) bool { return fold(s) == q }) {
			found = append(found, i)
		}
	}
	return found
}

func synonyms(name string) []string { return strings.Split(name, ", ") }

// fold returns the form in which names are compared.
func fold(s string) string {
	return strings.Join(strings.Fields(strings.ToLower(strings.ReplaceAll(s, "_", " "))), " ")
}

// numbered returns the class that a number selects: the one with that name if none has that number,
// else the one with that number. It refuses a number that is another class's name.
func (m model) numbered(s string) (int, error) {
	named := exact(m.names, fold(s))
	i, err := m.number(s)
	switch {
	case len(named) == 0 || err == nil && slices.Equal(named, []int{i}):
		return i, err
	case err != nil:
		return m.name(s)
	}
	other := named[0]
	if other == i {
		other = named[1]
	}
	own := "without a name" // there may be fewer names than classes
	if i < len(m.names) {
		own = strconv.Quote(Short(m.names[i]))
	}
	return 0, fmt.Errorf("class %s is ambiguous: the number of class %s, and the name of class number %d; %d-%d and %d-%d, "+
		"ranges of numbers, are not", s, own, other, i, i, other, other)
}

// ranged returns the classes of the range s: the one with that name if they are no classes. It
// refuses a range that is the name of another class.
func (m model) ranged(s, from, to string) ([]int, error) {
	named := exact(m.names, fold(s))
	list, err := m.between(s, from, to)
	switch {
	case len(named) == 0 || err == nil && slices.Equal(named, list):
		return list, err
	case err != nil:
		i, err := m.name(s)
		return []int{i}, err
	}
	return nil, fmt.Errorf("class %s is ambiguous: the classes %s to %s, and the name of class number %d; %s - %s, "+
		"a range with spaces, and %d-%d are not", s, from, to, named[0], from, to, named[0], named[0])
}

func ambiguous(names []string, query string, found []int) error {
	const maxListed = 8
	var list []string
	for _, i := range found[:min(len(found), maxListed)] {
		list = append(list, fmt.Sprintf("%d (%s)", i, Short(names[i])))
	}
	rest := ""
	if n := len(found) - len(list); n > 0 {
		rest = fmt.Sprintf(" and %d more", n)
	}
	return fmt.Errorf("class %q fits several: %s%s; give a number or more of the name",
		query, strings.Join(list, ", "), rest)
}

// some lists the names, or of many the first few.
func some(names []string) string {
	const few = 12
	var list []string
	for _, name := range names[:min(len(names), few)] {
		list = append(list, Short(name))
	}
	if n := len(names) - len(list); n > 0 {
		return fmt.Sprintf("%s, or one of %d more", strings.Join(list, ", "), n)
	}
	return strings.Join(list, ", ")
}

// unknown returns the error for a name that no class has, with what may have been meant.
func unknown(names []string, query string) error {
	near := nearest(names, fold(query))
	if len(near) == 0 {
		return fmt.Errorf("class %q is unknown: want %s", query, some(names))
	}
	return fmt.Errorf("class %q is unknown; did you mean %s?", query, strings.Join(near, ", "))
}

// nearest returns the few synonyms that differ from q, folded, in at most a third of its letters,
// nearest first.
func nearest(names []string, q string) []string {
	const maxListed = 3
	type candidate struct {
		name     string
		distance int
	}
	limit := spelling.Limit(q)
	var near []candidate
	for i, name := range names {
		for _, s := range synonyms(name) {
			if d := spelling.Distance(q, fold(s), limit); d <= limit {
				near = append(near, candidate{fmt.Sprintf("%s (%d)", s, i), d})
			}
		}
	}
	slices.SortStableFunc(near, func(a, b candidate) int { return cmp.Compare(a.distance, b.distance) })
	list := make([]string, min(len(near), maxListed))
	for i := range list {
		list[i] = near[i].name
	}
	return list
}
