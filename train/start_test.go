package train

import (
	"path/filepath"
	"slices"
	"testing"

	"github.com/tokencache/tokencache/data"
	"github.com/tokencache/tokencache/dit"
)

func TestParseArch(t *testing.T) {
	for _, c := range []struct {
		name string
		want dit.Arch
		ok   bool
	}{
		{"", dit.ArchDiT, true},
		{"dit", dit.ArchDiT, true},
		{"DiT", dit.ArchDiT, true},
		{"mdtv1", dit.ArchMDTv1, true},
		{"MDTV2", dit.ArchMDTv2, true},
		{"mdt", "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if arch, ok := ParseArch(c.name); arch != c.want || ok != c.ok {
				t.Errorf("%q, %t, want %q, %t", arch, ok, c.want, c.ok)
			}
		})
	}
}

func TestStartMask(t *testing.T) {
	for _, c := range []struct {
		name   string
		arch   dit.Arch
		shares *Shares
		want   *MaskOptions
	}{
		{"a DiT has none", dit.ArchDiT, &Shares{0.1, 0.2}, nil},
		{"first version", dit.ArchMDTv1, nil, &MaskOptions{Min: 0.3, Max: 0.3}},
		{"second version", dit.ArchMDTv2, nil, &MaskOptions{Min: 0.3, Max: 0.5, Group: 8}},
		{"one share", dit.ArchMDTv2, &Shares{0.2, 0.2}, &MaskOptions{Min: 0.2, Max: 0.2}},
		{"a range", dit.ArchMDTv1, &Shares{0.2, 0.4}, &MaskOptions{Min: 0.2, Max: 0.4, Group: 8}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := StartMask(c.arch, c.shares, 8)
			if (got == nil) != (c.want == nil) || got != nil && *got != *c.want {
				t.Errorf("%+v, want %+v", got, c.want)
			}
		})
	}
}

// TestStartModel checks what training begins at: a new model for the data, the weights given, or an
// MDT of a DiT's size.
func TestStartModel(t *testing.T) {
	dir := t.TempDir()
	if err := runLoop(t, dir, quick, t.Context(), 1, false, nil); err != nil {
		t.Fatal(err)
	}
	w, err := dit.Open(filepath.Join(dir, ModelFile), dit.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	set := &data.Set{Path: "set", Classes: []string{"x", "y"}, Size: 4, Channels: 1}
	for _, c := range []struct {
		name  string
		w     *dit.Weights
		arch  dit.Arch
		names []string
		want  dit.Config
	}{
		{"new", nil, "", set.Classes, dit.Config{Arch: dit.ArchDiT, NumClasses: 2}},
		{"new MDT", nil, dit.ArchMDTv1, set.Classes, dit.Config{Arch: dit.ArchMDTv1, DecodeLayer: 1, NumClasses: 2}},
		{"weights", w, "", w.ClassNames, dit.Config{Arch: dit.ArchDiT, NumClasses: 3}},
		{"warm start", w, dit.ArchMDTv1, w.ClassNames, dit.Config{Arch: dit.ArchMDTv1, DecodeLayer: 1, NumClasses: 3}},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := ModelOptions{Arch: c.arch, Width: 16, Depth: 2, Heads: 2, Decoder: c.want.DecodeLayer}
			m, params, names, err := StartModel(c.w, o, set)
			if err != nil {
				t.Fatal(err)
			}
			if m.Arch != c.want.Arch || m.DecodeLayer != c.want.DecodeLayer || m.NumClasses != c.want.NumClasses {
				t.Errorf("model %+v, want %+v", m.Config, c.want)
			}
			if !slices.Equal(names, c.names) {
				t.Errorf("classes %v, want %v", names, c.names)
			}
			if len(params) == 0 {
				t.Error("no parameters")
			}
		})
	}
}

func TestShares(t *testing.T) {
	for _, c := range []struct {
		text string
		want Shares
		ok   bool
	}{
		{"0.3", Shares{0.3, 0.3}, true},
		{"0.3-0.5", Shares{0.3, 0.5}, true},
		{"half", Shares{}, false},
		{"0.3-", Shares{}, false},
		{"", Shares{}, false},
	} {
		t.Run(c.text, func(t *testing.T) {
			var got Shares
			err := got.UnmarshalText([]byte(c.text))
			if (err == nil) != c.ok || c.ok && got != c.want {
				t.Errorf("%+v, error %v, want %+v", got, err, c.want)
			}
		})
	}
}
