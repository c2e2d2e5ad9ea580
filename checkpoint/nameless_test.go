package checkpoint

import (
	"archive/zip"
	"slices"
	"strings"
	"testing"
)

// TestAveragesWithoutNames checks that averages that training scripts keep in a list, or by names
// without dots, are taken by the names of the model; and that the file says so where they are not.
func TestAveragesWithoutNames(t *testing.T) {
	raw := []string{"pos_embed", "x_embedder.proj.weight", "b.10.weight", "b.2.weight", "c.weight"} // in the model's order
	raws := func(prefix string) string {
		var list []string
		for i, name := range raw {
			list = append(list, entry(prefix+name, element(byte(i%2), byte(1+i%3))))
		}
		return dictOf(list...)
	}
	// The average of tensor i begins at element 2, if it has one or two.
	lists := func(from int, open string) string {
		list := ""
		for i := from; i < len(raw); i++ {
			list += element(byte(3-i%3), byte(1+i%3))
		}
		if open == "(" {
			return "(" + list + "t"
		}
		return "](" + list + "e"
	}
	dotless := func(prefix string, names ...string) []string {
		var list []string
		for i, name := range raw[1:] {
			list = append(list, entry(prefix+strings.ReplaceAll(name, ".", ""), element(byte(3-(i+1)%3), byte(1+(i+1)%3))))
		}
		for _, name := range names {
			list = append(list, entry(prefix+name, element(0, 1)))
		}
		return list
	}
	short := "](" + element(0, 1) + element(0, 1) + element(0, 1) + element(0, 1) + "e"
	shadow := dictOf(entry("decay", "K\x01"), entry("shadow_params", lists(0, "[")), entry("collected_params", lists(0, "[")))
	flat := func(raw string, others ...string) string { return raw[:len(raw)-1] + strings.Join(others, "") + "u" }
	inOptimizer := dictOf(entry("0", dictOf(entry("ema", lists(0, "(")), entry("exp_avg_ema", lists(0, "(")))))
	for _, c := range []struct{ name, pickle, key, assumed, without string }{
		{"an optimizer's list", dictOf(entry("model", raws("")), entry("optimizer_states", inOptimizer)), "", `"optimizer_states.0.ema", of several`, ""},
		{"torch_ema", dictOf(entry("model", raws("")), entry("ema", shadow)), "", `"ema.shadow_params", of several sets: model, ema.shadow_params`, ""},
		{"a list of those that are trained", dictOf(entry("model", raws("module.")), entry("ema", lists(1, "["))), "", `"ema", of several`, "pos_embed"},
		{"a tuple", dictOf(entry("ema", lists(0, "(")), entry("model", raws(""))), "", `"ema", of several`, ""},
		{"of parts that are wrapped", dictOf(entry("model", raws("_orig_mod.")), entry("ema", lists(0, "["))), "", `"ema", of several`, ""},
		{"LitEma", flat(raws("model."), dotless("model_ema.", "decay", "num_updates")...), "", `"model_ema", of several sets: model, model_ema`, "pos_embed"},
		{"LitEma of a wrapped model", flat(raws("model.net."), dotless("model_ema.net")...), "", `"model_ema", of several`, "pos_embed"},
		{"LitEma without a prefix", flat(raws(""), dotless("model_ema.")...), "", `"model_ema", of several`, "pos_embed"},
		{"LitEma's own dict", dictOf(entry("model", raws("")), entry("ema", dictOf(dotless("")...))), "", `"ema", of several`, "pos_embed"},
		{"by key", dictOf(entry("model", raws("")), entry("ema", shadow)), "model", "", "all"},
		{"the average by key", dictOf(entry("model", raws("")), entry("ema", shadow)), "ema.shadow_params", "", ""},
		{
			"of other shapes", dictOf(entry("model", raws("")), entry("ema", short)), "",
			`"model"; the average under "ema" cannot be used: its 4 tensors have no names`, "all",
		},
		{
			"of other names", flat(raws("model."), dotless("model_ema.", "controlweight")...), "",
			`"model"; the average under "model_ema" cannot be used: its names have no dots, and controlweight is none`, "all",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, err := openBytes(archive(t, zip.Store, c.pickle), OpenOptions{Key: c.key, Known: isDiT})
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(f.Assumed, c.assumed) || (f.Assumed == "") != (c.assumed == "") {
				t.Errorf("assumed %q, want %q", f.Assumed, c.assumed)
			}
			for i, name := range raw {
				first := 3 - i%3
				if c.without == "all" || c.without == name {
					first = i % 2
				}
				var want []float32
				for k := range 1 + i%3 {
					want = append(want, float32(first+k))
				}
				if got := values(t, f, name); !slices.Equal(got, want) {
					t.Errorf("%s is %v, want %v", name, got, want)
				}
			}
		})
	}
	for _, pickle := range []string{
		dictOf(entry("model", raws("")), entry("ema", shadow)),
		dictOf(entry("model", raws("")), entry("ema", dictOf(dotless("")...))),
	} {
		f, err := openBytes(archive(t, zip.Store, pickle), OpenOptions{}) // as for a conversion
		if err != nil {
			t.Fatal(err)
		}
		if got := values(t, f, "b.2.weight"); !slices.Equal(got, []float32{3}) {
			t.Errorf("of no known model: b.2.weight is %v", got)
		}
	}
	_, err := openBytes(archive(t, zip.Store, shadow), OpenOptions{Known: isDiT})
	if err == nil || !strings.Contains(err.Error(), `a list under "shadow_params", without names`) {
		t.Errorf("a list alone: error %v", err)
	}
}
