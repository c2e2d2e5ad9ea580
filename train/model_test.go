package train

import (
	"testing"

	"github.com/tokencache/tokencache/dit"
)

func TestDecoderBlocks(t *testing.T) {
	for _, c := range []struct {
		arch        dit.Arch
		depth, want int
	}{
		{dit.ArchDiT, 12, 0},
		{dit.ArchMDTv1, 1, 1},
		{dit.ArchMDTv1, 12, 2},
		{dit.ArchMDTv2, 5, 1},
		{dit.ArchMDTv2, 6, 2},
		{dit.ArchMDTv2, 9, 5},
		{dit.ArchMDTv2, 12, 4}, // as the published MDTv2-S/2
	} {
		if got := DecoderBlocks(c.arch, c.depth); got != c.want {
			t.Errorf("%s of %d blocks: %d, want %d", c.arch, c.depth, got, c.want)
		}
	}
}

// TestNewModel checks the defaults, and that what is given is used.
func TestNewModel(t *testing.T) {
	kind := ImageKind{Size: 8, Channels: 1, Classes: 3}
	m, params, err := NewModel(ModelOptions{}, kind)
	if err != nil {
		t.Fatal(err)
	}
	want := dit.Config{
		Arch:       dit.ArchDiT,
		InputSize:  8,
		PatchSize:  2,
		InChannels: 1,
		Hidden:     128,
		Depth:      10,
		Heads:      4,
		MLPHidden:  512,
		NumClasses: 3,
		LearnSigma: true,
	}
	if m.Config != want || len(params) == 0 {
		t.Errorf("%+v with %d parameters, want %+v", m.Config, len(params), want)
	}
	m, _, err = NewModel(ModelOptions{
		Arch:          dit.ArchMDTv2,
		Width:         16,
		Depth:         5,
		Heads:         2,
		Patch:         4,
		Decoder:       3,
		FixedVariance: true,
	}, kind)
	if err != nil {
		t.Fatal(err)
	}
	want.Arch, want.PatchSize, want.Hidden, want.Depth = dit.ArchMDTv2, 4, 16, 5
	want.DecodeLayer, want.Heads, want.MLPHidden, want.LearnSigma = 3, 2, 64, false
	if m.Config != want {
		t.Errorf("%+v, want %+v", m.Config, want)
	}
	if _, _, err := NewModel(ModelOptions{}, ImageKind{Size: 8, Channels: 1}); err == nil {
		t.Error("no error for images without classes")
	}
}
