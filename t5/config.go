package t5

import (
	"encoding/json"
	"fmt"
	"math"

	"github.com/tokencache/tokencache/checkpoint"
)

// Config describes an encoder, under the names of a config.json.
type Config struct {
	Width       int     `json:"d_model"`
	HeadWidth   int     `json:"d_kv"` // heads times it need not be Width
	Hidden      int     `json:"d_ff"` // of the MLP
	Heads       int     `json:"num_heads"`
	Blocks      int     `json:"num_layers"`
	Vocabulary  int     `json:"vocab_size"` // rows of the embedding
	Buckets     int     `json:"relative_attention_num_buckets"`
	MaxDistance int     `json:"relative_attention_max_distance"`
	Eps         float32 `json:"layer_norm_epsilon"`
}

// FlanT5Large is the configuration of the encoder of FLAN-T5-Large.
func FlanT5Large() Config {
	return Config{
		Width:       1024,
		HeadWidth:   64,
		Hidden:      2816,
		Heads:       16,
		Blocks:      24,
		Vocabulary:  32128,
		Buckets:     32,
		MaxDistance: 128,
		Eps:         1e-6,
	}
}

// parseConfig reads a config.json.
func parseConfig(data []byte) (Config, error) {
	c := struct {
		Config
		Type     string `json:"model_type"`
		Forward  string `json:"feed_forward_proj"`
		Gated    *bool  `json:"is_gated_act"`
		Function string `json:"dense_act_fn"`
	}{Config: Config{Buckets: 32, MaxDistance: 128, Eps: 1e-6}}
	if err := json.Unmarshal(data, &c); err != nil {
		return Config{}, err
	}
	if c.Type != "" && c.Type != "t5" && c.Type != "mt5" && c.Type != "umt5" {
		return Config{}, fmt.Errorf("model_type %.40q: want t5", c.Type)
	}
	if c.Type == "umt5" {
		return Config{}, fmt.Errorf("model_type umt5, which has position biases in every block, is not supported")
	}
	gated := c.Forward == "gated-gelu" || c.Forward == "" && c.Gated != nil && *c.Gated && c.Function == "gelu_new"
	if !gated {
		return Config{}, fmt.Errorf("feed_forward_proj %.40q: want gated-gelu, as in T5 1.1 and FLAN-T5", c.Forward)
	}
	return c.Config, c.Config.validate()
}

// validate bounds each extent. What they cost together is checked against the tensors that there
// are.
func (c Config) validate() error {
	for _, x := range []struct {
		name       string
		value, max int
	}{
		{"d_model", c.Width, 1 << 16},
		{"d_kv", c.HeadWidth, 1 << 12},
		{"d_ff", c.Hidden, 1 << 20},
		{"num_heads", c.Heads, 1 << 10},
		{"num_layers", c.Blocks, 1 << 10},
		{"vocab_size", c.Vocabulary, 1 << 24},
		{"relative_attention_num_buckets", c.Buckets, 1 << 12},
		{"relative_attention_max_distance", c.MaxDistance, 1 << 20},
	} {
		if x.value < 1 || x.value > x.max {
			return fmt.Errorf("%s is %d, want 1 to %d", x.name, x.value, x.max)
		}
	}
	if c.Buckets%4 != 0 || c.MaxDistance <= c.Buckets/4 {
		return fmt.Errorf("relative_attention_num_buckets %d and relative_attention_max_distance %d: want a multiple "+
			"of 4, and more than a quarter of it", c.Buckets, c.MaxDistance)
	}
	if !(c.Eps > 0 && c.Eps < 1) {
		return fmt.Errorf("layer_norm_epsilon is %g, want a number between 0 and 1", c.Eps)
	}
	return nil
}

// Tensors lists the weights of the encoder.
func (c Config) Tensors() []checkpoint.Want {
	inner := c.Heads * c.HeadWidth
	wants := []checkpoint.Want{
		{Name: embedding, Shape: []int{c.Vocabulary, c.Width}},
		{Name: biasTable, Shape: []int{c.Buckets, c.Heads}},
		{Name: "encoder.final_layer_norm.weight", Shape: []int{c.Width}},
	}
	for i := range c.Blocks {
		p := fmt.Sprintf("encoder.block.%d.", i)
		wants = append(wants,
			checkpoint.Want{Name: p + "layer.0.layer_norm.weight", Shape: []int{c.Width}},
			checkpoint.Want{Name: p + "layer.0.SelfAttention.q.weight", Shape: []int{inner, c.Width}},
			checkpoint.Want{Name: p + "layer.0.SelfAttention.k.weight", Shape: []int{inner, c.Width}},
			checkpoint.Want{Name: p + "layer.0.SelfAttention.v.weight", Shape: []int{inner, c.Width}},
			checkpoint.Want{Name: p + "layer.0.SelfAttention.o.weight", Shape: []int{c.Width, inner}},
			checkpoint.Want{Name: p + "layer.1.layer_norm.weight", Shape: []int{c.Width}},
			checkpoint.Want{Name: p + "layer.1.DenseReluDense.wi_0.weight", Shape: []int{c.Hidden, c.Width}},
			checkpoint.Want{Name: p + "layer.1.DenseReluDense.wi_1.weight", Shape: []int{c.Hidden, c.Width}},
			checkpoint.Want{Name: p + "layer.1.DenseReluDense.wo.weight", Shape: []int{c.Width, c.Hidden}},
		)
	}
	return wants
}

// bucket returns the row of the bias table for a key that stands n places after its query (before
// it if n is negative): small distances have a row each, larger ones share rows on a logarithmic
// scale up to MaxDistance, and keys after the query have the upper half of the table.
func (c Config) bucket(n int) int {
	half, exact := c.Buckets/2, c.Buckets/4
	first, distance := 0, -n
	if n > 0 {
		first, distance = half, n
	}
	if distance < exact {
		return first + distance
	}
	// In float32, as the original computes it.
	scale := float32(math.Log(float64(float32(distance) / float32(exact))))
	scale /= float32(math.Log(float64(c.MaxDistance) / float64(exact)))
	return first + min(half-1, exact+int(scale*float32(half-exact)))
}
