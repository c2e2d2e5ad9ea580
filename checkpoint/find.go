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
	// stateForm matches what trainers keep next to weights to go on from.
	stateForm = regexp.MustCompile(
		`^(optim(izer)?|(lr_)?scheduler|scaler|sampler|random_states|rng_state|training_args)([._-]|$)`)
)

// formats are the endings of weights, those that open fastest first. An index comes after a whole
// file of its format.
var formats = []string{"safetensors", "pt", "pth", "ckpt", "bin"}

// Found is the weights of a folder.
type Found struct {
	Path string
	// Assumed says what was taken of weights and their average, or is empty where there was no choice.
	Assumed string
}

// FindWeights returns the file of weights in dir: an average next to the weights that it is of,
// such as model_ema.safetensors next to model.safetensors; else one with a name under which weights
// are published; else what has the ending of weights or is an index of shards, if all there is of
// that kind differs in its format alone.
func FindWeights(dir string) (string, error) {
	found, err := LookForWeights(dir)
	return found.Path, err
}

// LookForWeights is FindWeights that says what it assumed.
func LookForWeights(dir string) (Found, error) {
	published := ""
	for _, name := range weightNames {
		if isRegular(filepath.Join(dir, name)) {
			published = name
			break
		}
	}
	forms, shards, err := weightForms(dir)
	if err != nil && published == "" {
		return Found{}, fmt.Errorf("folder %s: %w", dir, withoutPath(err))
	}
	switch averages := averagesOf(dir, forms); {
	case len(averages) == 1:
		best := averages[0]
		return Found{filepath.Join(dir, best.name), fmt.Sprintf("the weights are %s, an average; next to it: %s",
			Clean(best.name), others(forms, best.stem))}, nil
	case len(averages) > 1:
		return Found{}, several(dir, averages)
	case published != "":
		return Found{Path: filepath.Join(dir, published)}, nil
	case len(forms) == 0 && shards:
		return Found{}, fmt.Errorf("folder %s has shards of weights but not their index", dir)
	case len(forms) == 0:
		return Found{}, fmt.Errorf("folder %s has no weights: looked for %s and the like, or a single file that ends in .%s",
			dir, weightNames[0], strings.Join(formats, ", ."))
	case others(forms, forms[0].stem) != "":
		return Found{}, several(dir, forms)
	}
	return Found{Path: filepath.Join(dir, forms[0].name)}, nil
}

func isRegular(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// form is a file of weights or an index: its name, that without what tells of the format, and how
// fast the format opens, 0 for the fastest.
type form struct {
	name, stem string
	rank       int
}

// weightForms returns what in dir has the ending of weights, the formats that open fastest first,
// and whether there are shards.
func weightForms(dir string) (forms []form, shards bool, err error) {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		name := e.Name()
		if e.IsDir() || stateForm.MatchString(name) {
			continue
		}
		if shardForm.MatchString(name) {
			shards = true
		} else if m := indexForm.FindStringSubmatch(name); m != nil {
			forms = append(forms, form{name, m[1] + m[3], 2*slices.Index(formats, m[2]) + 1})
		} else if m := fileForm.FindStringSubmatch(name); m != nil {
			forms = append(forms, form{name, m[1], 2 * slices.Index(formats, m[2])})
		}
	}
	slices.SortStableFunc(forms, func(a, b form) int { return a.rank - b.rank })
	return forms, shards, err
}

// averagesOf returns the files, each in one format, that are averages of others by their names.
func averagesOf(dir string, forms []form) []form {
	stems := map[string]bool{}
	for _, f := range forms {
		stems[f.stem] = true
		stems[rawForm.ReplaceAllString(f.stem, "$4")] = true
	}
	var averages []form
	for _, f := range forms {
		of, ok := averageOf(f.stem)
		same := func(a form) bool { return a.stem == f.stem }
		if ok && (of == "" && len(stems) > 1 || stems[of]) && !slices.ContainsFunc(averages, same) &&
			isRegular(filepath.Join(dir, f.name)) {
			averages = append(averages, f)
		}
	}
	return averages
}

// others lists the files but those of a stem.
func others(forms []form, stem string) string {
	var names []string
	for _, f := range forms {
		if f.stem != stem {
			names = append(names, Clean(f.name))
		}
	}
	if len(names) > maxListed {
		names = append(names[:maxListed], "...")
	}
	return strings.Join(names, ", ")
}

func several(dir string, forms []form) error {
	return fmt.Errorf("folder %s has several files that may be the weights (%s, %s): name one",
		dir, Clean(forms[0].name), others(forms, forms[0].stem))
}

// networkFolder is where a diffusers pipeline has the network.
const networkFolder = "transformer"

// FindNetwork returns the folder of the network in the folder of a diffusers pipeline: transformer,
// or an average of it such as transformer_ema, which is preferred. Path is "" if there is neither.
func FindNetwork(pipeline string) (Found, error) {
	entries, err := os.ReadDir(pipeline)
	if err != nil {
		return Found{}, fmt.Errorf("folder %s: %w", pipeline, withoutPath(err))
	}
	var averages []string
	raw := false
	for _, e := range entries {
		if !IsNetwork(e.Name()) {
			continue
		}
		if info, err := os.Stat(filepath.Join(pipeline, e.Name())); err != nil || !info.IsDir() {
			continue
		}
		if e.Name() == networkFolder {
			raw = true
		} else {
			averages = append(averages, e.Name())
		}
	}
	switch {
	case len(averages) > 1:
		return Found{}, fmt.Errorf("folder %s has several averages of %s: name one of %s",
			pipeline, networkFolder, strings.Join(averages, ", "))
	case len(averages) == 1 && raw:
		return Found{filepath.Join(pipeline, averages[0]), fmt.Sprintf("the weights are those in %s, an average, not in %s",
			Clean(averages[0]), networkFolder)}, nil
	case len(averages) == 1:
		return Found{Path: filepath.Join(pipeline, averages[0])}, nil
	case raw:
		return Found{Path: filepath.Join(pipeline, networkFolder)}, nil
	}
	return Found{}, nil
}

// IsNetwork reports whether a folder of a pipeline is called transformer or an average of it.
func IsNetwork(name string) bool {
	of, average := averageOf(name)
	return name == networkFolder || average && of == networkFolder
}
