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
	if label := strings.Join(path, "."); isAverage(label) && !backup.MatchString(label) {
		s.lists = append(s.lists, nameless{label: label, path: path, items: items})
	}
}

// dotless reports whether the names of a dict have no dots.
func (a *nameless) dotless() bool {
	return !slices.ContainsFunc(a.names, func(name string) bool { return strings.Contains(name[a.cut:], ".") })
}

// original is a model that averages without names may be of.
type original struct {
	candidate
	dotless map[string]string // its names by the same without dots, "" if they are several
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

// of returns an average as the weights of the first of the models that it is of.
func (a *nameless) of(models []*original, place func(*storageRef) (placed, error)) (candidate, error) {
	reason := errors.New("there is no model that it is of")
	for i, o := range models {
		var own map[string]*stored
		var err error
		if a.items != nil {
			own, err = o.byOrder(a.items, place)
		} else {
			own, err = o.byDotless(a)
		}
		if err == nil {
			var c *contents
			if c, err = o.with(own); err == nil {
				return candidate{set: &set{a.path, c}, label: a.label, names: c.names, origin: a.set, taken: a.names}, nil
			}
		}
		if i == 0 {
			reason = err
		}
	}
	return candidate{}, reason
}

// byOrder gives tensors without names those of the model's: of all in the file's order, of its
// parameters, or of those that are trained. Number and shapes have to be the same.
func (o *original) byOrder(items []any, place func(*storageRef) (placed, error)) (map[string]*stored, error) {
	for _, out := range []*regexp.Regexp{nil, buffer, fixed} {
		names := o.parameters(out)
		if !o.haveShapes(names, items) {
			continue
		}
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
		return own, nil
	}
	return nil, fmt.Errorf("its %d tensors have no names, and their shapes are not those of the model's %d in their order",
		len(items), len(o.names))
}

// parameters returns the model's tensors in the order of the file without those that out matches,
// if it is not nil, and without those that are not of floating-point numbers.
func (o *original) parameters(out *regexp.Regexp) []string {
	var names []string
	for _, name := range o.order {
		_, ok := slices.BinarySearch(o.names, name)
		if ok && (out == nil || o.tensors[name].DType.Float() && !out.MatchString(name)) {
			names = append(names, name)
		}
	}
	return names
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
func (o *original) byDotless(a *nameless) (map[string]*stored, error) {
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

// unwrapDotless is byDotless for names that begin with wrap.
func (o *original) unwrapDotless(a *nameless, wrap string) (map[string]*stored, error) {
	own := map[string]*stored{}
	for _, name := range a.names {
		t := a.set.tensors[name]
		if counted.MatchString(name) && t.Len() == 1 {
			continue
		}
		short, ok := strings.CutPrefix(name[a.cut:], wrap)
		full := o.dotless[short]
		if !ok || full == "" {
			return nil, fmt.Errorf("its names have no dots, and %s is none of the model's without them", name[a.cut:])
		}
		if want := o.tensors[full].Shape; !slices.Equal(t.Shape, want) {
			return nil, fmt.Errorf("its tensor %s has shape %v, the model's %v", name[a.cut:], t.Shape, want)
		}
		own[full] = t
	}
	return own, nil
}

// with returns the model's contents, under the names without the prefix, with an average's tensors
// by the model's names. Tensors that are not trained may be missing there: they are the model's.
func (o *original) with(own map[string]*stored) (*contents, error) {
	c := newSet(nil).contents
	for _, name := range o.names {
		from := own[name]
		if from == nil {
			from = o.tensors[name]
			if from.DType.Float() && !fixed.MatchString(name) {
				return nil, fmt.Errorf("it has no %s", name[len(o.prefix):])
			}
		}
		t := *from
		t.Name = name[len(o.prefix):]
		c.add(&t)
	}
	for name, what := range o.foreign {
		if rest, ok := strings.CutPrefix(name, o.prefix); ok {
			c.foreign[rest] = what
		}
	}
	return c, nil
}
