package dit

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/tokencache/tokencache/checkpoint"
)

// labelTable is what a model_index.json or a config.json says of the classes' names.
type labelTable struct {
	Labels  json.RawMessage `json:"id2label"` // {"0": "tench, Tinca tinca", ...}
	Numbers map[string]int  `json:"label2id"` // {"tench, Tinca tinca": 0, ...}
}

// readLabels reads the names of the classes from a pipeline's model_index.json, which convert also
// keeps in the checkpoint's metadata. Without them it returns nil.
func readLabels(path string, f *checkpoint.File) ([]string, error) {
	text, err := readText(path, f, checkpoint.PipelineKey)
	if text == nil || err != nil {
		return nil, err
	}
	if path == "" {
		path = "model_index.json"
	}
	return labelsOf(path, text)
}

// readText reads the file at path or, if there is none, what convert left of it in the checkpoint's
// metadata. It returns nil where neither is there.
func readText(path string, f *checkpoint.File, key string) ([]byte, error) {
	if path != "" {
		text, err := checkpoint.ReadText(path)
		if text == nil && err == nil {
			text = []byte{}
		}
		return text, err
	}
	if text := f.Metadata()[key]; text != "" {
		return []byte(text), nil
	}
	return nil, nil
}

// labelsOf returns the names of the classes that a JSON text from a source has, or nil.
func labelsOf(source string, text []byte) ([]string, error) {
	var t labelTable
	if err := checkpoint.UnmarshalText(source, text, &t); err != nil {
		return nil, err
	}
	names, err := t.names()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", source, err)
	}
	return names, nil
}

// names returns the names by number, or nil.
func (t labelTable) names() ([]string, error) {
	var list []string
	if json.Unmarshal(t.Labels, &list) == nil && list != nil {
		return list, nil
	}
	labels := map[string]json.RawMessage{}
	switch {
	case len(t.Labels) > 0:
		if json.Unmarshal(t.Labels, &labels) != nil {
			return nil, fmt.Errorf("id2label is %s, want numbers and names: {\"0\": \"tench\", ...}",
				checkpoint.JSONValue(t.Labels))
		}
	default:
		for name, number := range t.Numbers {
			key := strconv.Itoa(number)
			if labels[key] != nil {
				return nil, fmt.Errorf("label2id has two names of class %s", key)
			}
			labels[key], _ = json.Marshal(name)
		}
	}
	if len(labels) == 0 {
		return nil, nil
	}
	names := make([]string, len(labels))
	seen := make([]bool, len(names))
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		isName := json.Unmarshal(labels[key], new(string)) == nil
		i, err := strconv.Atoi(key)
		switch {
		case err != nil && !isName && json.Unmarshal(labels[key], new(int)) == nil:
			return nil, fmt.Errorf("id2label gives names their numbers (%s: %s), want numbers their names: {%q: %q}",
				checkpoint.Clean(key), labels[key], labels[key], checkpoint.Clean(key))
		case err != nil || i < 0 || i >= len(names) || seen[i]:
			return nil, fmt.Errorf("id2label has the key %s, want 0 to %d, each once", checkpoint.Clean(key), len(names)-1)
		case !isName:
			return nil, fmt.Errorf("id2label: class %d is %s, want a name", i, checkpoint.JSONValue(labels[key]))
		}
		seen[i] = true
		if err := json.Unmarshal(labels[key], &names[i]); err != nil {
			return nil, err
		}
	}
	return names, nil
}

// CheckNames reports names of classes that are not as many as a model has, or cannot be printed: a
// model with such names is not opened. No names are right for any model.
func CheckNames(names []string, classes int) error {
	if names == nil {
		return nil
	}
	if len(names) != classes {
		return fmt.Errorf("%d names of classes, want %d", len(names), classes)
	}
	for i, name := range names {
		if clean := checkpoint.Clean(name); clean != name {
			return fmt.Errorf("the name of class %d, %s, is too long or cannot be printed", i, clean)
		}
	}
	return nil
}
