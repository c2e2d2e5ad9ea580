package train

import (
	"bytes"
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tokencache/tokencache/dit"
)

// smallMDT returns a small MDT of a version, on a grid of 4 x 4 tokens.
func smallMDT(arch dit.Arch) dit.Config {
	c := small
	c.Arch, c.PatchSize, c.Depth, c.DecodeLayer = arch, 1, 3, 1
	return c
}

func mdtOptions(arch dit.Arch) DenoiserOptions {
	mask := DefaultMask(arch)
	mask.Group = 6
	return DenoiserOptions{Seed: 5, Dropout: 0.2, Flip: true, Mask: &mask}
}

var mdtArchs = []dit.Arch{dit.ArchMDTv1, dit.ArchMDTv2}

// TestMDTResume is TestResume for MDTs: masks, too, depend on nothing but the seed and the
// example's number.
func TestMDTResume(t *testing.T) {
	s := quick
	s.Steps = 6
	for _, arch := range mdtArchs {
		whole, parts := t.TempDir(), t.TempDir()
		task := func() Task { return newDenoiser(t, smallMDT(arch), mdtOptions(arch)) }
		var reports []StepStats
		err := runTask(t, task(), whole, s, context.Background(), 1, false, func(r StepStats) {
			reports = append(reports, r)
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		err = runTask(t, task(), parts, s, ctx, 3, false, func(r StepStats) {
			if r.Step == 4 {
				cancel()
			}
		})
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("error %v, want that the run was cancelled", err)
		}
		if err := runTask(t, task(), parts, s, context.Background(), 2, true, nil); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{StateFile, ModelFile} {
			a, err1 := os.ReadFile(filepath.Join(whole, name))
			b, err2 := os.ReadFile(filepath.Join(parts, name))
			if err1 != nil || err2 != nil || !bytes.Equal(a, b) {
				t.Errorf("%s: %s differs after resuming (%v, %v)", arch, name, err1, err2)
			}
		}
		for _, r := range reports {
			if m := r.Measures; len(m) != 4 || !(m["loss"] > 0 && m["masked"] > 0) || m["loss"] == m["masked"] {
				t.Errorf("%s: measures %v, want two losses", arch, m)
			}
		}
		w, err := dit.Open(filepath.Join(parts, ModelFile), dit.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if w.Config != smallMDT(arch) || w.Assumed != "" {
			t.Errorf("the model reads as %+v, assumed %q", w.Config, w.Assumed)
		}
		w.Close()
	}
}

// TestMaskedLossHasItsGradient checks that both losses are trained: a step against the gradient
// lowers their sum by what the gradient says.
func TestMaskedLossHasItsGradient(t *testing.T) {
	for _, arch := range mdtArchs {
		c := smallMDT(arch)
		c.LearnSigma = false // the bound does not train the mean: its slope is another
		d := newDenoiser(t, c, mdtOptions(arch))
		for _, p := range d.Params() { // the blocks of a new model are the identity
			r := newRand("test "+p.Name, 1)
			for i := range p.Value {
				p.Value[i] += float32(0.1 * r.NormFloat64())
			}
		}
		g := newGraph(t, 2)
		loss := func() float64 {
			d.Changed()
			sums, err := d.Accumulate(g, 12, 6, 1)
			if err != nil {
				t.Fatal(err)
			}
			return sums[0] + sums[2]
		}
		ZeroGrads(d.Params())
		loss()
		gradient := [][]float32{}
		for _, p := range d.Params() {
			gradient = append(gradient, slices.Clone(p.Grad))
			if strings.HasPrefix(p.Name, "sideblocks.0.mlp") && slices.Max(p.Grad) == 0 {
				t.Errorf("%s: no gradient of %s", arch, p.Name)
			}
		}
		norm := GradNorm(d.Params())
		at := func(h float64) float64 {
			for i, p := range d.Params() {
				for j, v := range gradient[i] {
					p.Value[j] += float32(h * float64(v) / norm)
				}
			}
			return loss()
		}
		const h = 2e-3
		up := at(h)
		down := at(-2 * h)
		if slope := (up - down) / (2 * h); math.Abs(slope-norm) > 0.01*norm {
			t.Errorf("%s: the slope along the gradient is %g, want its length, %g", arch, slope, norm)
		}
	}
}

// TestMDTMicroBatch checks that masks do not depend on how an update is divided, and that the
// paper's shares are masked.
func TestMDTMicroBatch(t *testing.T) {
	for _, arch := range mdtArchs {
		kept := func(micro int) [][]int32 {
			d := newDenoiser(t, smallMDT(arch), mdtOptions(arch))
			g := newGraph(t, 2)
			var all [][]int32
			for done := 0; done < 24; done += micro {
				if _, err := d.Accumulate(g, int64(done), micro, 1.0/6); err != nil {
					t.Fatal(err)
				}
				for _, places := range d.masked.kept {
					all = append(all, slices.Clone(places))
				}
			}
			return all
		}
		all := kept(6)
		if !slices.EqualFunc(all, kept(2), slices.Equal) {
			t.Errorf("%s: other masks in smaller batches", arch)
		}
		fewest, largest := 16, 0
		for i, places := range all {
			fewest, largest = min(fewest, len(places)), max(largest, len(places))
			if len(places) != len(all[i/6*6]) {
				t.Errorf("%s: example %d keeps %d tokens, the first of its update %d",
					arch, i, len(places), len(all[i/6*6]))
			}
			if i > 0 && slices.Equal(places, all[i-1]) {
				t.Errorf("%s: examples %d and %d have one mask", arch, i-1, i)
			}
		}
		if arch == dit.ArchMDTv1 && (fewest != 11 || largest != 11) ||
			arch == dit.ArchMDTv2 && (fewest < 8 || largest > 11 || fewest == largest) {
			t.Errorf("%s: %d to %d of 16 tokens kept", arch, fewest, largest)
		}
	}
}

func TestInitMDT(t *testing.T) {
	c := dit.Config{
		Arch:        dit.ArchMDTv2,
		InputSize:   16,
		PatchSize:   1,
		InChannels:  1,
		Hidden:      256,
		Depth:       3,
		DecodeLayer: 1,
		Heads:       8,
		MLPHidden:   32,
		NumClasses:  3,
	}
	f := NewInit(c, 3)
	for name, want := range map[string]struct {
		n         int
		deviation float64
	}{
		"mask_token": {256, 0.02},
		"en_inblocks.0.attn.rel_pos_bias.relative_position_bias_table": {964 * 8, 0.02},
		"de_blocks.0.skip_linear.weight":                               {256 * 512, math.Sqrt(2.0 / 768)},
		"sideblocks.0.adaLN_modulation.1.weight":                       {6 * 256 * 256, 0},
		"final_layer.linear.weight":                                    {256, 0},
	} {
		t.Run(name, func(t *testing.T) {
			x := make([]float32, want.n)
			if err := f.Read(name, x); err != nil {
				t.Fatal(err)
			}
			squares := 0.0
			for _, v := range x {
				squares += float64(v) * float64(v)
			}
			// The deviation of n numbers is within some 3/sqrt(2n) of the distribution's.
			got, tolerance := math.Sqrt(squares/float64(want.n)), want.deviation*3/math.Sqrt(2*float64(want.n))
			if math.Abs(got-want.deviation) > tolerance {
				t.Errorf("%s: deviation %g, want %g within %g", name, got, want.deviation, tolerance)
			}
		})
	}
}

func TestBadMasks(t *testing.T) {
	v1 := smallMDT(dit.ArchMDTv1)
	for _, c := range []struct {
		config dit.Config
		mask   *MaskOptions
		want   string
	}{
		{v1, nil, "is trained with masked passes"},
		{small, &MaskOptions{Min: 0.3, Max: 0.3}, "a DiT is not trained with masked passes"},
		{v1, &MaskOptions{Min: 0.5, Max: 0.3}, "mask ratio of 0.5 to 0.3"},
		{v1, &MaskOptions{Min: -0.1, Max: 0.3}, "mask ratio of -0.1 to 0.3"},
		{v1, &MaskOptions{Min: 0.3, Max: 1}, "mask ratio of 0.3 to 1"},
		{v1, &MaskOptions{Min: math.NaN(), Max: 0.3}, "mask ratio of NaN"},
		{v1, &MaskOptions{Min: 0.3, Max: 0.3, Group: -1}, "-1 examples together"},
	} {
		t.Run(c.want, func(t *testing.T) {
			m, params, err := dit.NewTrainable(c.config, NewInit(c.config, 7), false)
			if err != nil {
				t.Fatal(err)
			}
			images := &noiseImages{images: [][]float32{make([]float32, 16)}}
			_, err = NewDenoiser(m, params, images, []int32{0}, nil, DenoiserOptions{Mask: c.mask})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
		})
	}
}
