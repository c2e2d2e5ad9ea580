package checkpoint

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Entry is something in a file that is not one of its tensors: a name and a short description of
// the value.
type Entry struct{ Name, Value string }

const (
	maxEntries  = 64
	maxSettings = 256 // of a group
	maxGroups   = 64
)

// settingsKeys are the keys under which training scripts keep what they were started with.
var settingsKeys = []string{
	"args", "config", "cfg", "hparams", "hyper_parameters", "hyperparameters", "model_args", "model_config", "train_args",
	"training_args", "options",
}

// settingGroups are the groups of nested arguments that are about the model and its process, and
// not about data, the optimiser or logging.
var settingGroups = []string{
	"args", "cfg", "config", "denoiser", "diffusion", "dit", "flow", "framework", "hparams", "hyper_parameters",
	"init_args", "interpolant", "kwargs", "loss", "method", "model", "net", "network", "noise", "noise_schedule",
	"noise_scheduler", "objective", "params", "process", "schedule", "scheduler", "sit", "train", "trainer", "training",
	"transformer", "transport",
}

// listEntries notes what is in the file apart from the set that was taken.
func (f *File) listEntries(taken *set) {
	if f.root == nil {
		return
	}
	for _, p := range f.root.pairs {
		name, isString := p.key.(string)
		if isString && slices.Contains(settingsKeys, name) {
			groups := maxGroups
			f.noteSettings("", p.value, &groups)
		}
		if !isString {
			name = show(p.key)
		}
		_, isTensor := p.value.(*view)
		if isTensor || len(taken.path) > 0 && Clean(name) == taken.path[0] {
			continue
		}
		if len(f.entries) == maxEntries {
			f.entries = append(f.entries, Entry{Name: "...", Value: ""})
			return
		}
		f.entries = append(f.entries, Entry{Name: Clean(name), Value: show(p.value)})
	}
}

// listLeftOut notes the tensors next to those that were taken, all that begin with one word as one
// entry.
func (f *File) listLeftOut(c *candidate) {
	path := ""
	if len(c.path) > 0 {
		path = strings.Join(c.path, ".") + "."
	}
	names := c.leftOut()
	for i := 0; i < len(names); {
		if len(f.entries) >= maxEntries {
			f.entries = append(f.entries, Entry{Name: "...", Value: ""})
			return
		}
		stem := beginning(names[i], c.prefix)
		first := i
		for i++; stem != names[first] && i < len(names) && strings.HasPrefix(names[i], stem); {
			i++
		}
		e := Entry{Name: Clean(path + stem + "*"), Value: fmt.Sprintf("%d tensors", i-first)}
		if i-first == 1 {
			t := c.from().tensors[names[first]]
			e = Entry{Name: Clean(path + names[first]), Value: fmt.Sprintf("tensor %v %s", t.Shape, t.DType)}
		}
		f.entries = append(f.entries, e)
	}
}

// beginning returns the words, with the dot behind them, that a name shares with a prefix, and one
// more; or the name itself, if that is its last.
func beginning(name, prefix string) string {
	cut := 0
	for {
		word, ok := firstWord(name[cut:])
		if !ok {
			return name
		}
		if cut += len(word) + 1; !strings.HasPrefix(prefix, name[:cut]) {
			return name[:cut]
		}
	}
}

// noteSettings keeps the numbers and words of a dict, or of an object with attributes, and those of
// the groups in it under names such as "model.path_type". groups bounds how many it looks into.
func (f *File) noteSettings(prefix string, v any, groups *int) {
	d := attributes(v)
	if d == nil || *groups == 0 {
		return
	}
	*groups--
	if f.settings == nil {
		f.settings = map[string]string{}
	}
	for _, p := range d.pairs[:min(len(d.pairs), maxSettings)] {
		key, ok := p.key.(string)
		if !ok || len(prefix)+len(key) > maxName {
			continue
		}
		value := p.value
		if node, ok := value.(*record); ok { // of OmegaConf
			if inner := attributes(node).find("_val"); inner != nil {
				value = inner
			}
		}
		switch value := value.(type) {
		case string:
			f.settings[prefix+key] = value[:min(len(value), maxShown)]
		case bool, int64, float64:
			f.settings[prefix+key] = show(value)
		default:
			if slices.Contains(settingGroups, strings.ToLower(key)) {
				f.noteSettings(prefix+key+".", value, groups)
			}
		}
	}
}

// attributes returns a dict, that of an object with attributes, or nil.
func attributes(v any) *dict {
	d, _ := v.(*dict)
	if r, ok := v.(*record); ok {
		d = &r.dict
		if state, ok := r.state.(*dict); ok {
			d = state
		}
		if content, ok := d.find("_content").(*dict); ok { // of OmegaConf
			d = content
		}
	}
	return d
}

// find returns what is under a key among the first of a dict, or nil.
func (d *dict) find(key string) any {
	if d == nil {
		return nil
	}
	for _, p := range d.pairs[:min(len(d.pairs), 8)] {
		if p.key == key {
			return p.value
		}
	}
	return nil
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
// "num_classes": a word, or a number as Python prints it. One in a group of arguments counts where
// none by itself has the name: the least deep, and of these the first by name.
func (f *File) Setting(name string) (string, bool) {
	value, ok := f.settings[name]
	if ok {
		return value, true
	}
	best := ""
	for full := range f.settings {
		if !strings.HasSuffix(full, "."+name) {
			continue
		}
		deep, than := strings.Count(full, "."), strings.Count(best, ".")
		if best == "" || deep < than || deep == than && full < best {
			best = full
		}
	}
	return f.settings[best], best != ""
}

// Settings returns all arguments that Setting knows; those in groups have names such as
// "model.path_type".
func (f *File) Settings() map[string]string { return maps.Clone(f.settings) }
