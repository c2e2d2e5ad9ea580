package main

import (
	"slices"

	"github.com/alecthomas/kong"
)

// verbGroups are the groups of verbs in the help of the program, and what they are for.
var verbGroups = [][]string{
	{"Generate:", "demo", "generate", "encode", "merge", "jobs", "list"},
	{"Make cache policies, and compare them:", "calibrate", "compare"},
	{"Serve:", "serve"},
	{"Evaluate and measure:", "evaluate", "bench", "verify"},
	{"Train:", "train", "data"},
	{"Look into files:", "inspect", "convert"},
	{"The program:", "version", "completion"},
}

// flagGroups are the groups of flags in the help of verbs that have many. Flags of no group come
// first.
var flagGroups = [][]string{
	{"Model:", "model", "key", "vae", "heads", "input-size", "decode-layer"},
	{"What is compared:", "policies", "speeds", "quick", "axes", "dtypes"},
	{"Text encoder:", "text-encoder", "text-cache", "encoded"},
	{"Images:", "prompt-file", "negative", "class", "count", "seed", "noise", "rng", "batch"},
	{"Sampling:", "sampler", "steps", "spacing", "order", "variant", "solver", "eta", "guidance", "guidance-power",
		"guidance-all-channels", "clip"},
	{"Flow models:", "path-type", "prediction", "shift", "shift-by-resolution", "guidance-low", "guidance-high",
		"diffusion-form", "diffusion-norm", "last-step", "last-step-size", "sample-eps", "atol", "rtol"},
	{"Cache policy:", "policy", "speed", "min-psnr", "cache-memory", "method", "ratio", "paper", "percentile"},
	{"Measuring:", "timed", "repeat", "retime", "reference"},
	{"Computing:", "dtype", "threads"},
	{"Broker:", "nats", "listen", "state", "user", "password-file", "nkey", "tls-ca", "tls-cert", "tls-key", "replicas"},
	{"Shards and workers:", "shard-size", "ack-wait", "attempts", "workers", "metrics", "shared", "merge"},
	{"Part of a run:", "shard", "shard-index", "features"},
	{"Output:", "out", "overwrite", "labels", "resume", "save-latents", "compare", "report-only", "json"},
}

// calibrateGroups are those of calibrate besides, which it finds first.
var calibrateGroups = [][]string{
	{"Search for a target:", "target", "methods", "evidence", "reference"},
	{"Choice of a number format:", "choose-dtype", "max-loss"},
	{"Contract of a PSNR:", "contract", "contract-images", "contract-checks", "contract-seed", "confidence", "keep"},
	{"Learned forecasts:", "trials", "placement", "few", "halves", "weigh"},
	{"Other methods:", "threshold", "lookahead", "router-lr", "l1", "full", "gaps", "feature", "columns"},
	{"Learning and measuring:", "images", "updates", "batch", "lr", "lambda", "predictor",
		"training", "rounds", "measure"},
}

// serveGroups are those of serve.
var serveGroups = [][]string{
	{"Listening:", "addr", "insecure", "tls-cert", "tls-key", "origin", "debug-addr"},
	{"Who may use it:", "keys", "new-key"},
	{"Sharing:", "memory", "queue", "adaptive", "drain"},
	{"What is kept:", "state", "keep", "keep-memory"},
	{"Jobs of a broker:", "nats", "nats-user", "nats-password-file", "nats-nkey", "nats-tls-ca", "nats-tls-cert",
		"nats-tls-key"},
	{"Settings and logs:", "config", "log-level", "log-prompts"},
}

// trainGroups are those of verbs that train, where some flags mean something else.
var trainGroups = [][]string{
	{"Data:", "data", "split", "skip-broken", "size", "channels", "flip", "shift"},
	{"Model:", "arch", "model", "key", "width", "widths", "depth", "heads", "patch", "decode-layers", "no-learn-sigma",
		"path-type", "prediction", "text-depth", "text-tokens", "vocabulary"},
	{"Training:", "objective", "loss-weight", "steps", "epochs", "batch", "micro-batch", "lr", "warmup", "schedule",
		"optimizer", "weight-decay", "clip", "ema", "dtype", "seed", "mask-ratio", "label-dropout", "caption-dropout",
		"label-smoothing", "min-snr", "time-mean", "time-std"},
	{"Output:", "out", "resume", "save-every", "sample-every", "cfg", "json"},
}

// manyFlags is from how many flags on a verb's help has groups of them.
const manyFlags = 15

// group puts verbs and flags into the groups of the help.
func group(program *kong.Application) {
	for _, verb := range program.Children {
		verb.Group = groupOf(verbGroups, verb.Name)
	}
	slices.SortStableFunc(program.Children, func(a, b *kong.Node) int {
		return rankOf(verbGroups, a.Group) - rankOf(verbGroups, b.Group)
	})
	for _, verb := range program.Leaves(false) {
		if len(verb.Flags) < manyFlags {
			continue
		}
		groups := flagGroups
		switch {
		case verb.Parent != nil && verb.Parent.Name == "train":
			groups = trainGroups
		case verb.Name == "serve" && verb.Parent.Type == kong.ApplicationNode:
			groups = slices.Concat(serveGroups, flagGroups)
		case verb.Name == "calibrate":
			groups = slices.Concat(calibrateGroups, flagGroups)
		}
		for _, flag := range verb.Flags {
			if flag.Group == nil {
				flag.Group = groupOf(groups, flag.Name)
			}
		}
		// Groups are printed in the order of their first flags.
		slices.SortStableFunc(verb.Flags, func(a, b *kong.Flag) int {
			return rankOf(groups, a.Group) - rankOf(groups, b.Group)
		})
	}
}

func groupOf(groups [][]string, name string) *kong.Group {
	for _, g := range groups {
		if slices.Contains(g[1:], name) {
			return &kong.Group{Key: g[0], Title: g[0]}
		}
	}
	return nil
}

// rankOf is where a group is printed: none first, and one that a flag's own tag names last.
func rankOf(groups [][]string, group *kong.Group) int {
	if group == nil {
		return -1
	}
	if i := slices.IndexFunc(groups, func(g []string) bool { return g[0] == group.Key }); i >= 0 {
		return i
	}
	return len(groups)
}
