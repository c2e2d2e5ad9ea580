package checkpoint

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// weightNames are the names under which weights are published, those that open fastest first.
var weightNames = []string{
	"model.safetensors",
	"diffusion_pytorch_model.safetensors",
	"model.safetensors.index.json",
	"diffusion_pytorch_model.safetensors.index.json",
	"checkpoint.pt",
	"model.pt",
	"diffusion_pytorch_model.bin",
	"pytorch_model.bin",
	"diffusion_pytorch_model.bin.index.json",
	"pytorch_model.bin.index.json",
	"diffusion_pytorch_model.legacy.bin",
}

var (
	// shardForm matches one of several files that an index names: model-00001-of-00002.safetensors,
	// or that of a variant: model-00001-of-00002.fp16.safetensors.
	shardForm = regexp.MustCompile(`-\d+-of-\d+(\.[^.]+)?\.(safetensors|bin|pt|pth)$`)
	// indexForm matches an index, in both places where the name of a variant may be:
	// model.fp16.safetensors.index.json and model.safetensors.index.fp16.json.
	indexForm = regexp.MustCompile(`^(.+)\.(safetensors|bin)\.index(\.[^.]+)?\.json$`)
	fileForm  = regexp.MustCompile(`^(.+)\.(safetensors|pt|pth|bin|ckpt)$`)
)

// formats are the endings of weights, those that open fastest first. An index comes after a whole
// file of its format.
var formats = []string{"safetensors", "pt", "pth", "ckpt", "bin"}

// FindWeights returns the file of weights in dir: one with a name under which weights are
// published; else what has the ending of weights or is an index of shards, if all there is of that
// kind differs in its format alone.
func FindWeights(dir string) (string, error) {
	for _, name := range weightNames {
		path := filepath.Join(dir, name)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			return path, nil
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", fmt.Errorf("folder %s: %w", dir, withoutPath(err))
	}
	type form struct {
		name, stem string
		rank       int
	}
	var found []form
	shards := false
	for _, e := range entries {
		name := e.Name()
		if e.IsDir() {
			continue
		}
		if shardForm.MatchString(name) {
			shards = true
		} else if m := indexForm.FindStringSubmatch(name); m != nil {
			found = append(found, form{name, m[1] + m[3], 2*slices.Index(formats, m[2]) + 1})
		} else if m := fileForm.FindStringSubmatch(name); m != nil {
			found = append(found, form{name, m[1], 2 * slices.Index(formats, m[2])})
		}
	}
	switch {
	case len(found) == 0 && shards:
		return "", fmt.Errorf("folder %s has shards of weights but not their index", dir)
	case len(found) == 0:
		return "", fmt.Errorf("folder %s has no weights: looked for %s, or a single file of that kind",
			dir, strings.Join(weightNames, ", "))
	}
	best := slices.MinFunc(found, func(a, b form) int { return a.rank - b.rank })
	var names []string
	for _, f := range found {
		if f.stem != best.stem {
			names = append(names, Clean(f.name))
		}
	}
	if len(names) > 0 {
		return "", fmt.Errorf("folder %s has several files that may be the weights (%s, %s): name one",
			dir, Clean(best.name), strings.Join(names[:min(len(names), maxListed)], ", "))
	}
	return filepath.Join(dir, best.name), nil
}
