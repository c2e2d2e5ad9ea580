package dit

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/tokencache/tokencache/checkpoint"
)

// TestLabelTable checks what the rows of the label table are taken for.
func TestLabelTable(t *testing.T) {
	for _, c := range []struct {
		name    string
		rows    int
		config  string
		classes int
		noNull  bool
		assumed string
		want    string
	}{
		{name: "nothing said", rows: 11, classes: 10},
		{name: "classes and the null class", rows: 11, config: `{"num_classes":10}`, classes: 10},
		{name: "classes alone", rows: 10, config: `{"num_classes":10}`, classes: 10, noNull: true},
		{
			name:    "classes alone, said twice",
			rows:    10,
			config:  `{"num_classes":10,"class_dropout_prob":0}`,
			classes: 10,
			noNull:  true,
		},
		{name: "labels never dropped", rows: 10, config: `{"class_dropout_prob":0}`, classes: 10, noNull: true},
		{name: "one class", rows: 1, classes: 1, noNull: true},
		{name: "one class and the null class", rows: 2, classes: 1},
		{
			name:    "a null class never seen",
			rows:    11,
			config:  `{"num_classes":10,"class_dropout_prob":0}`,
			classes: 10,
			assumed: "although class_dropout_prob is 0",
		},
		{
			name:   "labels dropped without a null class",
			rows:   10,
			config: `{"num_classes":10,"class_dropout_prob":0.1}`,
			want:   "no row for the null class",
		},
		{
			name:   "other classes",
			rows:   11,
			config: `{"num_classes":7}`,
			want:   "num_classes: 10 by the tensors, 7 as given",
		},
		{
			name:    "diffusers'",
			rows:    10,
			config:  `{"_class_name":"DiTTransformer2DModel","num_embeds_ada_norm":10}`,
			classes: 10,
			noNull:  true,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			all := copied(t)
			all["y_embedder.embedding_table.weight"] = tensorData{[]int{c.rows, 8}, make([]float32, 8*c.rows)}
			files := map[string]string{}
			if c.config != "" {
				files["config.json"] = c.config
			}
			w, err := Open(write(t, "model.safetensors", all, nil, files), Options{Heads: 2})
			wantError(t, err, c.want)
			if err != nil {
				return
			}
			defer w.Close()
			if w.NumClasses != c.classes || w.NoNullClass != c.noNull || !strings.Contains(w.Assumed, c.assumed) || (c.assumed == "") != (w.Assumed == "") {
				t.Errorf("%d classes, no null class %t, assumed %q", w.NumClasses, w.NoNullClass, w.Assumed)
			}
			m, err := w.Load()
			if err != nil {
				t.Fatal(err)
			}
			b := formulaBatch(w.Config, 1)
			b.Cond[0] = Class(w.NullClass())
			if err := m.CheckBatch(b); (err != nil) != c.noNull {
				t.Errorf("the null class: %v", err)
			}
			if _, _, err := w.Trainable(); (err != nil) != c.noNull {
				t.Errorf("training: %v", err)
			}
			text, err := w.JSON(nil)
			if err != nil {
				t.Fatal(err)
			}
			again, err := Open(write(t, "model.safetensors", all, nil, map[string]string{"config.json": string(text)}), Options{})
			if err != nil || again.Config != w.Config {
				t.Fatalf("opened by its own config: %v", err)
			}
			again.Close()
		})
	}
}

// TestInputSize checks that the side of the latents is told, said to be assumed, or asked for, and
// is in proportion to the file.
func TestInputSize(t *testing.T) {
	thousand := tensorData{[]int{1001, 8}, make([]float32, 8*1001)}
	for _, c := range []struct {
		name      string
		config    string
		given     int
		positions int // of pos_embed; 0 for none
		thousand  bool
		size      int
		assumed   string
		want      string
	}{
		{name: "by the position embedding", positions: 16, size: 8},
		{name: "given", given: 8, size: 8},
		{name: "by config.json", config: `{"input_size":8}`, size: 8},
		{name: "both sides", config: `{"input_size":[8,8]}`, size: 8},
		{name: "of the published model", thousand: true, size: 32, assumed: "taken for 32 x 32"},
		{name: "nothing tells", want: "there is no pos_embed, and input_size is not in config.json"},
		{name: "contradiction", positions: 16, given: 16, want: "input_size: 8 by the tensors, 16 as given"},
		{name: "not square in config.json", config: `{"input_size":[8,16]}`, want: "not square are not supported"},
		{name: "not square in the tensors", positions: 32, want: "32 positions, which are no square grid"},
		{name: "no multiple of the patch", config: `{"input_size":7}`, want: "not a multiple"},
		{name: "negative", config: `{"input_size":-8}`, want: "input_size is -8"},
		{name: "many tokens", config: `{"input_size":65536}`, want: "1073741824 tokens"},
		{name: "beyond 32 bits", config: `{"input_size":1048576}`, want: "274877906944 tokens"},
		{name: "beyond everything", config: `{"input_size":9223372036854775807}`, want: "want 1 to 1048576"},
		{name: "the largest", config: `{"input_size":512}`, size: 512},
	} {
		t.Run(c.name, func(t *testing.T) {
			all := copied(t)
			delete(all, posEmbedName)
			if c.positions > 0 {
				all[posEmbedName] = tensorData{[]int{1, c.positions, 8}, make([]float32, 8*c.positions)}
			}
			if c.thousand {
				all["y_embedder.embedding_table.weight"] = thousand
			}
			files := map[string]string{}
			if c.config != "" {
				files["config.json"] = c.config
			}
			w, err := Open(write(t, "model.safetensors", all, nil, files), Options{Heads: 2, InputSize: c.given})
			wantError(t, err, c.want)
			if err != nil {
				var needed *NeededError
				if errors.As(err, &needed) != (c.name == "nothing tells") || strings.Contains(err.Error(), "--") {
					t.Errorf("error %v", err)
				}
				return
			}
			defer w.Close()
			if w.InputSize != c.size || !strings.Contains(w.Assumed, c.assumed) || (c.assumed == "") != (w.Assumed == "") {
				t.Errorf("side %d, assumed %q", w.InputSize, w.Assumed)
			}
		})
	}
}

// TestGridOfLargePatches checks that a grid within the limit is refused where the pixels of it are
// out of proportion to the weights.
func TestGridOfLargePatches(t *testing.T) {
	c := Config{
		Arch:       ArchDiT,
		InputSize:  256 * 64,
		PatchSize:  64,
		InChannels: 1,
		Hidden:     4,
		Depth:      1,
		Heads:      1,
		MLPHidden:  4,
		NumClasses: 10,
		LearnSigma: true,
	}
	path := writeModel(t, c, `{"input_size":16384}`, func(list []checkpoint.Want) []checkpoint.Want {
		return slices.DeleteFunc(list, func(w checkpoint.Want) bool { return w.Name == posEmbedName })
	})
	_, err := Open(path, Options{Heads: 1})
	wantError(t, err, "65536 tokens of 8192 numbers are too much for a model of")
}

// TestClassNames checks where the names of classes come from, and that they are the model's.
func TestClassNames(t *testing.T) {
	ten := make([]string, 10)
	labels := map[string]string{}
	for i := range ten {
		ten[i] = string(rune('a'+i)) + ", letter"
		labels[string(rune('0'+i))] = ten[i]
	}
	index := func(labels map[string]string) string {
		b, err := json.Marshal(map[string]any{"_class_name": "DiTPipeline", "id2label": labels})
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	numbers := `{"label2id":{"a, letter":0`
	for i := 1; i < len(ten); i++ {
		numbers += fmt.Sprintf(",%q:%d", ten[i], i)
	}
	numbers += "}}"
	for _, c := range []struct {
		name, config, index string
		named               bool
		want                string
	}{
		{"none", "", "{}", false, ""},
		{"an empty id2label", "", index(nil), false, ""},
		{"id2label", "", index(labels), true, ""},
		{"too few", "", index(map[string]string{"0": "a"}), false, "1 names of classes, want 10"},
		{
			"numbers missing",
			"",
			index(map[string]string{"0": "a", "2": "b"}),
			false,
			"id2label has the key 2, want 0 to 1",
		},
		{"no numbers", "", index(map[string]string{"x": "a"}), false, "id2label has the key x"},
		{"no strings", "", `{"id2label":{"0":1}}`, false, "id2label: class 0 is the number 1, want a name"},
		{"lists", "", `{"id2label":{"0":["n01","a"]}}`, false, `id2label: class 0 is the list ["n01","a"], want a name`},
		{"no table", "", `{"id2label":5}`, false, "id2label is the number 5, want numbers and names"},
		{
			"the other way round",
			"",
			`{"id2label":{"cat":0,"dog":1}}`,
			false,
			`id2label gives names their numbers (cat: 0), want numbers their names: {"0": "cat"}`,
		},
		{"a list", "", `{"id2label":["a, letter","b, letter","c, letter","d, letter","e, letter",` +
			`"f, letter","g, letter","h, letter","i, letter","j, letter"]}`, true, ""},
		{"in config.json", strings.Replace(index(labels), `"_class_name":"DiTPipeline",`, "", 1), "{}", true, ""},
		{"numbers in config.json", numbers, "{}", true, ""},
		{"a number twice", `{"label2id":{"a":0,"b":0}}`, "{}", false, "label2id has two names of class 0"},
		{"class_names", `{"class_names":["a","b"]}`, "{}", false, "2 names of classes, want 10"},
		{
			"escape codes",
			`{"class_names":["\u001b[31m","b","c","d","e","f","g","h","i","j"]}`,
			"{}",
			false,
			`the name of class 0, "\x1b[31m", is too long or cannot be printed`,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			files := map[string]string{"model_index.json": c.index}
			if c.config != "" {
				files["transformer/config.json"] = c.config
			}
			dir := write(t, "transformer/model.safetensors", copied(t), nil, files)
			w, err := Open(dir, Options{Heads: 2})
			wantError(t, err, c.want)
			if err != nil {
				return
			}
			defer w.Close()
			if c.named != slices.Equal(w.ClassNames, ten) {
				t.Errorf("names %q", w.ClassNames)
			}
		})
	}
}

// TestContradictions checks that config.json is compared with the tensors in all that it says.
func TestContradictions(t *testing.T) {
	const diffusers = `{"_class_name":"DiTTransformer2DModel",`
	for _, c := range []struct{ name, config, want string }{
		{"mlp_ratio", `{"mlp_ratio":2}`, "mlp_ratio: width 32 by the tensors, 16 as given"},
		{"learn_sigma", `{"learn_sigma":false}`, "learn_sigma: true by the tensors, false as given"},
		{"depth", `{"depth":2}`, "depth: 1 by the tensors, 2 as given"},
		{
			"width of heads",
			diffusers + `"num_attention_heads":2,"attention_head_dim":8}`,
			"hidden_size: 8 by the tensors, 16 as given",
		},
		{
			"channels out",
			diffusers + `"in_channels":3,"out_channels":3}`,
			"learn_sigma: true by the tensors, false as given",
		},
		{"affine norms", diffusers + `"norm_elementwise_affine":true}`, "norm_elementwise_affine"},
		{"no biases", diffusers + `"attention_bias":false}`, "attention_bias"},
		{
			"huge heads",
			diffusers + `"num_attention_heads":4611686018427387904,"attention_head_dim":4}`,
			"want at most 1048576",
		},
		{"another class", `{"_class_name":"UNet2DModel"}`, "class UNet2DModel is not a DiT"},
		{"no JSON", `{"depth":`, "config.json: not JSON: line 1: unexpected end"},
		{"nothing", "", "config.json: empty, want JSON"},
		{"a list", "[1]", "config.json: a list, want an object"},
		{"a byte order mark", "\uFEFF" + `{"depth":1}`, ""},
		{"heads in quotes", `{"num_heads":"2"}`, `config.json: num_heads is the text "2", want a whole number`},
		{"heads in quotes in a group", `{"model":{"num_heads":"2"}}`, `config.json, group model: num_heads is the text "2"`},
		{"contradiction in a group", `{"model":{"depth":2}}`, "depth: 1 by the tensors, 2 as given"},
		{"groups in groups", strings.Repeat(`{"model":`, 2000) + "{}" + strings.Repeat("}", 2000), ""},
		{"heads of 2.0", `{"num_heads":2.0}`, ""},
		{"heads of 2.5", `{"num_heads":2.5}`, "num_heads is the number 2.5, want a whole number"},
		{"both sides of the patch", `{"patch_size":[2,2]}`, ""},
		{"three sides", `{"patch_size":[1,2,2]}`, "patch_size is the list [1,2,2], want a whole number, or two that are equal"},
		{"more than all labels dropped", `{"class_dropout_prob":7}`, "class_dropout_prob is 7, want a share from 0 to 1"},
		{"fewer than no labels dropped", `{"class_dropout_prob":-1}`, "class_dropout_prob is -1, want a share from 0 to 1"},
		{"all labels dropped", `{"class_dropout_prob":1}`, ""},
		{"a Git LFS pointer", "version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, err := Open(write(t, "model.safetensors", copied(t), nil, map[string]string{"config.json": c.config}), Options{Heads: 2})
			wantError(t, err, c.want)
			if err == nil {
				w.Close()
			}
		})
	}
}
