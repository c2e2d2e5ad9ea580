package dit

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/tokencache/tokencache/checkpoint"
	"github.com/tokencache/tokencache/diffusion"
)

// argument is one that training scripts have, and config.json: by whatever names, what is
// supported of its values. An argument that is in no table has no meaning here.
type argument struct {
	names    []string
	supports func(value string) bool
	only     string // what is supported, in words
}

// What is supported is how an official model computes: that is what a table lets pass.
var (
	// blockArguments are of the network's blocks, where tensors do not tell.
	blockArguments = []argument{
		{[]string{"qk_norm", "use_qk_norm", "qknorm", "use_qknorm"}, off, "false"},
		{[]string{"use_rope", "rope", "use_rotary", "rotary", "use_rotary_emb", "use_2d_rope"}, off, "false"},
		{[]string{"use_swiglu", "swiglu"}, off, "false"},
		{[]string{"use_rmsnorm", "use_rms_norm", "rmsnorm", "rms_norm"}, off, "false"},
		{[]string{"cross_attention_dim", "caption_channels", "context_dim", "num_vector_embeds"}, off, "null"},
		{[]string{"only_cross_attention", "double_self_attention", "causal", "use_causal", "qk_scale"}, off, "false"},
		{[]string{"norm_type", "norm_layer", "norm"}, without("rms", "batch", "group", "instance"), "layer norms"},
		{[]string{"pos_embed_type", "pos_emb_type", "position_embedding_type"}, without("rope", "rotary", "alibi"), "one that is added"},
		{
			[]string{"mlp_act", "mlp_act_layer", "act_layer", "activation_fn", "hidden_act", "mlp_activation", "ffn_activation"},
			among("gelu", "gelu_tanh", "gelu_approximate", "gelu_approx", "gelu_new", "gelu_pytorch_tanh", "approx_gelu",
				"tanh_gelu", "nn.gelu"),
			"gelu with tanh, as a DiT has",
		},
		{[]string{"norm_eps", "layer_norm_eps", "layernorm_eps", "norm_epsilon"}, number(normEps), "1e-06"},
		{[]string{"frequency_embedding_size"}, number(256), "256"},
		{[]string{"max_period"}, number(10000), "10000"},
	}
	// processArguments are of the diffusion process, for models that are not flows.
	processArguments = []argument{
		{[]string{"prediction_type"}, predicts(kindNoise), "epsilon"},
		{
			[]string{"prediction", "pred_type", "predict_type", "parameterization", "parametrization", "model_mean_type", "mean_type"},
			predicts(kindNoise, ""),
			"epsilon",
		},
		{sampleArguments, off, "false, the prediction of noise"},
		{
			[]string{"predict_v", "v_prediction", "v_pred", "use_v_prediction", "predict_velocity"},
			off,
			"false, the prediction of noise",
		},
		{
			[]string{"noise_schedule", "beta_schedule", "noise_schedule_name", "beta_schedule_type", "noise_schedule_type"},
			among("linear"),
			"linear",
		},
		{
			[]string{"diffusion_steps", "num_diffusion_steps", "num_diffusion_timesteps", "num_train_timesteps",
				"diffusion_timesteps", "noise_steps", "num_noise_steps"},
			number(officialTimesteps), "1000",
		},
		{[]string{"timesteps", "num_timesteps", "n_timesteps"}, atMost(officialTimesteps), "at most 1000"},
		{[]string{"beta_start", "linear_start"}, number(officialBetaStart), "0.0001"},
		{[]string{"beta_end", "linear_end"}, number(officialBetaEnd), "0.02"},
		{
			[]string{"zero_snr", "zero_terminal_snr", "enforce_zero_terminal_snr", "rescale_betas_zero_snr"},
			off,
			"betas that are not rescaled",
		},
		{
			[]string{"use_flow", "flow_matching", "use_flow_matching", "rectified_flow", "use_rectified_flow"},
			off,
			"false" + asSiT,
		},
		{[]string{"transport", "interpolant"}, off, "none" + asSiT},
		{kindArguments, predicts(kindNoise, ""), "the prediction of noise on a noise schedule" + asSiT},
	}
	// flowArguments are of the process, for flows.
	flowArguments = []argument{
		{kindArguments, predicts(kindFlow, kindNoise, kindScore, kindSample, kindV, ""), "a flow"},
	}
)

// asSiT says how a flow that does not name itself one is opened.
const asSiT = "; a flow is opened as a SiT where its path and prediction are given"

// sampleArguments say that the network predicts x_0.
var sampleArguments = []string{"predict_xstart", "predict_x0", "pred_x0", "predict_x_start"}

// kindArguments name the process as a whole, among other meanings.
var kindArguments = []string{
	"objective", "training_objective", "loss_type", "loss", "framework", "formulation", "diffusion_type", "process",
	"method", "precond", "noise_scheduler", "scheduler", "scheduler_type", "model_type",
}

// off accepts what means that something is not there.
func off(value string) bool {
	return slices.Contains([]string{"", "false", "none", "null", "no", "off", "0", "0.0"}, strings.ToLower(value))
}

// among accepts some words.
func among(words ...string) func(string) bool {
	return func(value string) bool { return off(value) || slices.Contains(words, word(value)) }
}

// without accepts what has none of some parts.
func without(parts ...string) func(string) bool {
	return func(value string) bool {
		return !slices.ContainsFunc(parts, func(part string) bool { return strings.Contains(word(value), part) })
	}
}

// number accepts a number.
func number(want float64) func(string) bool {
	return func(value string) bool {
		x, err := strconv.ParseFloat(value, 64)
		return x == want || err != nil && off(value)
	}
}

// atMost accepts numbers, and what is none.
func atMost(most float64) func(string) bool {
	return func(value string) bool {
		x, err := strconv.ParseFloat(value, 64)
		return err != nil || x <= most
	}
}

// word returns a value as tables have it.
func word(value string) string {
	return strings.NewReplacer("-", "_", " ", "_").Replace(strings.ToLower(value))
}

// Kinds of process and prediction.
const (
	kindNoise     = "noise"
	kindV         = "v"
	kindSample    = "sample"
	kindScore     = "score"
	kindFlow      = "flow"
	kindEDM       = "edm"
	kindDistilled = "distilled"
)

var kindWords = map[string][]string{
	kindNoise:  {"epsilon", "eps", "noise", "pred_noise", "pred_eps", "pred_epsilon", "predict_noise", "ddpm", "ddim"},
	kindV:      {"v", "v_prediction", "v_pred", "pred_v", "predict_v"},
	kindSample: {"x", "x0", "x_0", "xstart", "x_start", "start_x", "sample", "pred_x0", "pred_xstart", "pred_x_start", "predict_x0"},
	kindScore:  {"score", "pred_score"},
	kindFlow: {"flow", "flow_matching", "flow_match", "flowmatching", "rectified_flow", "rectifiedflow", "rf", "cfm", "ot_cfm",
		"flow_prediction", "pred_flow", "velocity", "stochastic_interpolant", "stochastic_interpolants", "sit",
		"flowmatcheulerdiscrete", "flowmatchheundiscrete"},
	kindEDM:       {"edm", "edm2", "edmeuler", "edmdpmsolvermultistep"},
	kindDistilled: {"consistency", "consistency_model", "consistency_training", "lcm", "ect", "meanflow", "mean_flow", "shortcut"},
}

// kindOf returns the kind that a value names, or "".
func kindOf(value string) string {
	value = word(value)
	for _, ending := range []string{"scheduler", "precond", "loss"} {
		value = strings.TrimRight(strings.TrimSuffix(value, ending), "_")
	}
	for kind, words := range kindWords {
		if slices.Contains(words, value) {
			return kind
		}
	}
	return ""
}

// predicts accepts values of some kinds; "" is for those that are of none.
func predicts(kinds ...string) func(string) bool {
	return func(value string) bool { return off(value) || slices.Contains(kinds, kindOf(value)) }
}

// heed refuses the model if an argument of its training script, or of config.json, says that it
// computes otherwise than the official ones. What a flow predicts is settled already.
func (w *Weights) heed(given *fileConfig, o Options) {
	tables := [][]argument{blockArguments, processArguments}
	if w.Arch == ArchSiT {
		tables[1] = flowArguments
		if o.Prediction == "" && w.Prediction != diffusion.PredictSample {
			tables = append(tables, []argument{{sampleArguments, off, "false, or prediction sample"}})
		}
	}
	for _, source := range []struct {
		name   string
		values map[string]string
	}{{"args", w.File.Settings()}, {"config.json", given.more}, {"metadata", modelSpec(w.File)}} {
		for _, name := range slices.Sorted(maps.Keys(source.values)) {
			value := source.values[name]
			for _, table := range tables {
				if a := lookup(table, name); a != nil && !a.supports(value) && w.Process.refused == "" {
					w.Process.refused = fmt.Sprintf("%s: %s %s is not supported, only %s",
						source.name, checkpoint.Clean(name), checkpoint.Clean(value), a.only)
				}
			}
		}
	}
}

// lookup returns the argument of a name, whose groups do not count, or nil.
func lookup(table []argument, name string) *argument {
	name = word(name[strings.LastIndex(name, ".")+1:])
	for i := range table {
		if slices.Contains(table[i].names, name) {
			return &table[i]
		}
	}
	return nil
}

// modelSpec returns what a safetensors file's metadata say of its model in the keys of the
// ModelSpec standard.
func modelSpec(f *checkpoint.File) map[string]string {
	const key = "modelspec.prediction_type"
	if value := f.Metadata()[key]; value != "" {
		return map[string]string{key: value}
	}
	return nil
}
