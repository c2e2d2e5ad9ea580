package minit2i

import (
	"cmp"
	"encoding/json"
	"fmt"

	"github.com/tokencache/tokencache/checkpoint"
	"github.com/tokencache/tokencache/diffusion"
)

// channels are those of an image: red, green, blue.
const channels = 3

// Config is the size of a model, under the names of its config.json.
type Config struct {
	ImageSize  int `json:"image_size"` // side in pixels
	PatchSize  int `json:"patch_size"`
	Hidden     int `json:"hidden_size"` // H, the width
	Heads      int `json:"num_heads"`
	Depth      int `json:"depth_double"`       // joint blocks
	TextDepth  int `json:"txt_preamble_depth"` // blocks of the text alone
	TextWidth  int `json:"txt_input_size"`     // of the text encoder's vectors
	TextTokens int `json:"prompt_length"`      // L, of every text, padding included
	Bottleneck int `json:"pca_channels"`       // of the patch embedding
	MLPHidden  int `json:"mlp_hidden,omitempty"`

	// NoiseScale is the standard deviation of the noise that sampling begins with; 0: 2, as
	// published.
	NoiseScale float64 `json:"noise_scale,omitempty"`

	// Vocabulary is the number of rows of the model's own embedding of token ids, which is trained
	// with it and takes the place of a text encoder; 0: there is none.
	Vocabulary int `json:"txt_vocabulary,omitempty"`
}

// MiniT2IB16 is the configuration of MiniT2I-B/16 at 512 pixels.
func MiniT2IB16() Config {
	return Config{
		ImageSize:  512,
		PatchSize:  16,
		Hidden:     768,
		Heads:      12,
		Depth:      17,
		TextDepth:  2,
		TextWidth:  1024,
		TextTokens: 256,
		Bottleneck: 128,
		MLPHidden:  2048,
	}
}

// parseConfig reads a config.json.
func parseConfig(data []byte) (Config, error) {
	c := struct {
		Config
		HeadDim    int     `json:"head_dim"`
		TextHidden int     `json:"txt_hidden_size"`
		Channels   int     `json:"in_channels"`
		MLPRatio   float64 `json:"mlp_ratio"`
		Prediction string  `json:"prediction"`
	}{Channels: channels, Prediction: "x"}
	if err := json.Unmarshal(data, &c); err != nil {
		return Config{}, err
	}
	switch {
	case c.Prediction != "x":
		return Config{}, fmt.Errorf("prediction %.40q: want x, the clean image", c.Prediction)
	case c.Channels != channels:
		return Config{}, fmt.Errorf("in_channels is %d, want %d", c.Channels, channels)
	case c.TextHidden != 0 && c.TextHidden != c.Hidden:
		return Config{}, fmt.Errorf("txt_hidden_size is %d, want hidden_size, %d", c.TextHidden, c.Hidden)
	case c.HeadDim != 0 && c.HeadDim*c.Heads != c.Hidden:
		return Config{}, fmt.Errorf("%d heads of %d, want hidden_size, %d, together", c.Heads, c.HeadDim, c.Hidden)
	}
	if c.Config.MLPHidden == 0 {
		if !(c.MLPRatio > 0 && c.MLPRatio < 1<<10) || c.Hidden > 1<<16 {
			return Config{}, fmt.Errorf("mlp_ratio is %g, want a number above 0", c.MLPRatio)
		}
		c.Config.MLPHidden = (int(float64(c.Hidden)*c.MLPRatio) + 7) / 8 * 8
	}
	return c.Config, c.Config.Validate()
}

// Validate reports sizes that do not fit together, or that no model has.
func (c Config) Validate() error {
	for _, x := range []struct {
		name            string
		value, min, max int
	}{
		{"image_size", c.ImageSize, 1, 1 << 14},
		{"patch_size", c.PatchSize, 1, 1 << 10},
		{"hidden_size", c.Hidden, 4, 1 << 16},
		{"num_heads", c.Heads, 1, 1 << 10},
		{"depth_double", c.Depth, 1, 1 << 10},
		{"txt_preamble_depth", c.TextDepth, 0, 1 << 10},
		{"txt_input_size", c.TextWidth, 1, 1 << 16},
		{"prompt_length", c.TextTokens, 1, 1 << 14},
		{"pca_channels", c.Bottleneck, 1, 1 << 16},
		{"the MLP's hidden size", c.MLPHidden, 1, 1 << 20},
		{"txt_vocabulary", c.Vocabulary, 0, 1 << 24},
	} {
		if x.value < x.min || x.value > x.max {
			return fmt.Errorf("%s is %d, want %d to %d", x.name, x.value, x.min, x.max)
		}
	}
	if !(c.NoiseScale >= 0 && c.NoiseScale <= 1<<10) {
		return fmt.Errorf("noise_scale is %g, want a positive number up to %d", c.NoiseScale, 1<<10)
	}
	if c.ImageSize%c.PatchSize != 0 {
		return fmt.Errorf("an image of %d pixels does not divide into patches of %d", c.ImageSize, c.PatchSize)
	}
	if c.Hidden%(4*c.Heads) != 0 {
		return fmt.Errorf("hidden_size %d and %d heads: want heads of a multiple of 4", c.Hidden, c.Heads)
	}
	return nil
}

// JSON returns the config.json of the model.
func (c Config) JSON() ([]byte, error) {
	return json.Marshal(struct {
		Config
		Prediction string `json:"prediction"`
	}{c, "x"})
}

// Noise is the standard deviation of the noise that sampling begins with.
func (c Config) Noise() float64 { return cmp.Or(c.NoiseScale, 2) }

// Floor is the least that 1-t counts as where a predicted image is read as a velocity.
const Floor = 0.05

// Network returns what samplers need to know of the model: it predicts the clean image of a flow.
func (c Config) Network() diffusion.Network {
	return diffusion.Network{
		Schedule:   diffusion.LinearPath.Schedule(),
		Prediction: diffusion.PredictSample,
		NoiseScale: c.Noise(),
		Floor:      Floor,
		Tokens:     c.ImageTokens(),
	}
}

// Name returns the published name of a model of this size, or one made of its sizes.
func (c Config) Name() string {
	for name, published := range map[string]Config{"MiniT2I-B/16": MiniT2IB16()} {
		published.ImageSize = c.ImageSize
		if c == published {
			return name
		}
	}
	return fmt.Sprintf("MiniT2I (width %d, depth %d, patch %d)", c.Hidden, c.Depth, c.PatchSize)
}

// Side is the number of image tokens in a row.
func (c Config) Side() int { return c.ImageSize / c.PatchSize }

// ImageTokens is N, the number of tokens of an image.
func (c Config) ImageTokens() int { return c.Side() * c.Side() }

// Tokens is the number of tokens of a sample: those of its text and of its image.
func (c Config) Tokens() int { return c.TextTokens + c.ImageTokens() }

// FLOPs returns the floating-point operations of an uncached pass of samples whose texts have been
// prepared (Model.Prompt); a multiplication and an addition count as two.
func (c Config) FLOPs(samples int) int64 {
	h, n, l := int64(c.Hidden), int64(c.ImageTokens()), int64(c.TextTokens)
	patch := int64(channels * c.PatchSize * c.PatchSize)
	flops := 2 * n * (patch*int64(c.Bottleneck) + int64(c.Bottleneck)*h + h*patch)
	for i := range c.Depth {
		rows := n + l
		flops += 2 * rows * h * 3 * h // queries, keys, values
		if i == c.Depth-1 {
			rows = n // of the text only keys and values are used
		}
		flops += 4*rows*(n+l)*h + 2*rows*h*h + 2*rows*3*h*int64(c.MLPHidden)
	}
	return int64(samples) * flops
}

// Tensors lists the weights that the model uses, under their published names. The checkpoint has
// others, of the time and of a pooled text, whose results nothing reads.
func (c Config) Tensors() []checkpoint.Want {
	var wants []checkpoint.Want
	add := func(name string, shape ...int) {
		wants = append(wants, checkpoint.Want{Name: prefix + name, Shape: shape})
	}
	h, head := c.Hidden, c.Hidden/c.Heads
	stream := func(p string) {
		add(p+"norm1.weight", h)
		add(p+"qkv.weight", 3*h, h)
		add(p+"qkv.bias", 3*h)
		add(p+"attn_proj.weight", h, h)
		add(p+"attn_proj.bias", h)
		add(p+"norm2.weight", h)
		add(p+"mlp.w1.weight", c.MLPHidden, h)
		add(p+"mlp.w2.weight", h, c.MLPHidden)
		add(p+"mlp.w3.weight", c.MLPHidden, h)
	}
	add("img_embedder.proj1.weight", c.Bottleneck, channels, c.PatchSize, c.PatchSize)
	add("img_embedder.proj2.weight", h, c.Bottleneck, 1, 1)
	add("img_embedder.proj2.bias", h)
	add("mask_token", 1, 1, c.TextWidth)
	add("txt_embedder.weight", h, c.TextWidth)
	if c.Vocabulary > 0 {
		add("txt_tokens.weight", c.Vocabulary, c.TextWidth)
	}
	for i := range c.TextDepth {
		p := fmt.Sprintf("txt_preamble_blocks.%d.", i)
		stream(p)
		add(p+"q_norm.weight", head)
		add(p+"k_norm.weight", head)
	}
	for i := range c.Depth {
		p := fmt.Sprintf("double_blocks.%d.", i)
		stream(p + "img_")
		stream(p + "txt_")
		add(p+"q_norm.weight", head)
		add(p+"k_norm.weight", head)
	}
	add("final_layer.norm_final.weight", h)
	add("final_layer.linear.weight", c.PatchSize*c.PatchSize*channels, h)
	add("final_layer.linear.bias", c.PatchSize*c.PatchSize*channels)
	return wants
}

// prefix begins the name of every tensor.
const prefix = "model.net."

// ignored reports whether a tensor of a checkpoint is not used.
func ignored(name string) bool {
	switch name[min(len(name), len(prefix)):] {
	case "t_embedder.mlp.0.weight", "t_embedder.mlp.0.bias", "t_embedder.mlp.2.weight", "t_embedder.mlp.2.bias",
		"pooled_embedder.weight":
		return true
	}
	return false
}
