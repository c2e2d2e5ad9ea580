package dit

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/tokencache/tokencache/diffusion"
)

// TestArguments checks that an argument of a training script which says that the model computes
// otherwise refuses it, as one of config.json does, and that official and unrelated ones pass.
func TestArguments(t *testing.T) {
	type args = map[string]string
	for _, c := range []struct {
		name string
		args args
		want string // of the error; "" is for none
	}{
		{"DiT's own", args{"model": "DiT-XL/2", "image_size": "256", "num_classes": "10", "epochs": "1400", "vae": "ema",
			"results_dir": "results", "global_seed": "0", "lr": "0.0001", "cfg_scale": "4.0", "ckpt_every": "50000"}, ""},
		{"MDT's own", args{"learn_sigma": "True", "diffusion_steps": "1000", "noise_schedule": "linear", "use_kl": "False",
			"predict_xstart": "False", "rescale_timesteps": "False", "timestep_respacing": "", "mask_ratio": "0.3"}, ""},
		{"diffusers' defaults", args{"prediction_type": "epsilon", "beta_start": "0.0001", "beta_end": "0.02",
			"beta_schedule": "linear", "num_train_timesteps": "1000", "rescale_betas_zero_snr": "False"}, ""},
		{"unrelated", args{"scheduler": "cosine", "loss_type": "mse", "loss": "l2", "objective": "pred_noise", "schedule": "cosine",
			"parameterization": "mup", "timesteps": "250", "transport": "False", "norm": "1.0", "optimizer": "adamw"}, ""},
		{"v-prediction", args{"prediction_type": "v_prediction"}, "args: prediction_type v_prediction is not supported, only epsilon"},
		{"v by another name", args{"parameterization": "v"}, "args: parameterization v is not supported, only epsilon"},
		{"an unknown type", args{"prediction_type": "weather"}, "prediction_type weather is not supported"},
		{"cosine", args{"noise_schedule": "cosine"}, "args: noise_schedule cosine is not supported, only linear"},
		{"in a group", args{"diffusion.noise-schedule": "cosine"}, "args: diffusion.noise-schedule cosine is not supported"},
		{"steps", args{"diffusion_steps": "4000"}, "args: diffusion_steps 4000 is not supported, only 1000"},
		{"timesteps", args{"timesteps": "4000"}, "args: timesteps 4000 is not supported, only at most 1000"},
		{"x_0", args{"predict_xstart": "True"}, "args: predict_xstart True is not supported, only false"},
		{"betas", args{"linear_end": "0.012"}, "args: linear_end 0.012 is not supported, only 0.02"},
		{"zero SNR", args{"zero_terminal_snr": "True"}, "zero_terminal_snr True is not supported"},
		{"a flow", args{"objective": "flow"}, "args: objective flow is not supported"},
		{"rectified flow", args{"model": "DiT-S/2", "transport": "linear", "loss_type": "rectified_flow"},
			"args: loss_type rectified_flow is not supported, only the prediction of noise on a noise schedule; a flow is opened as a SiT"},
		{"a transport", args{"transport": "linear"}, "args: transport linear is not supported"},
		{"EDM", args{"precond": "EDMPrecond"}, "args: precond EDMPrecond is not supported"},
		{"a flow's scheduler", args{"noise_scheduler": "FlowMatchEulerDiscreteScheduler"}, "noise_scheduler FlowMatchEulerDiscreteScheduler is not supported"},
		{"norms of queries", args{"qk_norm": "True"}, "args: qk_norm True is not supported, only false"},
	} {
		t.Run(c.name, func(t *testing.T) {
			text, err := json.Marshal(c.args)
			if err != nil {
				t.Fatal(err)
			}
			w, err := Open(write(t, "model.safetensors", copied(t), map[string]string{"args": string(text)}, nil), Options{Heads: 2})
			if err != nil {
				t.Fatal(err)
			}
			defer w.Close()
			_, err = w.Load()
			wantError(t, err, c.want)
			var unsupported *UnsupportedError
			if w.Arch != ArchDiT || errors.As(err, &unsupported) != (c.want != "") {
				t.Errorf("%s, error %v", w.Arch, err)
			}
		})
	}
}

// TestConfigArguments checks the same of config.json.
func TestConfigArguments(t *testing.T) {
	const diffusers = `{"_class_name":"DiTTransformer2DModel",`
	for _, c := range []struct{ name, config, want string }{
		{"unknown ones", `{"comment":"ours","fused_attn":true,"dropout":0.1,"attn_drop":0.0,"_diffusers_version":"0.31"}`, ""},
		{"diffusers' defaults", diffusers + `"norm_eps":1e-05,"activation_fn":"gelu-approximate","norm_type":"ada_norm_zero",` +
			`"upcast_attention":true,"dropout":0.1,"only_cross_attention":false,"cross_attention_dim":null,"norm_num_groups":32}`, ""},
		{"official ones", `{"qk_norm":false,"norm_eps":1e-6,"mlp_act":"gelu_tanh","use_rope":0}`, ""},
		{"norms of queries", `{"qk_norm":true}`, "config.json: qk_norm true is not supported, only false"},
		{"rotary positions", `{"use_rope":true}`, "config.json: use_rope true is not supported, only false"},
		{"epsilon", `{"norm_eps":0.001}`, "config.json: norm_eps 0.001 is not supported, only 1e-06"},
		{"epsilon of diffusers", diffusers + `"norm_eps":0.01}`, "config.json: norm_eps 0.01 is not supported"},
		{"SiLU", `{"mlp_act":"silu"}`, "config.json: mlp_act silu is not supported, only gelu with tanh"},
		{"attention to text", diffusers + `"cross_attention_dim":8}`, "config.json: cross_attention_dim 8 is not supported, only null"},
		{"nothing but that", diffusers + `"only_cross_attention":true}`, "config.json: only_cross_attention true is not supported"},
		{"RMS norms", `{"norm_layer":"RMSNorm"}`, "config.json: norm_layer RMSNorm is not supported, only layer norms"},
		{"prediction", `{"prediction_type":"v_prediction"}`, "config.json: prediction_type v_prediction is not supported"},
		{"in a group", `{"model":{"params":{"qk_norm":true}}}`, "config.json: model.params.qk_norm true is not supported"},
		{"in a group of data", `{"data":{"prediction_type":"v_prediction"}}`, ""},
		{"a byte order mark", "\uFEFF" + `{"qk_norm":true}`, "qk_norm true is not supported"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := write(t, "model.safetensors", copied(t), nil, map[string]string{"config.json": c.config})
			w, err := Open(dir, Options{Heads: 2})
			if err != nil {
				t.Fatal(err)
			}
			defer w.Close()
			wantError(t, w.Unsupported(), c.want)
		})
	}
}

// TestArgumentsOfFlows checks that a SiT's path and prediction are found in groups and by other
// names, and that what a flow is called does not refuse one.
func TestArgumentsOfFlows(t *testing.T) {
	type args = map[string]string
	for _, c := range []struct {
		name     string
		args     args
		options  Options
		path     diffusion.Path
		predicts diffusion.Prediction
		want     string
	}{
		{"in a group", args{"model.path_type": "GVP", "model.prediction": "score"}, Options{}, "GVP", "score", ""},
		{"by a transport", args{"model": "SiT-XL/2", "transport": "gvp"}, Options{}, "GVP", "velocity", ""},
		{"by a type", args{"path_type": "VP", "prediction_type": "noise"}, Options{}, "VP", "epsilon", ""},
		{"called a flow", args{"path_type": "Linear", "objective": "flow", "noise_schedule": "cosine"}, Options{}, "Linear", "velocity", ""},
		{"asked for", args{"transport": "linear", "loss_type": "rectified_flow"}, Options{Prediction: "flow_prediction"}, "Linear", "flow_prediction", ""},
		{"predicts x_0", args{"path_type": "Linear", "predict_xstart": "True"}, Options{}, "Linear", "velocity", "predict_xstart True is not supported"},
		{"distilled", args{"path_type": "Linear", "objective": "meanflow"}, Options{}, "Linear", "velocity", "args: objective meanflow is not supported, only a flow"},
	} {
		t.Run(c.name, func(t *testing.T) {
			text, err := json.Marshal(c.args)
			if err != nil {
				t.Fatal(err)
			}
			c.options.Heads = 2
			w, err := Open(write(t, "model.safetensors", copied(t), map[string]string{"args": string(text)}, nil), c.options)
			if err != nil {
				t.Fatal(err)
			}
			defer w.Close()
			wantError(t, w.Unsupported(), c.want)
			if w.Path != c.path || w.Prediction != c.predicts {
				t.Errorf("path %s, prediction %s, want %s, %s", w.Path, w.Prediction, c.path, c.predicts)
			}
		})
	}
}
