package checkpoint

import (
	"fmt"
	"slices"
	"strings"
)

// preferred are the keys under which training scripts keep weights, the best first.
var preferred = []string{"ema", "model", "state_dict", "params"}

// choose takes the tensors out of what torch.load would return: a dict of tensors, or a dict of such dicts, of which key names one. Place
// finds a storage; size is the file's.
func (f *File) choose(root any, key string, size int64, place func(*storageRef) (placed, error)) error {
	d, ok := root.(*dict)
	if !ok {
		return fmt.Errorf("it holds %s, want a dict of tensors", kind(root))
	}
	chosen, name, err := pick(d, key)
	if err != nil {
		return err
	}
	if chosen != d {
		f.Note = fmt.Sprintf("%s of {%s}", name, strings.Join(d.names(), ", "))
	}
	for _, p := range chosen.pairs {
		tensor, isString := p.key.(string)
		v, isTensor := p.value.(*view)
		if !isString || !isTensor {
			continue
		}
		s, err := place(v.storage)
		if err != nil {
			return fmt.Errorf("tensor %s: %w", tensor, err)
		}
		t, err := v.place(tensor, s, max(size, 1))
		if err != nil {
			return fmt.Errorf("tensor %s: %w", tensor, err)
		}
		f.tensors[tensor] = t
	}
	for _, p := range d.pairs {
		if _, isTensor := p.value.(*view); isTensor || p.value == any(chosen) {
			continue
		}
		entry, isString := p.key.(string)
		if !isString {
			entry = show(p.key)
		}
		f.entries = append(f.entries, Entry{Name: entry, Value: show(p.value)})
	}
	return nil
}

// pick returns the dict of tensors in d, or d itself, and its key.
func pick(d *dict, key string) (*dict, string, error) {
	if key == "" && d.hasTensors() {
		return d, "", nil
	}
	candidates := preferred
	if key != "" {
		candidates = []string{key}
	}
	for _, k := range candidates {
		v, _ := d.get(k)
		if inner, ok := v.(*dict); ok && inner.hasTensors() {
			return inner, k, nil
		}
	}
	if key != "" {
		return nil, "", fmt.Errorf("no tensors under %q; it holds {%s}", key, strings.Join(d.names(), ", "))
	}
	var only []pair
	for _, p := range d.pairs {
		if inner, ok := p.value.(*dict); ok && inner.hasTensors() {
			only = append(only, p)
		}
	}
	if len(only) == 1 {
		return only[0].value.(*dict), show(only[0].key), nil
	}
	return nil, "", fmt.Errorf("%d sets of tensors, none under %s; it holds {%s}", len(only), strings.Join(preferred, ", "), strings.Join(d.names(), ", "))
}

func (d *dict) hasTensors() bool {
	return slices.ContainsFunc(d.pairs, func(p pair) bool { _, ok := p.value.(*view); return ok })
}

// names lists the first keys, in alphabetical order.
func (d *dict) names() []string {
	const most = 12
	var names []string
	for _, p := range d.pairs[:min(len(d.pairs), most)] {
		if s, ok := p.key.(string); ok {
			names = append(names, s[:min(len(s), 100)])
		} else {
			names = append(names, show(p.key))
		}
	}
	slices.Sort(names)
	if len(d.pairs) > most {
		names = append(names, "...")
	}
	return names
}
