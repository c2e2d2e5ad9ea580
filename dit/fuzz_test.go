package dit

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/tokencache/tokencache/checkpoint"
	"github.com/tokencache/tokencache/internal/bounded"
)

// FuzzConfig opens a model without a position embedding by a config.json, a scheduler_config.json
// and a model_index.json, and loads it.
func FuzzConfig(f *testing.F) {
	const config = `{"arch":"DiT","input_size":8,"patch_size":2,"num_heads":2,"mlp_ratio":4,"num_classes":10,"learn_sigma":true}`
	f.Add(config, `{"prediction_type":"epsilon"}`, `{"id2label":{}}`)
	f.Add(`{"_class_name":"DiTTransformer2DModel","num_attention_heads":2,"attention_head_dim":4,"sample_size":[8,8]}`, "", "")
	f.Add(`{"input_size":65536,"num_heads":2}`, `{"beta_schedule":"scaled_linear","trained_betas":[1]}`, `{"id2label":{"0":"a"}}`)
	f.Add(`{"model":{"params":{"num_heads":2.0,"path_type":"GVP"}},"patch_size":[2,2]}`,
		`{"_class_name":"FlowMatchEulerDiscreteScheduler","shift":3}`, `{"id2label":{"cat":0}}`)
	f.Add("\uFEFF"+`{"qk_norm":true,"label2id":{"a":0}}`, `{"clip_sample":true}`, `{"id2label":["a"]}`)
	all := copied(f)
	delete(all, posEmbedName)
	f.Fuzz(func(t *testing.T, config, scheduler, index string) {
		metadata := map[string]string{checkpoint.ConfigKey: config, checkpoint.SchedulerKey: scheduler, checkpoint.PipelineKey: index}
		content, err := os.ReadFile(filepath.Join(write(t, "model.safetensors", all, metadata, nil), "model.safetensors"))
		if err != nil {
			t.Fatal(err)
		}
		bounded.Run(t, len(content), func() {
			file, err := checkpoint.NewReader("model.safetensors", bytes.NewReader(content), int64(len(content)))
			if err != nil {
				t.Fatal(err)
			}
			w, err := FromFile(file, Options{})
			if err != nil {
				return
			}
			if m, err := w.Load(); err == nil && len(m.PositionEmbedding()) != w.Tokens()*w.Hidden {
				t.Errorf("a position embedding of %d numbers, want %d x %d",
					len(m.PositionEmbedding()), w.Tokens(), w.Hidden)
			}
		})
	})
}
