package checkpoint

import (
	"archive/zip"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const wild = "../testdata/wild/"

// isDiT is a Known of the network of testdata/wild.
func isDiT(l Lister) bool {
	_, ok := l.Lookup("x_embedder.proj.weight")
	return ok
}

// TestCheckpointsInTheWild checks that each of many forms of the same weights is read as these
// weights.
func TestCheckpointsInTheWild(t *testing.T) {
	plain := openTest(t, wild+"plain.safetensors")
	for _, c := range []struct{ file, note, assumed string }{
		{"module.pt", `names without "module."`, ""},
		{"average.pt", `ema of {ema, model}; names without "module."`, "several sets: model, ema"},
		{"wrapped.pt", `state_dict of {state_dict}; names without "model."`, ""},
		{"deeper.pt", "state_dict.model of {state_dict}", ""},
		{"net.pt", "net of {epoch, net}", ""},
		{"two-nets.pt", "net_ema of {net, net_ema}", `"net_ema", of several`},
		{"model_ema.pt", "model_ema of {epoch, model, model_ema, optimizer}", `"model_ema"`},
		{"state_dict_ema.pt", "state_dict_ema of {epoch, state_dict, state_dict_ema}", `"state_dict_ema"`},
		{"ema_state_dict.pt", "ema_state_dict of {ema_state_dict, model}", `"ema_state_dict"`},
		{"shadow.pt", "ema.shadow of {ema, model}", `"ema.shadow"`},
		{"sit-args.pt", "ema of {args, ema, model, opt}", "several sets: model, ema"}, // both one dict
		{"lightning.ckpt", "state_dict of {callbacks, epoch, state_dict}", ""},
		{"torchversion.pt", "model of {model, version}", ""},
		{"omegaconf.pt", "model of {config, model}", ""},
		{"defaultdict.pt", "model of {model, stats}", ""},
		{"datetime.pt", "model of {model, saved}", ""},
		{"deflated.pt", "", ""},
		{"zip64.pt", "", ""},
		{"other-root.pt", "", ""},
		{"shared-storage.pt", "", ""},
	} {
		t.Run(c.file, func(t *testing.T) {
			f, err := OpenContext(t.Context(), wild+c.file, OpenOptions{Known: isDiT})
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if f.Note != c.note || !strings.Contains(f.Assumed, c.assumed) || (f.Assumed == "") != (c.assumed == "") {
				t.Errorf("note %q, want %q; assumed %q, want %q", f.Note, c.note, f.Assumed, c.assumed)
			}
			if !slices.Equal(f.Names(), plain.Names()) {
				t.Fatalf("tensors %v, want %v", f.Names(), plain.Names())
			}
			for _, name := range plain.Names() {
				if !slices.Equal(values(t, f, name), values(t, plain, name)) {
					t.Errorf("tensor %s has other values", name)
				}
			}
		})
	}
}

// TestLeftOut checks that what is next to the tensors that were taken is among the entries.
func TestLeftOut(t *testing.T) {
	var all []string
	for _, name := range []string{
		"model.net.x_embedder.proj.weight", "model.net.a", "model.net.b", "model.net.c",
		"decay", "model.cond.a", "model.cond.b", "first_stage.weight",
	} {
		all = append(all, entry(name, element(0, 1)))
	}
	f, err := openBytes(archive(t, zip.Store, dictOf(entry("state_dict", dictOf(all...)), entry("step", "K\x01"))), OpenOptions{Known: isDiT})
	if err != nil {
		t.Fatal(err)
	}
	want := []Entry{
		{"step", "1"},
		{"state_dict.decay", "tensor [1] F32"},
		{"state_dict.first_stage.weight", "tensor [1] F32"},
		{"state_dict.model.cond.*", "2 tensors"},
	}
	if !slices.Equal(f.Entries(), want) {
		t.Errorf("entries %v, want %v", f.Entries(), want)
	}
}

// TestSets checks which set is taken of files that hold several, in every way of nesting.
func TestSets(t *testing.T) {
	one := rebuild([]byte{4}, []byte{1})
	network := func(prefix string) []string { // as many tensors as the smallest model has
		var list []string
		for _, name := range []string{"x_embedder.proj.weight", "a.weight", "b.weight", "c.weight"} {
			list = append(list, entry(prefix+name, one))
		}
		return list
	}
	inDict := func(prefix string) string { return dictOf(network(prefix)...) }
	for _, c := range []struct {
		name, pickle, key string
		note              string // or what the error says
		fails             bool
	}{
		{name: "the only set", pickle: inDict("")},
		{
			name:   "wrapped three times",
			pickle: inDict("module._orig_mod.net."),
			note:   `names without "module.net."; wrappers' words taken out of the names`,
		},
		{name: "a word of nobody's", pickle: inDict("my_denoiser."), note: `names without "my_denoiser."`},
		{
			name:   "networks under words",
			pickle: dictOf(append(network("net."), network("net_ema.")...)...),
			note:   `net_ema of {net, net_ema}; names without "net_ema."`,
		},
		{
			name:   "its own average",
			pickle: dictOf(append(network(""), network("ema.module.")...)...),
			note:   `ema of {ema}; names without "ema.module."`,
		},
		{
			name:   "a stray tensor at the top",
			pickle: dictOf(entry("step", one), entry("weights", inDict(""))),
			note:   "weights of {step, weights}",
		},
		{
			name:   "in a list",
			pickle: dictOf(entry("models", "]("+inDict("")+"e")),
			note:   "models.0 of {models}",
		},
		{
			name:   "in a dict of an unknown class",
			pickle: dictOf(entry("model", "caddict\nDict\n)R("+strings.Join(network(""), "")+"u")),
			note:   "model of {model}",
		},
		{
			name: "a part compiled, another wrapped twice",
			pickle: dictOf(entry("_orig_mod.a._orig_mod.weight", one), entry("_orig_mod.x_embedder.proj.weight", one),
				entry("_orig_mod.b._fsdp_wrapped_module._checkpoint_wrapped_module.weight", one), entry("_orig_mod.c.weight", one)),
			note: "wrappers' words taken out of the names",
		},
		{
			name:   "with and without a wrapper",
			pickle: dictOf(append(network(""), entry("a._orig_mod.weight", one))...),
			note:   "tensor a.weight is there twice, with and without", fails: true,
		},
		{name: "a list", pickle: "](" + inDict("") + "e", note: "0 of {0}"},
		{name: "a tuple", pickle: "(" + inDict("") + dictOf(entry("step", "K\x01")) + "t", note: "0 of {0, 1}"},
		{name: "a dict's own class", pickle: "cmy.lib\nEasyDict\n)R(" + strings.Join(network(""), "") + "u"},
		{
			name:   "in a tuple",
			pickle: dictOf(entry("model", "("+inDict("")+"K\x01t")),
			note:   "model.0 of {model}",
		},
		{
			name:   "an average with its decay, in names",
			pickle: dictOf(append(network("model."), network("ema_0.9999.")...)...),
			note:   `ema_0.9999 of {ema_0.9999, model}; names without "ema_0.9999."`,
		},
		{
			name:   "averages with their decays, in names",
			pickle: dictOf(slices.Concat(network("model."), network("ema_rate_0.999."), network("ema_rate_0.9999."))...),
			note:   "under ema_rate_0.999, ema_rate_0.9999, model", fails: true,
		},
		{
			name:   "by its decay",
			pickle: dictOf(slices.Concat(network("model."), network("ema_rate_0.999."), network("ema_rate_0.9999."))...),
			key:    "ema_rate_0.999",
			note:   `ema_rate_0.999 of {ema_rate_0.999, ema_rate_0.9999, model}; names without "ema_rate_0.999."`,
		},
		{
			name: "averages by their decays",
			pickle: dictOf(entry("model", inDict("")),
				entry("emas", dictOf(entry("0.999", inDict("")), entry("0.9999", inDict(""))))),
			note: "several sets of weights, under model, emas.0.999, emas.0.9999", fails: true,
		},
		{
			name:   "a target next to its model",
			pickle: dictOf(entry("model", inDict("")), entry("target_model", inDict(""))),
			note:   "target_model of {model, target_model}",
		},
		{
			name:   "an average next to a target",
			pickle: dictOf(entry("target", inDict("")), entry("netEMA", inDict(""))),
			note:   "netEMA of {netEMA, target}",
		},
		{
			name:   "what is not the average",
			pickle: dictOf(entry("model", inDict("")), entry("model_non_ema", inDict(""))),
			note:   "model of {model, model_non_ema}",
		},
		{
			name:   "an optimizer's state",
			pickle: dictOf(entry("weights", inDict("")), entry("optimizer", inDict("a."))),
			note:   "weights", fails: true, // both are models by their names, and neither is an average
		},
		{
			name:   "an optimizer's average",
			pickle: dictOf(entry("model", inDict("")), entry("optimizer_state", dictOf(entry("exp_avg_ema", inDict(""))))),
			note:   "model of {model, optimizer_state}",
		},
		{
			name:   "by key",
			pickle: dictOf(entry("a", inDict("")), entry("b", inDict(""))),
			key:    "b",
			note:   "b of {a, b}",
		},
		{
			name:   "two to choose from",
			pickle: dictOf(entry("a", inDict("")), entry("b", inDict(""))),
			note:   "several sets of weights, under a, b", fails: true,
		},
		{
			name:   "two averages",
			pickle: dictOf(entry("ema_0.99", inDict("")), entry("ema_0.999", inDict(""))),
			note:   "several sets of weights", fails: true,
		},
		{
			name:   "no such key",
			pickle: dictOf(entry("a", inDict("")), entry("b", inDict(""))),
			key:    "c",
			note:   `no weights under "c"; there are weights under a, b`, fails: true,
		},
		{name: "a key of one set", pickle: inDict(""), key: "model", note: "one set of weights", fails: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, err := openBytes(archive(t, zip.Store, c.pickle), OpenOptions{Key: c.key, Known: isDiT})
			if c.fails {
				var choice *ChoiceError
				twice := strings.Contains(c.note, "twice") // in which there is nothing to choose
				if err == nil || errors.As(err, &choice) == twice || !strings.Contains(err.Error(), c.note) {
					t.Fatalf("error %v, want a ChoiceError with %q", err, c.note)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if want := []string{"a.weight", "b.weight", "c.weight", "x_embedder.proj.weight"}; !slices.Equal(f.Names(), want) {
				t.Errorf("tensors %v, want %v", f.Names(), want)
			}
			if f.Note != c.note {
				t.Errorf("note %q, want %q", f.Note, c.note)
			}
		})
	}
}

// TestKeyWithinNames checks that a key may name what the names of a part of a set begin with,
// although nothing is known of models.
func TestKeyWithinNames(t *testing.T) {
	one := rebuild([]byte{4}, []byte{1})
	file := archive(t, zip.Store, dictOf(entry("state_dict", dictOf(entry("net.w", one), entry("net_ema.w", one)))))
	for _, key := range []string{"", "state_dict", "state_dict.net", "state_dict.net_ema"} {
		f, err := openBytes(file, OpenOptions{Key: key})
		if err != nil {
			t.Fatal(err)
		}
		want := []string{"w"}
		if key == "" || key == "state_dict" {
			want = []string{"net.w", "net_ema.w"}
		}
		if !slices.Equal(f.Names(), want) {
			t.Errorf("key %q: tensors %v, want %v", key, f.Names(), want)
		}
	}
}

// TestForeignObjects checks that a file is refused for an object of an unknown class only where
// that object is a weight.
func TestForeignObjects(t *testing.T) {
	weight := entry("w", rebuild([]byte{4}, []byte{1}))
	for _, c := range []struct{ name, object, is string }{
		{"a function of the system", "cos\nsystem\nU\x02ls\x85R", "a os.system"},
		{"by its qualified name", "U\x05posixU\x06system\x93U\x02ls\x85R", "a posix.system"},
		{"an object with a state", "cmy.lib\nThing\n)\x81}X\x01\x00\x00\x00aK\x01sb", "a my.lib.Thing"},
		{"an object of protocol 0", "(K\x01imy.lib\nThing\n", "a my.lib.Thing"},
		{"an object of protocol 1", "(cmy.lib\nThing\nK\x01o", "a my.lib.Thing"},
		{"what an object returns", "cbuiltins\ngetattr\n(cmy.lib\nThing\nU\x01atR(K\x01tR", "a builtins.getattr"},
		{
			"a quantised tensor",
			"ctorch._utils\n_rebuild_qtensor\n(" + ref + "K\x00tR",
			"a torch._utils._rebuild_qtensor",
		},
		{
			"a tensor in an unknown storage",
			"ctorch._utils\n_rebuild_tensor_v2\n(" + strings.Replace(ref, "FloatStorage", "QuantStorage", 1) + "K\x00(K\x04t(K\x01t\x89NtR",
			"a tensor in a storage of class torch.QuantStorage",
		},
		{"a reference to a module", "(U\x06moduleK\x01tQ", "a reference to a tuple"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, err := openBytes(archive(t, zip.Store, dictOf(weight, entry("object", c.object))), OpenOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if got := values(t, f, "w"); !slices.Equal(got, []float32{0, 1, 2, 3}) {
				t.Errorf("w is %v", got)
			}
			if err := Check(f, []Want{{Name: "w", Shape: []int{4}}}, nil); err != nil {
				t.Error(err)
			}
			err = Check(f, []Want{{Name: "w", Shape: []int{4}}, {Name: "object", Shape: []int{4}}}, nil)
			if err == nil || !strings.Contains(err.Error(), "1 that cannot be used: object: "+c.is) {
				t.Errorf("as a weight: error %v, want one that calls it %s", err, c.is)
			}
		})
	}
}

// TestSettings checks that a training script's arguments are found as an object, as a dict, and
// after a conversion.
func TestSettings(t *testing.T) {
	weight := entry("model", dictOf(entry("w", rebuild([]byte{4}, []byte{1}))))
	args := dictOf(entry("prediction", text("velocity")), entry("num_classes", "M\xe8\x03"))
	for name, value := range map[string]string{"object": "cargparse\nNamespace\n)R" + args + "b", "dict": args} {
		f, err := openBytes(archive(t, zip.Store, dictOf(weight, entry("args", value))), OpenOptions{})
		if err != nil {
			t.Fatal(err)
		}
		prediction, _ := f.Setting("prediction")
		classes, _ := f.Setting("num_classes")
		if _, ok := f.Setting("none"); prediction != "velocity" || classes != "1000" || ok {
			t.Errorf("%s: prediction %q, num_classes %q, none %t", name, prediction, classes, ok)
		}
	}
	nested := dictOf(
		entry("model", dictOf(entry("path_type", text("GVP")), entry("inner", dictOf(entry("hidden", text("x")))))),
		entry("data", dictOf(entry("prediction", text("weather")))),
		entry("diffusion", dictOf(entry("params", dictOf(entry("noise_schedule", text("cosine")))))),
	)
	f, err := openBytes(archive(t, zip.Store, dictOf(weight, entry("config", nested))), OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"model.path_type": "GVP", "diffusion.params.noise_schedule": "cosine"}
	if d := cmp.Diff(want, f.Settings()); d != "" {
		t.Error(d)
	}
	schedule, ok := f.Setting("noise_schedule")
	if _, found := f.Setting("schedule"); schedule != "cosine" || !ok || found {
		t.Errorf("nested: noise_schedule %q, %t; schedule %t", schedule, ok, found)
	}
	to := t.TempDir() + "/sit.safetensors"
	if _, err := Convert(wild+"sit-args.pt", to, ConvertOptions{}); err != nil {
		t.Fatal(err)
	}
	f = openTest(t, to)
	if path, _ := f.Setting("path_type"); path != "Linear" || f.Metadata()[SourceKey] != "sit-args.pt" {
		t.Errorf("converted: path_type %q, metadata %v", path, f.Metadata())
	}
}
