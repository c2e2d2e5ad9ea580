package dit

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/tokencache/tokencache/checkpoint"
)

// fileConfig is a config.json: the arguments of the official constructor, or diffusers' names of
// them.
type fileConfig struct {
	Arch       string   `json:"arch"`
	InputSize  extent   `json:"input_size"`
	PatchSize  extent   `json:"patch_size"`
	InChannels whole    `json:"in_channels"`
	Hidden     whole    `json:"hidden_size"`
	Depth      whole    `json:"depth"`
	Heads      whole    `json:"num_heads"`
	MLPRatio   float64  `json:"mlp_ratio"`
	NumClasses whole    `json:"num_classes"`
	LearnSigma *bool    `json:"learn_sigma"`
	Decode     whole    `json:"decode_layer,omitempty"`
	Names      []string `json:"class_names,omitempty"`
	// Dropout is the share of labels dropped in training; without any there is no null class.
	Dropout *float64 `json:"class_dropout_prob,omitempty"`

	PathType   string `json:"path_type,omitempty"`  // of a flow
	Prediction string `json:"prediction,omitempty"` // likewise

	TimestepShift whole `json:"timestep_shift,omitempty"` // our own: the checkpoint came of a diffusers one

	ClassName     string `json:"_class_name,omitempty"`
	DiffHeads     whole  `json:"num_attention_heads,omitempty"`
	DiffDepth     whole  `json:"num_layers,omitempty"`
	DiffHeadWidth whole  `json:"attention_head_dim,omitempty"`
	DiffOut       whole  `json:"out_channels,omitempty"`
	DiffSize      extent `json:"sample_size,omitempty"`
	DiffClasses   whole  `json:"num_embeds_ada_norm,omitempty"`
	DiffNormType  string `json:"norm_type,omitempty"`
	DiffActivator string `json:"activation_fn,omitempty"`
	DiffAffine    bool   `json:"norm_elementwise_affine,omitempty"`
	DiffBias      *bool  `json:"attention_bias,omitempty"`

	more map[string]string // all numbers, words and truths, by key; in groups by "model.depth"
}

// whole is a whole number, which may be written as 2.0.
type whole int

func (n *whole) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		return nil
	}
	if json.Unmarshal(b, (*int)(n)) == nil {
		return nil
	}
	var x float64
	if json.Unmarshal(b, &x) != nil || x != math.Trunc(x) || math.Abs(x) > 1<<53 {
		return &json.UnmarshalTypeError{Value: checkpoint.JSONValue(b), Type: reflect.TypeFor[int]()}
	}
	*n = whole(x)
	return nil
}

// extent is the side of a square: a number, or both sides.
type extent int

func (e *extent) UnmarshalJSON(b []byte) error {
	var sides []whole
	if len(b) == 0 || b[0] != '[' {
		return (*whole)(e).UnmarshalJSON(b)
	}
	if json.Unmarshal(b, &sides) != nil || len(sides) != 2 || sides[0] != sides[1] {
		return &json.UnmarshalTypeError{Value: checkpoint.JSONValue(b), Type: reflect.TypeFor[extent]()}
	}
	*e = extent(sides[0])
	return nil
}

// Wants implements checkpoint.Wanter.
func (extent) Wants() string {
	return "a whole number, or two that are equal: sizes that are not square are not supported"
}

// JSON returns the configuration as a config.json that Open reads, with the names of the classes,
// which may be nil.
func (c Config) JSON(names []string) ([]byte, error) {
	f := fileConfig{
		Arch:          string(c.Arch),
		InputSize:     extent(c.InputSize),
		PatchSize:     extent(c.PatchSize),
		InChannels:    whole(c.InChannels),
		Hidden:        whole(c.Hidden),
		Depth:         whole(c.Depth),
		Decode:        whole(c.DecodeLayer),
		Heads:         whole(c.Heads),
		MLPRatio:      float64(c.MLPHidden) / float64(c.Hidden),
		NumClasses:    whole(c.NumClasses),
		LearnSigma:    &c.LearnSigma,
		Names:         names,
		TimestepShift: whole(c.TimestepShift),
		PathType:      string(c.Path),
		Prediction:    string(c.Prediction),
	}
	if c.NoNullClass {
		f.Dropout = new(float64)
	}
	return json.Marshal(f)
}

// diffusersClasses are the classes of diffusers whose weights are those of a DiT.
var diffusersClasses = []string{"Transformer2DModel", "DiTTransformer2DModel"}

// configGroups are the groups of a nested config.json that are about the model.
var configGroups = []string{
	"args", "config", "denoiser", "diffusion", "dit", "init_args", "interpolant", "kwargs", "model", "net", "network",
	"params", "sit", "transformer", "transport",
}

// maxGroupDepth bounds how deep groups lie in one another.
const maxGroupDepth = 4

// read adds what an object says whose keys are in a group, such as "model.": first what groups in
// it say, over which its own keys count.
func (c *fileConfig) read(source, group string, text []byte) error {
	var all map[string]json.RawMessage
	if err := checkpoint.UnmarshalText(source, text, &all); err != nil {
		return err
	}
	for _, key := range slices.Sorted(maps.Keys(all)) {
		raw := all[key]
		var word string
		switch {
		case raw[0] == '{' && slices.Contains(configGroups, key) && strings.Count(group, ".") < maxGroupDepth:
			if err := c.read(source, group+key+".", raw); err != nil {
				return err
			}
		case raw[0] == '"' && json.Unmarshal(raw, &word) == nil:
			c.more[group+key] = word
		case raw[0] != '{' && raw[0] != '[' && raw[0] != 'n':
			c.more[group+key] = string(raw)
		}
	}
	if group != "" {
		source += ", group " + strings.TrimSuffix(group, ".")
	}
	return checkpoint.UnmarshalText(source, text, c)
}

// diffusersEps is norm_eps of every DiT that diffusers made of the official ones, whose own is 1e-6.
const diffusersEps = 1e-5

// readConfig reads the config.json at path or, if there is none, the one that convert left in the
// checkpoint's metadata. One of something else that lies next to a file that was named is as none.
func readConfig(path string, f *checkpoint.File, named bool) (*fileConfig, error) {
	b, err := readText(path, f, checkpoint.ConfigKey)
	if b == nil || err != nil {
		return new(fileConfig), err
	}
	if path == "" {
		path = f.Path + ", metadata " + checkpoint.ConfigKey
	}
	c := &fileConfig{more: map[string]string{}}
	if err := c.read(path, "", b); err != nil {
		return nil, err
	}
	if c.Names == nil && (c.ClassName == "" || slices.Contains(diffusersClasses, c.ClassName)) {
		if c.Names, err = labelsOf(path, b); err != nil {
			return nil, err
		}
	}
	switch {
	case c.Dropout != nil && !(*c.Dropout >= 0 && *c.Dropout <= 1):
		return nil, fmt.Errorf("%s: class_dropout_prob is %g, want a share from 0 to 1", path, *c.Dropout)
	case c.ClassName == "":
		return c, nil
	case slices.Contains(diffusersClasses, c.ClassName):
		if err := c.fromDiffusers(); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		return c, nil
	case named:
		return new(fileConfig), nil
	}
	return nil, fmt.Errorf("%s: class %s is not a DiT: want one of %s",
		path, checkpoint.Clean(c.ClassName), strings.Join(diffusersClasses, ", "))
}

// fromDiffusers takes over what diffusers' config.json says, and reports what no DiT has.
func (c *fileConfig) fromDiffusers() error {
	c.Heads, c.Depth, c.InputSize, c.NumClasses = c.DiffHeads, c.DiffDepth, c.DiffSize, c.DiffClasses
	c.Hidden = c.DiffHeads * c.DiffHeadWidth
	if c.DiffOut != 0 && c.InChannels != 0 {
		learned := c.DiffOut == 2*c.InChannels
		c.LearnSigma = &learned
	}
	if eps, err := strconv.ParseFloat(c.more["norm_eps"], 64); err == nil && eps == diffusersEps {
		delete(c.more, "norm_eps")
	}
	switch {
	case c.DiffNormType != "" && c.DiffNormType != "ada_norm_zero":
		return fmt.Errorf("norm_type %s: want ada_norm_zero, as a DiT has", checkpoint.Clean(c.DiffNormType))
	case c.DiffActivator != "" && c.DiffActivator != "gelu-approximate":
		return fmt.Errorf("activation_fn %s: want gelu-approximate, as a DiT has", checkpoint.Clean(c.DiffActivator))
	case c.DiffAffine:
		return errors.New("norm_elementwise_affine: want false, as a DiT has")
	case c.DiffBias != nil && !*c.DiffBias:
		return errors.New("attention_bias is false: want true, as a DiT has")
	case c.DiffHeads < 0 || c.DiffHeads > maxExtent || c.DiffHeadWidth < 0 || c.DiffHeadWidth > maxExtent:
		return fmt.Errorf("%d heads of %d: want at most %d", c.DiffHeads, c.DiffHeadWidth, maxExtent)
	}
	return nil
}
