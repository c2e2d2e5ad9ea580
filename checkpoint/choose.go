package checkpoint

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// ChoiceError says that a file holds other sets of weights than the one that was asked for, or
// several of which none is to be preferred.
type ChoiceError struct {
	Key  string   // that was asked for, or ""
	Keys []string // that there are
}

func (e *ChoiceError) Error() string {
	keys := strings.Join(e.Keys, ", ")
	switch {
	case e.Key != "" && keys == "":
		return fmt.Sprintf("no weights under %q: the file holds one set of weights", e.Key)
	case e.Key != "":
		return fmt.Sprintf("no weights under %q; there are weights under %s", e.Key, keys)
	}
	return fmt.Sprintf("several sets of weights, under %s: say by its key which to take", keys)
}

// preferred are the keys under which training scripts keep the weights themselves, the best first.
var preferred = []string{"model", "state_dict", "params", "net"}

// optimizer matches the keys of an optimizer's state, whose tensors are not weights.
var optimizer = regexp.MustCompile(`^(opt|optim|optimizer)([._s]|$)`)

// choose takes one of the sets: of those that hold a known model, the one under key; else the
// average; else the weights themselves. If none is known, all sets are to choose from, with their
// names as they are.
func (f *File) choose(sets []*set, o OpenOptions) error {
	var all []candidate
	var unused []string
	if o.Known != nil {
		var err error
		if all, unused, err = f.models(sets, o.Known); err != nil {
			return err
		}
	}
	models := len(all)
	for _, s := range sets {
		f.sort(s)
	}
	if models == 0 {
		for _, s := range sets {
			if label := strings.Join(s.path, "."); o.Key != "" || !optimizer.MatchString(label) {
				all = append(all, candidate{set: s, label: label, names: s.names})
			}
		}
		all = f.named(all)
		all = append(all, under(all, o.Key)...)
	}
	if len(all) == 0 && len(f.lists) > 0 {
		return fmt.Errorf("its tensors are a list under %q, without names: want a file that has the model's state_dict too",
			f.lists[0].label)
	}
	c, err := choice(all, o.Key, f.keys())
	if err != nil {
		return err
	}
	f.note(c, all)
	f.Assumed = ""
	if isAverage(c.label) {
		unused = nil
	}
	if o.Key == "" && (models > 1 || unused != nil) {
		f.Assumed = "the weights are " + quoted(c.label)
		if models > 1 {
			f.Assumed += ", of several sets: "
			if slices.ContainsFunc(all, func(c candidate) bool { return c.label == "" }) {
				f.Assumed += quoted("") + ", "
			}
			f.Assumed += strings.Join(labels(all), ", ")
		}
		f.Assumed = strings.Join(append([]string{f.Assumed}, unused...), "; ")
	}
	return f.adopt(c)
}

// under returns the tensors whose names in a candidate begin with what key says beyond that
// candidate's label.
func under(all []candidate, key string) []candidate {
	for _, c := range all {
		rest, ok := strings.CutPrefix("."+key+".", "."+c.label+".")
		if c.label == "" {
			rest, ok = key+".", key != ""
		}
		if !ok || rest == "" {
			continue
		}
		first, _ := slices.BinarySearch(c.names, rest)
		last := first
		for last < len(c.names) && strings.HasPrefix(c.names[last], rest) {
			last++
		}
		if first < last {
			return []candidate{{set: c.set, label: key, prefix: rest, names: c.names[first:last]}}
		}
	}
	return nil
}

// choice returns the candidate under key or, without one, the one to prefer.
func choice(all []candidate, key string, keys []string) (candidate, error) {
	if key != "" {
		for _, c := range all {
			if c.label == key {
				return c, nil
			}
		}
		return candidate{}, &ChoiceError{Key: key, Keys: labels(all)}
	}
	if len(all) == 0 {
		return candidate{}, fmt.Errorf("no tensors; it holds {%s}", strings.Join(keys, ", "))
	}
	if len(all) == 1 {
		return all[0], nil
	}
	averages := averages(all)
	if len(averages) == 1 {
		return averages[0], nil
	}
	if len(averages) == 0 {
		for _, want := range append([]string{""}, preferred...) {
			for _, c := range all {
				if c.label == want {
					return c, nil
				}
			}
		}
	}
	return candidate{}, &ChoiceError{Keys: labels(all)}
}

// maxListed bounds how many keys a message names.
const maxListed = 12

// labels returns the keys of the first candidates.
func labels(all []candidate) []string {
	var list []string
	for _, c := range all[:min(len(all), maxListed)] {
		if c.label != "" {
			list = append(list, Clean(c.label))
		}
	}
	if len(all) > maxListed {
		list = append(list, "...")
	}
	return list
}

func quoted(label string) string {
	if label == "" {
		return "those at the top"
	}
	return fmt.Sprintf("%q", label)
}

// note says in f.Note what was taken of what else.
func (f *File) note(c candidate, all []candidate) {
	keys := f.keys()
	if len(c.path) == 0 {
		keys = labels(all)
	}
	var parts []string
	if c.label != "" {
		parts = append(parts, fmt.Sprintf("%s of {%s}", Clean(c.label), strings.Join(keys, ", ")))
	}
	if c.prefix != "" && c.average == nil {
		parts = append(parts, fmt.Sprintf("names without %q", c.prefix))
	}
	if c.wrapped {
		parts = append(parts, "wrappers' words taken out of the names")
	}
	if f.Note != "" {
		parts = append(parts, f.Note)
	}
	f.Note = strings.Join(parts, "; ")
}

// adopt makes a candidate's tensors the file's.
func (f *File) adopt(c candidate) error {
	total := int64(0)
	f.tensors = make(map[string]*stored, len(c.names))
	var own map[string]*stored
	if c.average != nil {
		own = c.average()
	}
	for _, name := range c.names {
		t := c.tensors[name]
		if own[name] != nil {
			t = own[name]
		}
		t.Name = name[len(c.prefix):]
		f.tensors[t.Name] = t
		f.names = append(f.names, t.Name)
		if t.bad == nil {
			total += t.span()
		}
		if total > inflated(f.size) {
			return fmt.Errorf("its tensors take far more than the %d bytes of the file: they share what is stored",
				f.size)
		}
	}
	f.foreign = map[string]string{}
	for name, what := range c.foreign {
		if rest, ok := strings.CutPrefix(name, c.prefix); ok {
			f.foreign[rest] = what
		}
	}
	f.listEntries(c.set)
	f.listLeftOut(&c)
	f.root, f.lists, f.place = nil, nil, nil
	return nil
}
