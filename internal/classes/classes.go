// Package classes parses a user's selection of a model's classes: by number, name, list or range.
//
// It knows neither models nor where names come from. A class's name is one line of text; synonyms,
// if it has several, stand behind one another with ", " between them, the commonest first.
package classes

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Select returns the classes that selections name, in their order, for a model of count classes
// with the given names (nil if they have none). A selection is
//
//	7              a number
//	3-7 or 3..7    a range, both ends included
//	ankle boot     a name, as Lookup finds it
//	1,5-7,otter    a list of those
//
// Names may contain commas and hyphens: a selection that is a name as a whole is not taken apart. A
// number or a range that is also another class's name is ambiguous, which is an error.
func Select(selections []string, count int, names []string) ([]int, error) {
	m := model{count, names}
	var chosen []int
	for _, s := range selections {
		found, err := m.selection(strings.TrimSpace(s))
		if err != nil {
			return nil, err
		}
		chosen = append(chosen, found...)
	}
	return chosen, nil
}

// All returns the classes of a model of count classes.
func All(count int) []int {
	all := make([]int, count)
	for i := range all {
		all[i] = i
	}
	return all
}

// Cycle returns count classes: those chosen, repeated.
func Cycle(chosen []int, count int) []int {
	if len(chosen) == 0 {
		return nil
	}
	cycle := make([]int, count)
	for i := range cycle {
		cycle[i] = chosen[i%len(chosen)]
	}
	return cycle
}

// Short returns the most common of a name's synonyms.
func Short(name string) string {
	short, _, _ := strings.Cut(name, ", ")
	return short
}

// model is the classes that selections refer to.
type model struct {
	count int
	names []string
}

var (
	numberForm = regexp.MustCompile(`^[+-]?[0-9]+$`)
	rangeForm  = regexp.MustCompile(`^([0-9]+) *(?:-|\.\.) *([0-9]+)$`)
)

// selection parses one selection.
func (m model) selection(s string) ([]int, error) {
	if strings.Contains(s, ",") && len(exact(m.names, fold(s))) == 0 {
		var chosen []int
		for part := range strings.SplitSeq(s, ",") {
			found, err := m.item(strings.TrimSpace(part))
			if err != nil {
				return nil, fmt.Errorf("%w (in the list %q)", err, s)
			}
			chosen = append(chosen, found...)
		}
		return chosen, nil
	}
	return m.item(s)
}

// item parses a selection that is not a list.
func (m model) item(s string) ([]int, error) {
	if s == "" {
		return nil, errors.New("a class is empty: want a number, a name or a range")
	}
	if ends := rangeForm.FindStringSubmatch(s); ends != nil {
		return m.ranged(s, ends[1], ends[2])
	}
	find := m.name
	if numberForm.MatchString(s) {
		find = m.numbered
	}
	i, err := find(s)
	if err != nil {
		return nil, err
	}
	return []int{i}, nil
}

// between returns the classes of the range s.
func (m model) between(s, from, to string) ([]int, error) {
	first, err := m.number(from)
	if err != nil {
		return nil, err
	}
	last, err := m.number(to)
	if err != nil {
		return nil, err
	}
	if last < first {
		return nil, fmt.Errorf("classes %s run backwards: want %d-%d", s, last, first)
	}
	return All(last + 1)[first:], nil
}

func (m model) number(s string) (int, error) {
	i, err := strconv.Atoi(s)
	if err != nil || i < 0 || i >= m.count {
		return 0, fmt.Errorf("class %s is out of range: this model has classes 0..%d", s, m.count-1)
	}
	return i, nil
}

func (m model) name(s string) (int, error) {
	if len(m.names) == 0 {
		return 0, fmt.Errorf("class %q: this model's classes have no names, only numbers 0..%d", s, m.count-1)
	}
	i, err := Lookup(m.names, s)
	if err != nil {
		return 0, err
	}
	return m.number(strconv.Itoa(i))
}
