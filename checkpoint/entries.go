package checkpoint

import "slices"

// Entry is something in a file that is not one of its tensors: a name and a short description of
// the value.
type Entry struct{ Name, Value string }

const (
	maxEntries  = 64
	maxSettings = 256
)

// settingsKeys are the keys under which training scripts keep what they were started with.
var settingsKeys = []string{"args", "config", "cfg", "hparams", "hyper_parameters"}

// listEntries notes what is in the file apart from the set that was taken.
func (f *File) listEntries(taken *set) {
	if f.root == nil {
		return
	}
	for _, p := range f.root.pairs {
		name, isString := p.key.(string)
		if isString && slices.Contains(settingsKeys, name) {
			f.noteSettings(p.value)
		}
		_, isTensor := p.value.(*view)
		if isTensor || isString && len(taken.path) > 0 && Clean(name) == taken.path[0] {
			continue
		}
		if !isString {
			name = show(p.key)
		}
		if len(f.entries) == maxEntries {
			f.entries = append(f.entries, Entry{Name: "...", Value: ""})
			return
		}
		f.entries = append(f.entries, Entry{Name: Clean(name), Value: show(p.value)})
	}
}

// noteSettings keeps the numbers and words of a dict, or of an object with attributes.
func (f *File) noteSettings(v any) {
	d, _ := v.(*dict)
	if r, ok := v.(*record); ok {
		d = &r.dict
		if state, ok := r.state.(*dict); ok {
			d = state
		}
	}
	if d == nil {
		return
	}
	if f.settings == nil {
		f.settings = map[string]string{}
	}
	for _, p := range d.pairs[:min(len(d.pairs), maxSettings)] {
		key, ok := p.key.(string)
		if !ok || len(key) > maxName {
			continue
		}
		switch value := p.value.(type) {
		case string:
			f.settings[key] = value[:min(len(value), maxShown)]
		case bool, int64, float64:
			f.settings[key] = show(value)
		}
	}
}

// keys lists the first keys of a file of torch.save, in alphabetical order.
func (f *File) keys() []string {
	if f.root == nil {
		return nil
	}
	var names []string
	for _, p := range f.root.pairs[:min(len(f.root.pairs), maxListed)] {
		if s, ok := p.key.(string); ok {
			names = append(names, Clean(s))
		} else {
			names = append(names, show(p.key))
		}
	}
	slices.Sort(names)
	if len(f.root.pairs) > maxListed {
		names = append(names, "...")
	}
	return names
}

// Entries lists what else is in the file, such as a training script's arguments, in the file's
// order.
func (f *File) Entries() []Entry { return f.entries }

// Setting returns one of the arguments of the training script that saved the file, such as
// "num_classes": a word, or a number as Python prints it.
func (f *File) Setting(name string) (string, bool) {
	value, ok := f.settings[name]
	return value, ok
}
