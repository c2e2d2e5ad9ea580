package checkpoint

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// nameless is an average of a model's weights that has other names than the model's tensors, or
// none: a list in the order of the model's parameters, as torch_ema and diffusers' EMAModel keep
// it, or a dict by the names without their dots, as latent-diffusion's LitEma keeps it.
type nameless struct {
	label string
	path  []string // to the list or to the dict
	items []any    // of the list; nil for a dict

	set   *set     // where the dict is,
	names []string // its names there, sorted,
	cut   int      // and how many bytes of them are a prefix
}

// maxNameless bounds the averages without names that are tried, and the models that they may be of.
const maxNameless = 4

var (
	// buffer matches the names of tensors that are no parameters of a network. Fixed matches also
	// those that are not trained, which no average needs to have.
	buffer = regexp.MustCompile(`(^|\.)(relative_position_index|running_(mean|var)|num_batches_tracked)$`)
	fixed  = regexp.MustCompile(buffer.String() + `|(^|\.)(decoder_)?pos_embed$`)
	// backup matches the keys of lists that keep the weights while the average is in their place.
	backup = regexp.MustCompile(`(?i)(collected|stored|backup)[^.]*$`)
)

// listed notes a list of tensors that is an average by the keys that lead to it.
func (s *search) listed(way *step, items []any) {
	if len(items) < fewTensors || len(s.lists) == maxNameless {
		return
	}
	for _, item := range items {
		if _, ok := item.(*view); !ok {
			return
		}
	}
	path := way.path()
	label := strings.Join(path, ".")
	if optimizer.MatchString(label) && path[len(path)-1] != "ema" { // which is one of the weights all the same
		return
	}
	if isAverage(label) && !backup.MatchString(label) {
		s.lists = append(s.lists, nameless{label: label, path: path, items: items})
	}
}

// sort sorts the names of a set, and keeps the order in which they were if there are lists in it.
func (f *File) sort(s *set) {
	if len(f.lists) > 0 && s.order == nil {
		s.order = slices.Clone(s.names)
	}
	slices.Sort(s.names)
}

// named returns sets of which no model is known, with the averages without names that are of one of
// them under its names.
func (f *File) named(all []candidate) []candidate {
	models := originals(all)
	tried := 0
	for i, c := range all {
		if !isAverage(c.label) || len(c.names) < fewTensors || tried == maxNameless {
			continue
		}
		tried++
		a := nameless{label: c.label, path: c.path, set: c.set, names: c.names}
		if !a.dotless() {
			continue
		}
		if c, err := a.of(models, f.place); err == nil {
			all[i] = c
		}
	}
	for _, a := range f.lists {
		if c, err := a.of(models, f.place); err == nil {
			all = append(all, c)
		}
	}
	return all
}

// dotless reports whether the names of a dict have no dots.
func (a *nameless) dotless() bool {
	return !slices.ContainsFunc(a.names, func(name string) bool { return strings.Contains(name[a.cut:], ".") })
}

// original is a model that averages without names may be of.
type original struct {
	candidate
	parameters [3][]string       // see byOrder
	dotless    map[string]string // its names by the same without dots, "" if they are several
}

// originals returns the first of the models that are not averages, each once.
func originals(all []candidate) []*original {
	var list []*original
	for _, c := range all {
		same := func(o *original) bool { return o.contents == c.contents && o.prefix == c.prefix }
		if len(list) < maxNameless && !isAverage(c.label) && !slices.ContainsFunc(list, same) {
			list = append(list, &original{candidate: c})
		}
	}
	return list
}

// of returns an average as the weights of the first of the models that it is of. Nothing is made of
// its tensors until they are chosen.
func (a *nameless) of(models []*original, place func(*storageRef) (placed, error)) (candidate, error) {
	reason := errors.New("there is no model that it is of")
	for i, o := range models {
		c := candidate{
			set:    &set{a.path, o.contents},
			label:  a.label,
			prefix: o.prefix,
			names:  o.names,
			origin: a.set,
			taken:  a.names,
		}
		var err error
		if a.items != nil {
			c.average, err = o.byOrder(a.items, place)
		} else {
			c.average, err = o.byDotless(a)
		}
		if err == nil {
			return c, nil
		}
		if i == 0 {
			reason = err
		}
	}
	return candidate{}, reason
}

// average makes an average's tensors, by the names of the model's.
type average func() map[string]*stored

// byOrder gives tensors without names those of the model's: of all in the file's order, of its
// parameters, or of those that are trained. Number and shapes have to be the same.
func (o *original) byOrder(items []any, place func(*storageRef) (placed, error)) (average, error) {
	if o.parameters[0] == nil {
		for i, out := range []*regexp.Regexp{nil, buffer, fixed} {
			o.parameters[i] = o.without(out)
		}
	}
	for _, names := range o.parameters {
		if !o.haveShapes(names, items) {
			continue
		}
		return func() map[string]*stored {
			own := make(map[string]*stored, len(names))
			for i, name := range names {
				v := items[i].(*view)
				t := &stored{Info: v.info()}
				where, err := place(v.storage)
				if err == nil {
					t, err = v.place(where)
				}
				t.bad = err
				own[name] = t
			}
			return own
		}, nil
	}
	return nil, fmt.Errorf("its %d tensors have no names, and their shapes are not those of the model's %d in their order",
		len(items), len(o.names))
}

// without returns the model's tensors in the order of the file without those that out matches, if
// it is not nil, and without those that are not of floating-point numbers.
func (o *original) without(out *regexp.Regexp) []string {
	names := make([]string, 0, len(o.names))
	for _, name := range o.order {
		_, ok := slices.BinarySearch(o.names, name)
		if ok && (out == nil || o.isWeight(name, out)) {
			names = append(names, name)
		}
	}
	return names
}

// isWeight reports whether a tensor is of floating-point numbers and out does not match its name.
func (o *original) isWeight(name string, out *regexp.Regexp) bool {
	return o.tensors[name].DType.Float() && !out.MatchString(name)
}

// haveShapes reports whether the named tensors have the shapes of the items.
func (o *original) haveShapes(names []string, items []any) bool {
	if len(names) != len(items) {
		return false
	}
	for i, name := range names {
		if !slices.Equal(items[i].(*view).shape, o.tensors[name].Shape) {
			return false
		}
	}
	return true
}

// byDotless gives a dict's tensors the names of the model's that are the same without dots. The
// dict's names may begin with some of the words that wrap the model.
func (o *original) byDotless(a *nameless) (average, error) {
	if !a.dotless() {
		return nil, errors.New("its tensors are not those of a known model")
	}
	if o.dotless == nil {
		o.dotless = make(map[string]string, len(o.names))
		for _, name := range o.names {
			short := strings.ReplaceAll(name[len(o.prefix):], ".", "")
			if _, twice := o.dotless[short]; twice {
				name = ""
			}
			o.dotless[short] = name
		}
	}
	for wrap := o.prefix; ; _, wrap, _ = strings.Cut(wrap, ".") {
		own, err := o.unwrapDotless(a, strings.ReplaceAll(wrap, ".", ""))
		if err == nil {
			return own, nil
		}
		if wrap == "" {
			return nil, err
		}
	}
}

// unwrapDotless is byDotless for names that begin with wrap. Of the model's tensors those that are
// not trained may be missing.
func (o *original) unwrapDotless(a *nameless, wrap string) (average, error) {
	full := func(name string) string { return o.dotless[strings.TrimPrefix(name[a.cut:], wrap)] }
	isOwn := func(name string) bool { return !counted.MatchString(name) || a.set.tensors[name].Len() != 1 }
	weights := 0
	for _, name := range a.names {
		if !isOwn(name) {
			continue
		}
		t, to := a.set.tensors[name], full(name)
		if to == "" || !strings.HasPrefix(name[a.cut:], wrap) {
			return nil, fmt.Errorf("its names have no dots, and %s is none of the model's without them", name[a.cut:])
		}
		if want := o.tensors[to].Shape; !slices.Equal(t.Shape, want) {
			return nil, fmt.Errorf("its tensor %s has shape %v, the model's %v", name[a.cut:], t.Shape, want)
		}
		if o.isWeight(to, fixed) {
			weights++
		}
	}
	for _, name := range o.names {
		if o.isWeight(name, fixed) {
			weights--
		}
	}
	if weights != 0 {
		return nil, fmt.Errorf("it lacks %d of the model's tensors", -weights)
	}
	return func() map[string]*stored {
		own := make(map[string]*stored, len(a.names))
		for _, name := range a.names {
			if isOwn(name) {
				own[full(name)] = a.set.tensors[name]
			}
		}
		return own
	}, nil
}
