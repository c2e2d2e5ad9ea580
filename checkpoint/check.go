package checkpoint

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Want is a tensor that a model needs.
type Want struct {
	Name     string
	Shape    []int
	Optional bool // may be missing
}

// Lister is a source of named tensors, such as a File.
type Lister interface {
	Names() []string
	Lookup(name string) (Info, bool)
}

// MismatchError says how a checkpoint's tensors differ from those that a model needs.
type MismatchError struct {
	Missing    []string
	Unexpected []string
	Misshapen  []string // each with the shape that it has and the one it should have
}

// mostNamed bounds how many tensors of a kind an error names.
const mostNamed = 20

func (e *MismatchError) Error() string {
	var parts []string
	add := func(what string, names []string) {
		if len(names) == 0 {
			return
		}
		more := ""
		if n := len(names) - mostNamed; n > 0 {
			names, more = names[:mostNamed], fmt.Sprintf(" and %d more", n)
		}
		parts = append(parts, fmt.Sprintf("%s: %s%s", what, strings.Join(names, ", "), more))
	}
	add(fmt.Sprintf("%d tensors missing", len(e.Missing)), e.Missing)
	add(fmt.Sprintf("%d unexpected", len(e.Unexpected)), e.Unexpected)
	add(fmt.Sprintf("%d of the wrong shape", len(e.Misshapen)), e.Misshapen)
	return strings.Join(parts, "; ")
}

// Check compares the tensors of f with those wanted and returns a *MismatchError of all differences, or nil. Unexpected tensors that ignore,
// which may be nil, reports are passed over.
func Check(f Lister, wants []Want, ignore func(name string) bool) error {
	var e MismatchError
	known := make(map[string]bool, len(wants))
	for _, w := range wants {
		known[w.Name] = true
		info, ok := f.Lookup(w.Name)
		switch {
		case !ok && !w.Optional:
			e.Missing = append(e.Missing, w.Name)
		case ok && !slices.Equal(info.Shape, w.Shape):
			e.Misshapen = append(e.Misshapen, fmt.Sprintf("%s: shape %v, want %v", w.Name, info.Shape, w.Shape))
		}
	}
	for _, name := range f.Names() {
		if !known[name] && (ignore == nil || !ignore(name)) {
			e.Unexpected = append(e.Unexpected, name)
		}
	}
	if len(e.Missing)+len(e.Unexpected)+len(e.Misshapen) > 0 {
		return &e
	}
	return nil
}

// weightNames are the names under which weights are published, those that open fastest first.
var weightNames = []string{
	"model.safetensors", "diffusion_pytorch_model.safetensors",
	"model.safetensors.index.json", "diffusion_pytorch_model.safetensors.index.json",
	"checkpoint.pt", "model.pt", "diffusion_pytorch_model.bin", "pytorch_model.bin", "diffusion_pytorch_model.legacy.bin",
}

// FindWeights returns the file of weights in dir: one with a name under which weights are published, else the only file there whose
// ending is that of weights.
func FindWeights(dir string) (string, error) {
	for _, name := range weightNames {
		path := filepath.Join(dir, name)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			return path, nil
		}
	}
	var found []string
	for _, ending := range []string{"*.safetensors", "*.pt", "*.pth", "*.bin", "*.ckpt"} {
		list, err := filepath.Glob(filepath.Join(dir, ending))
		if err != nil {
			return "", err
		}
		found = append(found, list...)
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return "", fmt.Errorf("folder %s has no weights: looked for %s, or a single file of that kind", dir, strings.Join(weightNames, ", "))
	}
	return "", fmt.Errorf("folder %s has several files that may be the weights (%s): name one", dir, strings.Join(found, ", "))
}
