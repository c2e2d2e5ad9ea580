package dit

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/tokencache/tokencache/checkpoint"
)

// fileConfig is a config.json: the arguments of the official constructor, or diffusers' names of them.
type fileConfig struct {
	Arch       string   `json:"arch"`
	InputSize  int      `json:"input_size"`
	PatchSize  int      `json:"patch_size"`
	InChannels int      `json:"in_channels"`
	Hidden     int      `json:"hidden_size"`
	Depth      int      `json:"depth"`
	Heads      int      `json:"num_heads"`
	MLPRatio   float64  `json:"mlp_ratio"`
	NumClasses int      `json:"num_classes"`
	LearnSigma *bool    `json:"learn_sigma"`
	Decode     int      `json:"decode_layer,omitempty"`
	Names      []string `json:"class_names,omitempty"`

	TimestepShift int `json:"timestep_shift,omitempty"` // our own: the checkpoint came of a diffusers one

	ClassName     string `json:"_class_name,omitempty"`
	DiffHeads     int    `json:"num_attention_heads,omitempty"`
	DiffDepth     int    `json:"num_layers,omitempty"`
	DiffSize      int    `json:"sample_size,omitempty"`
	DiffClasses   int    `json:"num_embeds_ada_norm,omitempty"`
	DiffNormType  string `json:"norm_type,omitempty"`
	DiffActivator string `json:"activation_fn,omitempty"`
}

// JSON returns the configuration as a config.json that Open reads, with the names of the classes, which may be nil.
func (c Config) JSON(names []string) ([]byte, error) {
	return json.Marshal(fileConfig{
		Arch: string(c.Arch), InputSize: c.InputSize, PatchSize: c.PatchSize, InChannels: c.InChannels, Hidden: c.Hidden, Depth: c.Depth,
		Decode: c.DecodeLayer, Heads: c.Heads, MLPRatio: float64(c.MLPHidden) / float64(c.Hidden), NumClasses: c.NumClasses, LearnSigma: &c.LearnSigma, Names: names,
		TimestepShift: c.TimestepShift,
	})
}

// diffusersClasses are the classes of diffusers whose weights are those of a DiT.
var diffusersClasses = []string{"Transformer2DModel", "DiTTransformer2DModel"}

// readConfig reads the config.json at path or, if there is none, the one that convert left in the checkpoint's metadata. One of
// something else that lies beside a file that was named is as none.
func readConfig(path string, f *checkpoint.File, named bool) (*fileConfig, error) {
	b := []byte(f.Metadata()[checkpoint.ConfigKey])
	if path != "" {
		var err error
		if b, err = os.ReadFile(path); err != nil {
			return nil, err
		}
	} else {
		path = f.Path + ", metadata " + checkpoint.ConfigKey
	}
	c := new(fileConfig)
	if len(b) == 0 {
		return c, nil
	}
	if err := json.Unmarshal(b, c); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if c.ClassName != "" {
		if !slices.Contains(diffusersClasses, c.ClassName) {
			if named {
				return new(fileConfig), nil
			}
			return nil, fmt.Errorf("%s: class %s is not a DiT: want one of %s", path, c.ClassName, strings.Join(diffusersClasses, ", "))
		}
		if c.DiffNormType != "" && c.DiffNormType != "ada_norm_zero" {
			return nil, fmt.Errorf("%s: norm_type %q: want ada_norm_zero, as a DiT has", path, c.DiffNormType)
		}
		if c.DiffActivator != "" && c.DiffActivator != "gelu-approximate" {
			return nil, fmt.Errorf("%s: activation_fn %q: want gelu-approximate, as a DiT has", path, c.DiffActivator)
		}
		c.Heads, c.Depth, c.InputSize, c.NumClasses = c.DiffHeads, c.DiffDepth, c.DiffSize, c.DiffClasses
	}
	return c, nil
}
